"""``python -m hil_tests``: measures a box for the page that is filed with a venue, and checks the bench itself."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from host_tools.errors import HostError

from .acceptance import LIMITS, measure
from .acceptance_page import page
from .drivers.choice import box_of
from .errors import HilError
from .mutations import check, read_mutations
from .rig import load_rig, rig_names

EXAMPLE = "example: python -m hil_tests report --rig sim --venue 'Blue Note, back room' --out out/acceptance"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 for accepted, 1 for refused, failed or not accepted, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        verb: Callable[[argparse.Namespace], int] = options.verb
        return verb(options)
    except (HilError, HostError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hil_tests", description=__doc__, epilog=EXAMPLE)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    report = verbs.add_parser("report", help="measure a box and write its acceptance page", epilog=EXAMPLE)
    report.add_argument("--rig", required=True, metavar="NAME|FILE", help=f"one of {', '.join(rig_names())}, or a file")
    report.add_argument("--out", type=Path, default=Path("out/acceptance"), metavar="DIR", help="where the page goes")
    report.add_argument("--venue", default="", help="written on the page")
    report.add_argument("--limits", type=Path, default=LIMITS, metavar="FILE", help="what must be held")
    report.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    report.set_defaults(verb=_report)
    mutations = verbs.add_parser("mutations", help="plant faults in copies of the firmware; each must be caught")
    mutations.add_argument("--only", action="append", default=[], metavar="NAME", help="this one; may be said again")
    mutations.set_defaults(verb=_mutations)
    return parser


def _report(options: argparse.Namespace) -> int:
    def tell(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    with box_of(load_rig(options.rig)) as box:
        box.power_on()
        box.wait_until_up()
        found = measure(box, venue=options.venue, limits=options.limits, tell=tell)
    record = json.dumps(found.record(), ensure_ascii=False)
    _replace(options.out / "acceptance.json", record + "\n")
    _replace(options.out / "acceptance.html", page(found))
    if options.json:
        print(record)
    tell(f"page: {options.out / 'acceptance.html'}")
    broken = [verdict for verdict in found.verdicts if not verdict.is_held]
    if broken:
        print(f"error: not accepted: {'; '.join(v.line() for v in broken)}", file=sys.stderr)
    return 1 if broken else 0


def _mutations(options: argparse.Namespace) -> int:
    known = {mutation.name: mutation for mutation in read_mutations()}
    if odd := [name for name in options.only if name not in known]:
        raise HilError(f"no mutation {odd[0]}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.only] or list(known.values())
    with tempfile.TemporaryDirectory(prefix="evenhand-mutations-") as work:
        outcomes = check(chosen, Path(work), lambda line: print(line, flush=True))
    missed = [outcome.mutation.name for outcome in outcomes if not outcome.is_caught]
    if missed:
        print(f"error: {len(missed)} of {len(outcomes)} faults are not caught: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
