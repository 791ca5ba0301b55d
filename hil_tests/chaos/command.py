"""``python -m hil_tests chaos``: break a box in every way at once, and see whether it keeps its word."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hil_tests.board import Box
from hil_tests.drivers.choice import box_of
from hil_tests.errors import HilError
from hil_tests.rig import load_rig, rig_names

from .outcome import Broken, Outcome
from .script import MAX_LENGTH_S, QUIET_S, Event, Script, draw, read_script
from .shrink import shrink
from .stage import NEEDS, Stage

EXAMPLE = """\
example:
  A minute of faults drawn from a seed, on the simulated box:

    python -m hil_tests chaos --rig sim --minutes 1 --seed 7

  What a run left behind, again:

    python -m hil_tests chaos --rig sim --script out/chaos/short.jsonl
"""
OUT = Path("out/chaos")
MINUTES, SEED, TRIES = 1.0, 1, 40
AFTER_S = 1.0  # that a shortened script goes on after what was broken

Perform = Callable[[Script], Outcome]


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """A short script that breaks the same promise, and how many runs that took."""

    script: Script
    broken: Broken
    n_runs: int


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    chaos = commands.add_parser(
        "chaos", help="break a box at random moments; its promises are checked in every frame", epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    chaos.add_argument("--rig", required=True, metavar="NAME|FILE", help=f"one of {', '.join(rig_names())}, or a file")
    chaos.add_argument("--minutes", type=float, default=MINUTES, metavar="N", help="of the card's clock (1)")
    chaos.add_argument("--seed", type=int, default=SEED, metavar="S", help="what the faults are drawn from (1)")
    chaos.add_argument("--script", type=Path, metavar="FILE", help="do what this file says instead of drawing")
    chaos.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"for script, log and outcome ({OUT})")
    chaos.add_argument("--tries", type=int, default=TRIES, metavar="N",
                       help="runs that shrinking a failure may take; 0 does without (40)")  # fmt: skip
    chaos.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")
    chaos.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Run; return 0 when every promise was kept, else 1.

    Raises
    ------
    HilError
        When there is no such rig or script, or the rig lacks what it takes.
    """
    if not 0.1 <= options.minutes <= MAX_LENGTH_S / 60.0:
        raise HilError(f"--minutes {options.minutes}: from 0.1 to {MAX_LENGTH_S / 60.0:.0f}")
    rig = load_rig(options.rig)
    for fixture in NEEDS:
        rig.need(fixture)
    given = read_script(options.script) if options.script else None
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HilError(f"{options.out}: {error.strerror}; name a folder with --out") from None
    with box_of(rig) as box, (options.out / "log.txt").open("w", encoding="utf-8") as log:

        def say(line: str) -> None:
            log.write(line + "\n")
            log.flush()
            if not options.json:
                print(line, flush=True)

        lacking = box.faults.lacking
        script = given or draw(options.seed, round(options.minutes * 60.0, 3), box.faults.kinds)
        (options.out / "script.jsonl").write_text(script.text(), encoding="utf-8")
        say(f"rig {rig.name}, seed {script.seed}, {script.length_s:g} s, {len(script.events)} faults: "
            f"{options.out / 'script.jsonl'}")  # fmt: skip
        for kind, reason in lacking.items():
            say(f"without {kind}: {reason}")
        began_s = time.monotonic()
        outcome = Stage(box, script, say=say).perform()
        say(_verdict(outcome, time.monotonic() - began_s, box.audio.sample_rate_hz))
        (options.out / "outcome.json").write_text(outcome.text() + "\n", encoding="utf-8")
        shrunk = None
        if outcome.broken and options.tries > 0 and script.events:
            shrunk = shrink_script(script, outcome, partial(_perform, box), max_tries=options.tries, say=say)
            short = options.out / "short.jsonl"
            short.write_text(shrunk.script.text(), encoding="utf-8")
            say(f"{len(shrunk.script.events)} of {len(script.events)} faults break the same promise, found in "
                f"{shrunk.n_runs} runs: {short}")  # fmt: skip
            for event in shrunk.script.events:
                say(f"  {event.line()}")
            say(f"again: python -m hil_tests chaos --rig {options.rig} --script {short}")
    if options.json:
        events = [json.loads(event.line()) for event in shrunk.script.events] if shrunk else None
        told = {**json.loads(outcome.text()), "seed": script.seed, "lacking": dict(lacking), "short": events}
        print(json.dumps(told, allow_nan=False))
    return 1 if outcome.broken else 0


def _perform(box: Box, script: Script) -> Outcome:
    return Stage(box, script).perform()


def shrink_script(
    script: Script, outcome: Outcome, perform: Perform, *, max_tries: int, say: Callable[[str], None]
) -> Shrunk:
    """Return a short script that breaks the promise that ``outcome`` says ``script`` breaks.

    First as few faults as it takes, then those as early as they will.
    """
    assert outcome.broken is not None
    last, n_runs = outcome.broken, 0

    def fails(events: tuple[Event, ...], earlier_s: float = 0.0) -> bool:
        nonlocal last, n_runs
        n_runs += 1
        length_s = min(script.length_s, last.at_s + AFTER_S - earlier_s)
        broken = perform(script.having(events, length_s=length_s)).broken
        is_same = broken is not None and broken.promise == last.promise
        say(f"shrinking, run {n_runs}: {len(events)} faults {'break it too' if is_same else 'do not break it'}")
        if is_same and broken is not None:
            last = broken
        return is_same

    begun = tuple(event for event in script.events if event.at_s <= outcome.broken.at_s)
    events = shrink(begun, fails, max_tries=max_tries - 1)
    earlier_s = events[0].at_s - QUIET_S if events else 0.0
    early = tuple(replace(event, at_s=round(event.at_s - earlier_s, 3)) for event in events)
    if earlier_s > 0.0 and fails(early, earlier_s):
        events = early
    length_s = min(script.length_s, last.at_s + AFTER_S)
    return Shrunk(script=script.having(events, length_s=length_s), broken=last, n_runs=n_runs)


def _verdict(outcome: Outcome, wall_s: float, rate_hz: int) -> str:
    seconds = outcome.n_frames / rate_hz
    how = f"{outcome.n_events} faults in {seconds:.1f} s of sound, {outcome.n_left_out} more left out; "
    how += f"{outcome.n_excused_frames / rate_hz:.2f} s of it lost with a reason; "
    how += f"slowest restart {outcome.longest_restart_s:.1f} s, {seconds / wall_s:.1f} x real time"
    return f"BROKEN {outcome.broken.line()}; {how}" if outcome.broken else f"kept: every promise; {how}"
