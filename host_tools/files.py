"""Files that appear whole or not at all, on any system."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import HostError


@contextmanager
def replaced(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Yield a file to write; it takes the place of ``path`` once it is written and synced.

    Raises
    ------
    HostError
        When the folder or the disk does not take it; what was there stands.
    """
    try:
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise HostError(f"{path}: cannot be written ({error.strerror}); name another place") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(mode)
        Path(part).replace(path)
    except OSError as error:
        raise HostError(f"{path}: cannot be written ({error.strerror}); name another place") from None
    finally:
        with suppress(OSError):
            Path(part).unlink()
