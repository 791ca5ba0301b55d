"""``evenhand-box devices``: the sound cards of this machine, what they offer, and which boards they make."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

from board_configs.board import Board, BoardError, board_names, load_board

from .errors import EvenhandError
from .say import say
from .system.board_fit import refuse_foreign_machine
from .system.cards import FoundCard, find_board_cards, list_cards
from .system.health import Health, read_health
from .system.offers import CAPTURE, PLAYBACK, choose_format, probe

NAME = "devices"
SUMMARY = "list sound cards, what they offer and which boards they make"
EXAMPLE = """\
example:
  What a board file of your own needs to know about the card that is plugged in:

    evenhand-box devices

  A card in use cannot be asked what it offers; stop the box first.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--board", metavar="NAME|FILE.toml", help="only this board (default: every board there is)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> None:
    """Look around, and say what is there."""
    try:
        boards = [load_board(name) for name in ([args.board] if args.board else board_names())]
    except BoardError as error:
        raise EvenhandError(str(error)) from None
    record = survey(boards)
    say(json.dumps(record) if args.json else "\n".join(_lines(record)), otherwise="nothing has changed")


def survey(boards: list[Board], *, root: Path = Path("/"), machine: str = "") -> dict[str, Any]:
    """Return what there is, as the command's JSON: ``machine cards boards health complaints``."""
    machine = machine or platform.machine()
    cards = list_cards(root)
    health = read_health(root)
    return {
        "machine": machine,
        "cards": [_card_record(card) for card in cards],
        "boards": [_board_record(board, cards, machine) for board in boards],
        "health": vars(health),
        "complaints": list(health.complaints),
    }


def _card_record(card: FoundCard) -> dict[str, Any]:
    names = sorted({*card.capture_pcms, *card.playback_pcms})
    return {
        "id": card.id,
        "index": card.index,
        "driver": card.driver,
        "usb": card.usb,
        "name": card.name,
        "long_name": card.long_name,
        "pcms": [
            {
                "pcm": name,
                CAPTURE: _offer_record(name, CAPTURE) if name in card.capture_pcms else None,
                PLAYBACK: _offer_record(name, PLAYBACK) if name in card.playback_pcms else None,
            }
            for name in names
        ],
    }


def _offer_record(pcm: str, direction: str) -> dict[str, Any]:
    try:
        return {"error": None, **vars(probe(pcm, direction))}
    except EvenhandError as error:
        return {"error": str(error)}


def _board_record(board: Board, cards: tuple[FoundCard, ...], machine: str) -> dict[str, Any]:
    return {"name": board.name, "title": board.title, "misfit": _misfit(board, cards, machine)}


def _misfit(board: Board, cards: tuple[FoundCard, ...], machine: str) -> str | None:
    """Return why the board is not this machine, or None."""
    try:
        refuse_foreign_machine(board, machine)
        for card in find_board_cards(board, cards):
            choose_format(board, card)
    except EvenhandError as error:
        return str(error).removeprefix(f"{board.path.name}: ")
    return None


# ---------------------------------------------------------------------------------------------------- for people


def _lines(record: dict[str, Any]) -> list[str]:
    lines = [line for card in record["cards"] for line in _card_lines(card)] or ["no sound card on this machine"]
    lines += ["", "boards"]
    width = max(len(board["name"]) for board in record["boards"])
    lines += [f"  {b['name']:{width}}  {b['misfit'] or 'fits'}" for b in record["boards"]]
    health = Health(**record["health"])
    lines += ["", f"machine  {record['machine']}, {_warmth(health)}, preemption {health.preemption or 'not told'}"]
    return [*lines, *(f"  {complaint}" for complaint in record["complaints"])]


def _card_lines(card: dict[str, Any]) -> list[str]:
    usb = f", usb {card['usb']}" if card["usb"] else ""
    lines = [f"{card['id']}  {card['name']}  ({card['driver']}{usb})"]
    for pcm in card["pcms"]:
        lines.append(f"  {pcm['pcm']}")
        lines += [f"    {way:8}  {_offer_words(pcm[way])}" for way in (CAPTURE, PLAYBACK) if pcm[way]]
    return lines


def _offer_words(offer: dict[str, Any]) -> str:
    if offer["error"]:
        return str(offer["error"])
    listed = [", ".join(map(str, offer[key])) or "none" for key in ("n_channels", "formats", "sample_rates_hz")]
    return f"{listed[0]} channels; {listed[1]}; {listed[2]} Hz"


def _warmth(health: Health) -> str:
    return "temperature not told" if health.temp_c is None else f"{health.temp_c:.0f} °C"
