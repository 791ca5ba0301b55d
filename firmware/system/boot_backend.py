"""What RAUC asks and tells about slots: its custom boot loader back end, over ``boot_selection``.

``get-primary``, ``set-primary SLOT``, ``get-state SLOT``, ``set-state SLOT good|bad``: as RAUC 1.8 calls it. A good
state for the slot that runs is the commit; anything else about the committed slot changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from firmware.errors import EvenhandError

from .boot_selection import PARTITION_OF, BootSelection


def answer(selection: BootSelection, words: list[str]) -> str:
    """Do what RAUC says and return what it reads, which may be nothing.

    Raises
    ------
    EvenhandError
        When it asks what nobody knows.
    """
    match words:
        case ["get-primary"]:
            return selection.primary
        case ["set-primary", slot] if slot in PARTITION_OF:
            selection.ask(slot)
        case ["get-state", slot] if slot in PARTITION_OF:
            return "good" if selection.is_good(slot) else "bad"
        case ["set-state", slot, "good"] if slot in PARTITION_OF:
            if slot == selection.booted:
                selection.commit()
        case ["set-state", slot, "bad"] if slot in PARTITION_OF:
            selection.give_up(slot)
        case _:
            raise EvenhandError(f"boot_backend: {' '.join(words)[:80]!r} is no request; slots are a and b")
    return ""


def main(argv: list[str] | None = None, root: Path = Path("/")) -> int:
    """Answer one request; return 0, or 1 with a line about what is wrong."""
    try:
        found = answer(BootSelection(root), sys.argv[1:] if argv is None else argv)
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    if found:
        print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
