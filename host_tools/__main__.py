"""``evenhand``: finds, sets up and looks after boxes from a laptop.

A verb is a module of ``commands`` with ``NAME``, ``EXAMPLE`` and ``run``; one with verbs of its own has ``GROUP``.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from .commands import (
    backup,
    bundle,
    console,
    discover,
    doctor,
    flash,
    image,
    keys,
    logs,
    pair,
    record,
    restore,
    rollback,
    scene,
    status,
    update,
)
from .guard import guarded

COMMANDS = (discover, pair, status, update, rollback, backup, restore, scene, record, logs, doctor, console, flash,
            image, bundle, keys)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 for done, 1 for refused or failed, 2 for wrong usage."""
    try:
        _app()(arguments, prog_name="evenhand")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _app() -> typer.Typer:
    app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(epilog="example: evenhand status --all")(_root)
    for command in COMMANDS:
        if hasattr(command, "GROUP"):
            app.add_typer(command.GROUP, name=command.NAME)
        else:
            settings = getattr(command, "SETTINGS", None)
            app.command(command.NAME, epilog=command.EXAMPLE, context_settings=settings)(guarded(command.run))
    return app


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"evenhand {version('evenhand')}, contract {CONTRACT_ID}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show version and contract.")
    ] = False,
) -> None:
    """Find, set up and look after Evenhand boxes from a laptop."""


if __name__ == "__main__":
    sys.exit(main())
