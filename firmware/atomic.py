"""Files that appear whole or not at all: staged beside their place, synced, and renamed when every one is complete."""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .errors import EvenhandError
from .interrupt import ENDING, heed


@dataclass(frozen=True, kw_only=True)
class _Staged:
    part: Path
    target: Path
    fd: int  # holds the lock that tells a file in the making from one that a killed job left behind
    is_new: bool


class Outputs:
    """The outputs of one job.

    ``stage`` names a file to write into, ``commit`` gives all of them their final names. Leaving without ``commit``
    removes whatever was staged. The file staged first is renamed last: where it stands, the others stand too.
    A job killed outright leaves ``.NAME.part`` behind, which the next job of the same name takes over.
    """

    def __init__(self) -> None:
        self._staged: list[_Staged] = []
        self._made_folders: list[Path] = []

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for staged in self._staged:
            with suppress(OSError):
                staged.part.unlink()
            os.close(staged.fd)
        for folder in reversed(self._made_folders):
            with suppress(OSError):
                folder.rmdir()
        self._staged, self._made_folders = [], []

    def make_folder(self, folder: Path) -> None:
        """Make ``folder`` if it is missing; it goes again when the job fails."""
        try:
            folder.mkdir()
        except FileExistsError:
            if folder.is_dir():
                return
            raise EvenhandError(f"{folder}: is a file, not a folder; name another folder") from None
        except OSError as error:
            raise _refused(folder, error) from None
        self._made_folders.append(folder)

    def stage(self, target: Path) -> Path:
        """Return the path to write in place of ``target``, which stays untouched until ``commit``."""
        try:
            target = target.resolve()
            if target.exists() and not target.is_file():
                raise EvenhandError(f"{target}: exists and is not a regular file; name another file")
            part = target.with_name(f".{target.name}.part")
            is_new = not target.exists()
            fd = _open_locked(part, target)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
            raise _refused(target, error) from None
        self._staged.append(_Staged(part=part, target=target, fd=fd, is_new=is_new))
        return part

    def commit(self) -> None:
        """Sync every staged file and give it its name, unless the command was asked to end before."""
        for staged in self._staged:
            try:
                os.fsync(staged.fd)
            except OSError as error:
                raise _refused(staged.target, error) from None
        heed()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self._rename_all()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _rename_all(self) -> None:
        named: list[_Staged] = []
        for staged in reversed(self._staged):
            try:
                staged.part.replace(staged.target)
            except OSError as error:
                for other in named:
                    if other.is_new:
                        other.target.unlink(missing_ok=True)
                raise _refused(staged.target, error) from None
            named.append(staged)
        for folder in {staged.target.parent for staged in self._staged}:
            _sync_folder(folder)
        for staged in self._staged:
            os.close(staged.fd)
        self._staged, self._made_folders = [], []


def _open_locked(part: Path, target: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        fd = os.open(part, flags, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = part.exists() and os.path.samestat(os.fstat(fd), part.stat())
            if is_ours:  # and not renamed by its owner between our open and our lock
                os.ftruncate(fd, 0)
                return fd
        except BlockingIOError:
            os.close(fd)
            raise EvenhandError(f"{target}: another job is writing it; wait for it or name another file") from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system syncs folders
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _refused(path: Path, error: Exception) -> EvenhandError:
    if isinstance(error, FileNotFoundError):
        return EvenhandError(f"{path}: the folder {path.parent} does not exist; make it or name another one")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return EvenhandError(f"{path}: cannot be written ({reason}); name another place or free some space")
