"""The start of what runs live: a folder in memory, the engine's segment in it, and the wait for its sound."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from .errors import EvenhandError
from .interrupt import held
from .segment import Segment, SegmentAbsentError
from .system.supervisor import Supervisor

START_S = 20.0  # until the audio thread runs; a small board's first start is slow
STEP_S = 0.01


@held()
def runtime_folder(stack: ExitStack) -> Path:
    """Return a new folder for what processes share, in memory where there is some; ``stack`` removes it.

    Those of runs that were killed are removed now.
    """
    place = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    for left in place.glob("evenhand-run-*-*"):
        pid = left.name.split("-")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"evenhand-run-{os.getpid()}-", dir=place))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def attached(supervisor: Supervisor, path: Path, *, is_control: bool) -> Segment:
    """Return a hold on the segment, as soon as the engine has made it.

    Raises
    ------
    EvenhandError
        When a process refused to start, in its own words, or the engine makes none.
    """
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        try:
            return Segment(path, is_control=is_control)
        except SegmentAbsentError:
            supervisor.step(STEP_S)
            refuse_failed_start(supervisor)
    raise EvenhandError(f"the engine made no segment within {START_S:.0f} s; {last_words(supervisor, 'engine')}")


def wait_for_sound(supervisor: Supervisor, segment: Segment) -> None:
    """Wait until the audio thread runs, with a card or on silence.

    Raises
    ------
    EvenhandError
        When a process refused to start, in its own words, or there is no sound in time.
    """
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        if segment.status().state in ("running", "no_card"):
            return
        supervisor.step(STEP_S)
        refuse_failed_start(supervisor)
    raise EvenhandError(f"no sound within {START_S:.0f} s; {last_words(supervisor, 'engine')}")


def refuse_failed_start(supervisor: Supervisor) -> None:
    """Give up when a process has failed: its reason is ours."""
    for name, child in supervisor.children.items():
        if child.last_status not in (None, 0):
            raise EvenhandError(last_words(supervisor, name))


def last_words(supervisor: Supervisor, name: str) -> str:
    """Return the last error that a process told, or what else it said last."""
    lines = list(supervisor.children[name].lines)
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else f"{name}: {lines[-1] if lines else 'said nothing'}"
