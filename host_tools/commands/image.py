"""``evenhand image``: build what a box boots from; the work is done by the firmware's own builder."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Annotated

import typer

from ..errors import HostError

NAME = "image"
EXAMPLE = "example: evenhand image build --board qemu_arm64"
SETTINGS = {"ignore_unknown_options": True, "help_option_names": []}


def run(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help="As python -m firmware.image takes.")
    ] = None,
) -> None:
    """Build the image of a board, or a bundle of it (on Linux, from a checkout)."""
    if sys.platform != "linux" or importlib.util.find_spec("firmware") is None:
        raise HostError("images are built on Linux, from a checkout of the firmware; releases have them ready")
    builder = subprocess.Popen([sys.executable, "-m", "firmware.image", *(words or ["--help"])])
    while (status := _ended(builder)) is None:
        pass
    if status:
        raise typer.Exit(status)


def _ended(builder: subprocess.Popen[bytes]) -> int | None:
    """Return its status; None where Ctrl-C came: it hears that too, clears away what is half done, and says so."""
    try:
        return builder.wait()
    except KeyboardInterrupt:
        return None
