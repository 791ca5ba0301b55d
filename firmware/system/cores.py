"""Which processor cores there are for the threads of a board; nothing heavy, the engine process asks too."""

from __future__ import annotations

import errno
import os

from board_configs.board import Board
from firmware.errors import EvenhandError

KEYS = ("audio", "analysis", "control")


def refuse_missing_cores(board: Board, keys: tuple[str, ...] = KEYS) -> None:
    """Refuse a board whose threads go to cores that this machine has not, or does not give us.

    Raises
    ------
    EvenhandError
        That names file, key and the cores there are.
    """
    usable = usable_cores()
    for key in keys:
        wanted = getattr(board.cores, key)
        for core in wanted if isinstance(wanted, tuple) else () if wanted is None else (wanted,):
            if core not in usable:
                listed = ", ".join(map(str, sorted(usable)))
                raise EvenhandError(
                    f"{board.path.name}: cores: {key} names core {core}, which this process may not use; "
                    f"it may use {listed}"
                )


def usable_cores() -> set[int]:
    """Return the cores that a thread of ours may ask for.

    More than ``sched_getaffinity`` tells: the kernel keeps everybody off an isolated core who does not ask for it.
    """
    usable: set[int] = set()
    ours = os.sched_getaffinity(0)
    try:  # not in a thread of its own: the engine locks its memory, and a thread leaves its stack and heap behind
        for core in range(os.sysconf("SC_NPROCESSORS_CONF")):
            try:
                os.sched_setaffinity(0, {core})
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue
            usable.add(core)
    finally:
        os.sched_setaffinity(0, ours)
    return usable
