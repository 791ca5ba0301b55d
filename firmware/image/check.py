"""Looks through a finished image, from the partition table to the last file, without the board it is for.

What is looked at, and what was found, is a list; an image is right when nothing on it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from board_configs.board import Board, BoardError, load_board
from firmware.errors import EvenhandError

from .opened import Image, open_image
from .platform import Platform, find_platform

MAX_WRONG = 5  # lines of one look that are printed


@dataclass(frozen=True, kw_only=True)
class Look:
    """One thing that was looked at."""

    what: str
    found: str
    wrong: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The look as lines for people."""
        more = len(self.wrong) - MAX_WRONG
        wrong = [*self.wrong[:MAX_WRONG], *([f"and {more} more"] if more > 0 else [])]
        return "\n".join(
            [f"{'WRONG' if self.wrong else 'ok   '} {self.what}: {self.found}", *(f"      {w}" for w in wrong)]
        )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an image is to be."""

    board: Board  # with its image
    platform: Platform


Looker = Callable[[Image, Wanted], Iterator[Look]]


def look(what: str, found: str, wrong: Iterable[str] = ()) -> Look:
    """Return a look."""
    return Look(what=what, found=found, wrong=tuple(wrong))


def wanted_of(image: Image, board_name: str | None) -> Wanted:
    """Return what the image says it is, or is said to be.

    Raises
    ------
    EvenhandError
        When nobody says it.
    """
    name = board_name or image.record.get("board")
    if not name:
        raise EvenhandError(f"{image.file}: there is no image.json beside it; name its board: --board NAME")
    board = load_board(name)
    platform = find_platform(board, image.record.get("platform") or None)
    return Wanted(board=platform.for_board(board), platform=platform)


def check(file: Path, board_name: str | None = None) -> list[Look]:
    """Return all that was looked at in an image.

    Raises
    ------
    EvenhandError
        When it cannot be opened.
    """
    from .check_boot import boot_looks, first_root_looks
    from .check_contents import content_looks
    from .check_disk import disk_looks
    from .check_root import root_looks

    lookers: tuple[Looker, ...] = (disk_looks, boot_looks, first_root_looks, root_looks, content_looks)
    with open_image(file) as image:
        try:
            wanted = wanted_of(image, board_name)
        except BoardError as error:
            raise EvenhandError(str(error)) from None
        return [each for looker in lookers for each in looker(image, wanted)]
