"""Finds the sound cards of a board, whatever index and id they have today, by what does not change about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

from board_configs.board import Board, CardMatch, CardSpec
from firmware.errors import EvenhandError

# " 1 [USB            ]: USB-Audio - Scarlett 18i20 USB", and on the next line the long name
CARD_LINE = re.compile(r"^ *(\d+) \[([^\]]+)\]: (.*?) - (.*)$")
PCM_CARD = re.compile(r"^hw:(?:CARD=)?[^,]+")
VIRTUAL = "virtual"


@dataclass(frozen=True, kw_only=True)
class FoundCard:
    """A sound card as the kernel lists it."""

    index: int
    id: str
    driver: str
    name: str
    long_name: str
    usb: str | None  # "vendor:product"
    capture_pcms: tuple[str, ...]  # of its devices, as "hw:CARD=USB,DEV=0"
    playback_pcms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BoardCard:
    """A card of the board beside the one found for it: none for a virtual card or an ALSA plug-in."""

    spec: CardSpec
    found: FoundCard | None
    pcm: str  # to open today
    ctl: str | None  # with the preamps; None where there can be none


def list_cards(root: Path = Path("/")) -> tuple[FoundCard, ...]:
    """Return the cards the kernel knows; none on a machine without sound."""
    asound = root / "proc" / "asound"
    lines = _read(asound / "cards").splitlines()
    found = []
    for line, following in pairwise([*lines, ""]):
        match = CARD_LINE.match(line)
        if match is None:
            continue
        index, card_id = int(match[1]), match[2].strip()
        folder = asound / f"card{index}"
        found.append(
            FoundCard(
                index=index,
                id=card_id,
                driver=match[3],
                name=match[4].strip(),
                long_name=following.strip(),
                usb=_read(folder / "usbid").strip() or None,
                capture_pcms=_pcms(folder, card_id, "c"),
                playback_pcms=_pcms(folder, card_id, "p"),
            )
        )
    return tuple(found)


def _pcms(folder: Path, card_id: str, suffix: str) -> tuple[str, ...]:
    devices = sorted(int(p.name[3:-1]) for p in folder.glob(f"pcm*{suffix}") if p.name[3:-1].isdigit())
    return tuple(f"hw:CARD={card_id},DEV={device}" for device in devices)


def matches(card: FoundCard, match: CardMatch) -> bool:
    """Return whether all that ``match`` asks holds for ``card``; what asks nothing matches nothing."""
    return not match.is_empty and all(
        (
            match.id is None or match.id == card.id,
            match.driver is None or match.driver == card.driver,
            match.usb is None or match.usb == card.usb,
            match.long_name is None or any(fnmatchcase(name, match.long_name) for name in (card.name, card.long_name)),
        )
    )


def find_board_cards(board: Board, cards: Iterable[FoundCard]) -> tuple[BoardCard, ...]:
    """Return the board's cards that are there. A secondary card may be missing, the main one may not.

    Raises
    ------
    EvenhandError
        When the main card is not there, or two cards answer to one description.
    """
    cards = tuple(cards)
    found = [_find(board, spec, cards) for spec in board.cards]
    return tuple(card for card in found if card is not None)


def _find(board: Board, spec: CardSpec, cards: tuple[FoundCard, ...]) -> BoardCard | None:
    if spec.match.is_empty:
        return BoardCard(spec=spec, found=None, pcm=spec.pcm, ctl=spec.ctl)
    fitting = [card for card in cards if matches(card, spec.match)]
    place = f"{board.path.name}: card {spec.key}"
    if len(fitting) > 1:
        raise EvenhandError(
            f"{place}: {len(fitting)} cards match {asked(spec.match)}: {_listed(fitting)}; add the id of one to match"
        )
    if not fitting and spec.role == "secondary":
        return None
    if not fitting:
        here = f"this machine has: {_listed(cards)}" if cards else "this machine has no sound card"
        raise EvenhandError(f"{place}: no card matches {asked(spec.match)}; {here}")
    card = fitting[0]
    return BoardCard(
        spec=spec,
        found=card,
        pcm=PCM_CARD.sub(f"hw:CARD={card.id}", spec.pcm),
        ctl=spec.ctl or f"hw:CARD={card.id}",
    )


def asked(match: CardMatch) -> str:
    """Return what a match asks, as the board file writes it."""
    asked = {"id": match.id, "driver": match.driver, "usb": match.usb, "long_name": match.long_name}
    return ", ".join(f'{key} = "{value}"' for key, value in asked.items() if value is not None)


def _listed(cards: Iterable[FoundCard]) -> str:
    return ", ".join(f"{c.id} ({c.driver}{f' {c.usb}' if c.usb else ''}, {c.name})" for c in cards)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
