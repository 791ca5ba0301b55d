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
    status = subprocess.run([sys.executable, "-m", "firmware.image", *(words or ["--help"])]).returncode
    if status:
        raise typer.Exit(status)
