"""``python -m hil_tests mutations``: plants faults in copies of the firmware; the bench must catch each."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .errors import HilError
from .mutations import check, read_mutations
from .mutations_report import OUT, PAGE, list_digest, write_reports


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    mutations = commands.add_parser("mutations", help="plant faults in copies of the firmware; each must be caught")
    mutations.add_argument("--only", action="append", default=[], metavar="NAME", help="this one; may be said again")
    mutations.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"for page, JUnit and record ({OUT})")
    mutations.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Return 0 when every fault is caught, 1 when one is not.

    Raises
    ------
    HilError
        When the unchanged tree fails its tests, or the reports cannot be written.
    """
    began_s, digest = time.time(), list_digest()
    known = {mutation.name: mutation for mutation in read_mutations()}
    if odd := [name for name in options.only if name not in known]:
        raise HilError(f"no mutation {odd[0]}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.only] or list(known.values())
    with tempfile.TemporaryDirectory(prefix="evenhand-mutations-") as work:
        outcomes = check(chosen, Path(work), lambda line: print(line, flush=True))
    write_reports(outcomes, options.out, began_s=began_s, list_sha256=digest)
    print(f"report: {options.out / PAGE}")
    missed = [outcome.mutation.name for outcome in outcomes if not outcome.is_caught]
    if missed:
        print(f"error: {len(missed)} of {len(outcomes)} faults are not caught: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0
