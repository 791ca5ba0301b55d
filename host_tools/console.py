"""How the command speaks: results on standard output, everything else on standard error, questions before harm."""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .errors import HostError

Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
BoxNames = Annotated[
    list[str] | None, typer.Argument(metavar="[BOX]...", help="Name, id or address (the only paired one).")
]
BoxName = Annotated[str | None, typer.Argument(metavar="[BOX]", help="Name, id or address (the only paired one).")]
All = Annotated[bool, typer.Option("--all", help="Every paired box.")]
EvenIfSounding = Annotated[bool, typer.Option("--even-if-sounding", help="Even while a show is on.")]
BACK_S = 900.0  # what a box gives itself to find a system well, before it goes back to the one before
Patience = Annotated[
    float, typer.Option("--patience", metavar="SECONDS", min=1.0, help="How long a box may take to be back and well.")
]


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)


def say_json(value: Any) -> None:
    """Print a result for a machine."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """Tell a person how it goes."""
    print(text, file=sys.stderr, flush=True)


def fail(message: str) -> None:
    """Print the one line that says why it was not done; names from outside may hold anything."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    print(f"error: {line}", file=sys.stderr, flush=True)


def confirm(question: str, *, is_yes: bool) -> None:
    """Ask before something that cannot be taken back.

    Raises
    ------
    HostError
        When the answer is not yes, or nobody can be asked.
    """
    if is_yes:
        return
    if not sys.stdin.isatty():
        raise HostError(f"{question} nobody can be asked here; say --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if _typed().lower() not in ("y", "yes"):
        raise HostError("not done, as you said; nothing has changed")


def ask(question: str) -> str:
    """Return what a person types."""
    if not sys.stdin.isatty():
        raise HostError(f"{question}: nobody can be asked here; give it as an option")
    print(f"{question}: ", end="", file=sys.stderr, flush=True)
    return _typed()


def _typed() -> str:
    """Return the next line of a person.

    Who presses Ctrl-C between the last look at signals and the reading would wait for an answer to it: so what is
    waited for is both.
    """
    hears, tells = socket.socketpair()
    with hears, tells:
        tells.setblocking(False)
        before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        try:
            select.select([sys.stdin, hears], [], [])
        finally:
            signal.set_wakeup_fd(before)
    return sys.stdin.readline().strip()


@contextmanager
def progress(what: str, total: float, *, is_quiet: bool) -> Iterator[Callable[[float, str], None]]:
    """Yield what is told how far it is and what is done; a bar on a terminal, a line each quarter elsewhere."""
    console = Console(stderr=True)
    if is_quiet or total <= 0:
        yield lambda _done, _text: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
                   TimeRemainingColumn(), TextColumn("{task.fields[step]}"))  # fmt: skip
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total, step="")
            yield lambda done, text: bar.update(task, completed=done, step=text)
    else:
        told = -1

        def tell(done: float, _text: str) -> None:
            nonlocal told
            if (quarter := int(4 * done / total)) > told:
                told = quarter
                note(f"{what}: {100 * done / total:.0f} %")

        yield tell


def table(rows: list[list[str]]) -> str:
    """Return rows with their columns aligned."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def size_text(size_bytes: float) -> str:
    """Return a size as people say it."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"
