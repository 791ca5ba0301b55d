"""What stands around every verb: a wrong world is told in one line."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from .console import fail
from .errors import HostError
from .interrupt import heard


def guarded(run: Callable[..., None]) -> Callable[..., None]:
    """Return ``run`` with exit code 1 and one ``error:`` line where it does not get its will."""

    @functools.wraps(run)
    def guarded_run(*args: Any, **options: Any) -> None:
        try:
            with heard():
                run(*args, **options)
            sys.stdout.flush()
        except HostError as error:
            fail(str(error))
        except KeyboardInterrupt:
            fail("stopped by hand; the same command starts again")
        except BrokenPipeError:  # whoever read our output went away; there is nobody to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            return
        raise typer.Exit(1)

    return guarded_run
