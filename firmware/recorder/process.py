"""The recorder's process: ``python -m firmware.recorder.process --ring FILE --out FOLDER``.

Records from the first frame on until SIGTERM, SIGINT or SIGHUP; then it ends the recording and leaves with 0. It leaves
with 1 and one ``error:`` line when it can't go on: started again it would not fare better. Killed by anything else, it
may be started again at once: the ring waits for nobody, and what was recorded plays.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from ..errors import EvenhandError
from ..system.parent import end_with_parent
from . import native
from .recorder import Recorder, Settings

POLL_S = 0.05
STATUS_INTERVAL_S = 1.0
MEGABYTE = 1 << 20
EXAMPLE = """example:
  python -m firmware.recorder.process --ring /dev/shm/evenhand/record --out /recordings --title "Friday, first set"
"""


def main(argv: list[str] | None = None) -> int:
    """Record until told to stop; return 0 then, 1 where it could not go on."""
    args = _parser().parse_args(argv)
    if args.parent:
        end_with_parent(args.parent)
    stop = _Stop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop.ask)
    settings = Settings(
        ring=args.ring,
        root=args.out,
        title=args.title,
        spool=args.markers,
        reserve_bytes=None if args.keep_free_mb is None else args.keep_free_mb * MEGABYTE,
    )
    recorder, failure = None, ""
    try:
        library = native.opened(args.library) if args.library else native.installed()
        with Recorder(library, settings, say=_silent if args.json else _say) as recorder:
            _record(recorder, stop, args.status)
    except EvenhandError as error:
        failure = str(error)
        print(f"error: {_one_line(failure)}", file=sys.stderr)
    if args.json:
        print(json.dumps({"recordings": recorder.ended_records() if recorder else [], "error": failure or None}))
    return 1 if failure else 0


class _Stop:
    """Set by a signal."""

    is_asked = False

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        self.is_asked = True


def _record(recorder: Recorder, stop: _Stop, status: Path | None) -> None:
    due_s = time.monotonic()
    while True:
        is_last = stop.is_asked  # asked for: one more step takes what lies ready
        recorder.step()
        if status and (time.monotonic() >= due_s or is_last):
            due_s = time.monotonic() + STATUS_INTERVAL_S
            _write_status(status, recorder)
        if is_last:
            return
        time.sleep(POLL_S)


def _write_status(path: Path, recorder: Recorder) -> None:
    """Replace the status; it lies in memory and is nothing to end a recording for."""
    with suppress(OSError):
        new = path.with_name(f".{path.name}.new")
        new.write_text(json.dumps(recorder.status()) + "\n")
        new.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m firmware.recorder.process",
        description="Records every input and the mix of a running engine.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ring", type=Path, required=True, metavar="FILE", help="ring of the engine")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder that recordings go into")
    parser.add_argument("--title", default="", help="becomes part of the recording's name")
    parser.add_argument("--markers", type=Path, metavar="FILE", help="spool that the control process announces in")
    parser.add_argument("--status", type=Path, metavar="FILE", help="put down here how it stands, once a second")
    parser.add_argument("--keep-free-mb", type=int, metavar="N", help="leave N MB free; else 2 %%, 512 MB to 4 GB")
    parser.add_argument("--library", type=Path, metavar="FILE", help="use this build of the ring (tests, sanitizers)")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, our parent, is gone")
    parser.add_argument("--json", action="store_true", help="print one object at the end and nothing else")
    return parser


def _say(line: str) -> None:
    with suppress(OSError):  # whoever listened may be gone
        print(_one_line(line), flush=True)


def _silent(_line: str) -> None:
    pass


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


if __name__ == "__main__":
    sys.exit(main())
