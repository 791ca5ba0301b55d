"""``python -m firmware.bench.service``: how many of the card's periods the audio loop serves while all else runs."""

from __future__ import annotations

import argparse
import json
import sys

from firmware.errors import EvenhandError

from .measure import CHANNELS, FRAMES, ROUNDS, SECONDS, measure
from .tables import show

MAX_SECONDS = 86400.0


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 0; 1 when a loop cannot be started."""
    parser = argparse.ArgumentParser(prog="python -m firmware.bench.service", description=__doc__)
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help="for each loop in all (10)")
    parser.add_argument("--rounds", type=int, choices=range(1, 101), metavar="N", default=ROUNDS,
                        help="that the loops take turns in, 1 to 100 (2)")  # fmt: skip
    parser.add_argument("--frames", type=int, nargs="+", choices=(32, 64, 128), default=FRAMES, help="a period (64)")
    parser.add_argument("--channels", type=int, choices=range(1, 33), metavar="N", default=CHANNELS,
                        help="1 to 32 (32)")  # fmt: skip
    parser.add_argument("--no-load", action="store_true", help="both loops with nothing beside them")
    parser.add_argument("--no-costs", action="store_true", help="leave out what a period and a process cost")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(arguments)
    try:
        record = measure(
            seconds=options.seconds, n_rounds=options.rounds, frames=options.frames, n_channels=options.channels,
            has_load=not options.no_load, has_costs=not options.no_costs,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )  # fmt: skip
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(record))
    else:
        show(record)
    return 0


def _positive(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to {MAX_SECONDS:.0f}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
