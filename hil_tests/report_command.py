"""``python -m hil_tests report``: measures a box and writes the page that is filed with a venue."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .drivers.choice import box_of
from .errors import HilError
from .probe.limits import load_limits
from .rig import load_rig, rig_names

LIMITS = Path(__file__).parent / "limits" / "acceptance.toml"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    report = commands.add_parser("report", help="measure a box; writes acceptance.html and acceptance.json")
    report.add_argument("--rig", required=True, metavar="NAME|FILE", help=f"one of {', '.join(rig_names())}, or a file")
    report.add_argument("--out", type=Path, default=Path("out/acceptance"), metavar="DIR", help="(out/acceptance)")
    report.add_argument("--venue", default="", metavar="NAME", help="stands on the page")
    report.add_argument("--limits", type=Path, default=LIMITS, metavar="FILE", help="what must be held")
    report.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    report.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Return 0 when every limit is held, 1 when one is broken.

    Raises
    ------
    HilError
        When the box could not be measured; no page is written then.
    """
    from .acceptance import NEEDS, digest, measure
    from .acceptance_page import page

    def tell(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    rig = load_rig(options.rig)
    for fixture in NEEDS:
        rig.need(fixture)
    limits = load_limits(options.limits)
    with box_of(rig) as box:
        found = measure(box, venue=options.venue, limits=limits, tell=tell)
    found.facts["limits, SHA-256"] = digest(options.limits)
    record = json.dumps(found.record(), ensure_ascii=False)
    _replace(options.out / "acceptance.json", record + "\n")
    _replace(options.out / "acceptance.html", page(found))
    if options.json:
        print(record)
    tell(f"page: {options.out / 'acceptance.html'}")
    broken = [verdict.line() for verdict in found.verdicts if not verdict.is_held]
    if broken:
        print(f"error: not accepted: {'; '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def _replace(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise HilError(f"{path}: cannot be written ({error.strerror}); name another folder with --out") from None
