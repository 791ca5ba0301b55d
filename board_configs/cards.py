"""Reads the sound cards of a board: what they are called, how they are known again, how many channels they have."""

from __future__ import annotations

import re

from .spec import MAX_CARD_CHANNELS, MAX_CARDS, ROLES, CardMatch, CardSpec
from .table import Table

# A conversion between the mixer and the card hides the card: latency, rate and format would no longer be ours.
CONVERTERS = re.compile(r"(plug|plughw|dmix|dsnoop|asym|default|sysdefault|front|pulse|pipewire|jack)\b")
BY_INDEX = re.compile(r"hw:(CARD=)?\d")
CARD_ID = re.compile(r"hw:(?:CARD=)?([^,]+)")


def read_cards(root: Table) -> tuple[CardSpec, ...]:
    """Return the cards: one main, the others secondary."""
    tables = root.tables("card")
    if not 1 <= len(tables) <= MAX_CARDS:
        raise root.error(f"{len(tables)} cards; write 1 to {MAX_CARDS} [[card]] tables")
    cards = tuple(_card(table) for table in tables)
    for index, card in enumerate(cards):
        if card.key in {c.key for c in cards[:index]}:
            raise tables[index].error(f'key "{card.key}" is taken by an earlier card')
    n_main = sum(c.role == "main" for c in cards)
    if n_main != 1:
        raise root.error(f'{n_main} cards have role = "main"; one must, its clock is the mixer\'s')
    return cards


def _card(table: Table) -> CardSpec:
    pcm = table.text("pcm")
    if CONVERTERS.match(pcm):
        raise table.error(f'pcm = "{pcm}" converts behind the mixer\'s back; name the card itself: "hw:CARD=ID,DEV=0"')
    ctl = table.text("ctl", None)
    for key, name in (("pcm", pcm), ("ctl", ctl)):
        if name is not None and BY_INDEX.match(name):
            raise table.error(f'{key} = "{name}" names a card by its index, which may change; write hw:CARD=ID')
    card = CardSpec(
        key=table.text("key"),
        pcm=pcm,
        ctl=ctl,
        match=_match(table, pcm),
        role=table.choice("role", ROLES, "main"),
        n_capture=_n_channels(table, "n_capture"),
        n_playback=_n_channels(table, "n_playback"),
    )
    table.close()
    if card.role == "main" and 0 in (card.n_capture, card.n_playback):
        raise table.error("the main card must capture and play; a card that does one of them is secondary")
    return card


def _match(table: Table, pcm: str) -> CardMatch:
    """Return what identifies the card; without ``match``, the id in its PCM's name."""
    if not table.has("match"):
        named = CARD_ID.match(pcm)
        return CardMatch(id=named[1] if named else None)
    match = table.table("match")
    usb = match.text("usb", None)
    if usb is not None and not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", usb):
        raise match.error(f'usb = "{usb}" must be vendor:product as lsusb prints it, like "1235:821d"')
    found = CardMatch(
        id=match.text("id", None), driver=match.text("driver", None), usb=usb, long_name=match.text("long_name", None)
    )
    match.close()
    if found.is_empty:
        raise match.error("asks nothing; name at least one of id, driver, usb, long_name")
    return found


def _n_channels(table: Table, key: str) -> int | None:
    if table.raw(key) == "session":
        return None
    return int(table.integer(key, 0, MAX_CARD_CHANNELS))
