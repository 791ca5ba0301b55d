"""Which strips a live mixer has and which inputs of a card feed them: made once at start, read by every process.

A JSON file, so that engine and control cannot disagree; no NumPy, the engine process reads it too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from board_configs.board import Board, BoardError, load_board

from .atomic import Outputs
from .errors import EvenhandError

MAX_STRIPS, MAX_CARD_CHANNELS = 32, 64
MAX_FILE_BYTES = 100_000
MAX_NAME_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class StripSetup:
    """A strip; ``card_channels`` are one or two inputs of a card, counted from 0.

    ``card`` is the key of a secondary card of the board; None is the main one.
    """

    name: str
    role: str | None
    card_channels: tuple[int, ...]
    card: str | None = None

    @property
    def is_stereo(self) -> bool:
        """Whether two inputs feed it."""
        return len(self.card_channels) == 2


@dataclass(frozen=True, kw_only=True)
class MixerSetup:
    """What engine and control are started with; inputs and outputs are the main card's."""

    sample_rate_hz: int
    n_card_inputs: int
    n_card_outputs: int
    strips: tuple[StripSetup, ...]


def setup_of_board(board: Board) -> MixerSetup:
    """Return the strips that a board file names; those without a name are called after their number.

    Raises
    ------
    EvenhandError
        When the board leaves its channels to the session.
    """
    card = board.main_card
    if card.n_capture is None or card.n_playback is None:
        raise EvenhandError(f"{board.name}: takes its channels from a session; name one with --session")
    strips = tuple(
        StripSetup(
            name=spec.name or f"In {spec.strip}",
            role=None,
            card_channels=(spec.channel - 1, spec.channel) if spec.is_stereo else (spec.channel - 1,),
            card=None if spec.card == card.key else spec.card,
        )
        for spec in sorted(board.inputs, key=lambda spec: spec.strip)
    )
    return MixerSetup(
        sample_rate_hz=board.audio.sample_rate_hz,
        n_card_inputs=card.n_capture,
        n_card_outputs=card.n_playback,
        strips=strips,
    )


def setup_of_session(
    strips: Sequence[tuple[str, str | None, bool]], *, sample_rate_hz: int, n_card_outputs: int
) -> MixerSetup:
    """Return a set-up whose card has just the inputs that a session needs, in its order: name, role, stereo or not."""
    setups, lane = [], 0
    for name, role, is_stereo in strips:
        lanes = (lane, lane + 1) if is_stereo else (lane,)
        setups.append(StripSetup(name=name, role=role, card_channels=lanes))
        lane += len(lanes)
    return MixerSetup(
        sample_rate_hz=sample_rate_hz, n_card_inputs=lane, n_card_outputs=n_card_outputs, strips=tuple(setups)
    )


def write_setup(setup: MixerSetup, path: Path) -> None:
    """Write it for the processes to read."""
    path.write_text(json.dumps(asdict(setup), indent=1), encoding="utf-8")


def read_setup(path: Path) -> MixerSetup:
    """Read what ``write_setup`` wrote.

    Raises
    ------
    EvenhandError
        When the file is absent or not such a set-up.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise ValueError("is too long")
        return _checked(json.loads(text))
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EvenhandError(f"{path}: is no mixer set-up ({error})") from None


def _checked(record: dict[str, Any]) -> MixerSetup:
    n_inputs, n_outputs = (_whole(record[key], 1, MAX_CARD_CHANNELS) for key in ("n_card_inputs", "n_card_outputs"))
    strips = []
    for entry in record["strips"]:
        if not isinstance(entry, dict):
            raise ValueError("a strip that is no object")
        card = entry.get("card")
        if not (card is None or isinstance(card, str)):
            raise ValueError("a card that is no word")
        last = n_inputs - 1 if card is None else MAX_CARD_CHANNELS - 1  # of another card, the engine knows
        channels = tuple(_whole(channel, 0, last) for channel in entry["card_channels"])
        if len(channels) not in (1, 2):
            raise ValueError(f"a strip with {len(channels)} inputs")
        role = entry["role"]
        if not (role is None or isinstance(role, str)):
            raise ValueError("a role that is no word")
        name = str(entry["name"])[:MAX_NAME_CHARACTERS]
        strips.append(StripSetup(name=name, role=role, card_channels=channels, card=card))
    if not 1 <= len(strips) <= MAX_STRIPS:
        raise ValueError(f"{len(strips)} strips; a mixer has 1 to {MAX_STRIPS}")
    return MixerSetup(
        sample_rate_hz=_whole(record["sample_rate_hz"], 8000, 192000),
        n_card_inputs=n_inputs,
        n_card_outputs=n_outputs,
        strips=tuple(strips),
    )


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
    return value


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware.mixer_setup", description="Writes the strips of a board.")
    parser.add_argument("--board", required=True, help="name or file of the board")
    parser.add_argument("--out", type=Path, required=True, help="file that engine and control read")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the strips of a board; return 0, or 1 when that was refused."""
    options = _arguments().parse_args(argv)
    try:
        with Outputs() as outputs:
            write_setup(setup_of_board(load_board(options.board)), outputs.stage(options.out))
            outputs.commit()
    except (EvenhandError, BoardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
