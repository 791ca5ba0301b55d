"""Writes what the units cannot know before the board is chosen: which cores each process keeps to.

A folder ``NAME.service.d`` with one file, beside the units; systemd reads it with them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from board_configs.board import Board, BoardError, load_board

from ..atomic import Outputs
from ..errors import EvenhandError

DROP_IN = "board.conf"
# The engine's two real-time threads go to their own cores by themselves; this is for the rest of its process.
SERVICES = ("evenhand-engine", "evenhand-control", "evenhand-preamps", "evenhand-recorder")


def drop_in_text(board: Board) -> str:
    """Return the drop-in of a board: empty lists take back what another board asked for."""
    cores = " ".join(map(str, board.cores.control))
    return f"# Cores of {board.name}, from its board file.\n[Service]\nCPUAffinity=\n" + (
        f"CPUAffinity={cores}\n" if cores else ""
    )


def write_board_units(board: Board, folder: Path) -> tuple[Path, ...]:
    """Write the drop-in of every service into ``folder``, all or none, and return the files.

    Raises
    ------
    EvenhandError
        When the folder refuses.
    """
    paths = tuple(folder / f"{service}.service.d" / DROP_IN for service in SERVICES)
    with Outputs() as outputs:
        for path in paths:
            outputs.make_folder(path.parent)
            outputs.stage(path).write_text(drop_in_text(board), encoding="utf-8")
        outputs.commit()
    return paths


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware.system.board_units", description=__doc__)
    parser.add_argument("--board", required=True, help="name or file of the board")
    parser.add_argument("--out", type=Path, default=Path("/etc/systemd/system"), help="folder (/etc/systemd/system)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the files and name them; return 0, or 1 when that was refused."""
    options = _arguments().parse_args(argv)
    try:
        for path in write_board_units(load_board(options.board), options.out):
            print(path)
    except (EvenhandError, BoardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
