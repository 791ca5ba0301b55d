"""``evenhand keys``: what bundles are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Yes, confirm, note, say, say_json
from ..guard import guarded

NAME = "keys"
GROUP = typer.Typer(
    help="Keys that bundles are signed with: make, renew, show.", no_args_is_help=True,
    epilog="example: evenhand keys make keys --days 90",
)  # fmt: skip
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the keys.")]
Days = Annotated[int, typer.Option("--days", min=1, max=1095, help="How long the signer is good (90).")]
Name = Annotated[str, typer.Option("--name", help="Whose keys they are (evenhand).")]


@GROUP.command("make", epilog="example: evenhand keys make keys")
@guarded
def make(folder: Folder, days: Days = 90, name: Name = "evenhand", json: Json = False) -> None:
    """Make an authority that boxes will trust, and a signer that is good for a while."""
    from ..keys import KeyFolder

    keys = KeyFolder(folder=folder)
    keys.make(name, days)
    note(f"{keys.authority} goes into images; keep {folder / 'ca.key'} off machines that others use")
    _tell(keys.dates(), json)


@GROUP.command("renew", epilog="example: evenhand keys renew keys --days 30")
@guarded
def renew(folder: Folder, days: Days = 90, name: Name = "evenhand", yes: Yes = False, json: Json = False) -> None:
    """Make a new signer; what the one before has signed is taken until that one is over."""
    from ..keys import KeyFolder

    keys = KeyFolder(folder=folder)
    confirm(f"replace {keys.signer} and its key?", is_yes=yes)
    keys.renew(name, days)
    _tell(keys.dates(), json)


@GROUP.command("show", epilog="example: evenhand keys show keys")
@guarded
def show(folder: Folder, json: Json = False) -> None:
    """Show until when the keys are good."""
    from ..keys import KeyFolder

    _tell(KeyFolder(folder=folder).dates(), json)


def _tell(dates: dict[str, str], is_json: bool) -> None:
    if is_json:
        say_json(dates)
    else:
        say("\n".join(f"{name}: until {date}" for name, date in dates.items()))
