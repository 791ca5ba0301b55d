"""Runs the programs that an image is made with; each that is missing, or fails, ends in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from firmware.errors import EvenhandError
from firmware.interrupt import heed

# Program and the Debian package that has it.
PACKAGE_OF = {
    "x86_64-linux-gnu-gcc": "gcc", "x86_64-linux-gnu-strip": "binutils",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "aarch64-linux-gnu-strip": "binutils-aarch64-linux-gnu",
    "apt-get": "apt", "cpio": "cpio", "depmod": "kmod", "debugfs": "e2fsprogs", "e2fsck": "e2fsprogs",
    "dpkg-deb": "dpkg", "mcopy": "mtools", "mmd": "mtools", "mformat": "mtools",
    "make": "make", "mke2fs": "e2fsprogs", "mkfs.vfat": "dosfstools", "mksquashfs": "squashfs-tools", "rauc": "rauc",
    "sfdisk": "fdisk", "unsquashfs": "squashfs-tools", "zstd": "zstd",
}  # fmt: skip
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def need(*programs: str) -> None:
    """Refuse when a program is missing, before anything is begun.

    Raises
    ------
    EvenhandError
        That names all that is missing, and the packages to install.
    """
    missing = [name for name in programs if shutil.which(name, path=PLACES) is None]
    if missing:
        packages = sorted({PACKAGE_OF.get(name, name) for name in missing})
        raise EvenhandError(
            f"an image needs {', '.join(missing)}, which this machine lacks; "
            f"apt-get install --no-install-recommends {' '.join(packages)}"
        )


def call(
    command: Sequence[str | Path], what: str, *, env: Mapping[str, str] | None = None, cwd: Path | None = None,
) -> str:  # fmt: skip
    """Run a program and return what it printed.

    Parameters
    ----------
    what
        What is being made, for the error.

    Raises
    ------
    EvenhandError
        With its last words, when it fails.
    KeyboardInterrupt
        Where we were asked to end before.
    """
    heed()
    words = [str(word) for word in command]
    environment = {**os.environ, "PATH": PLACES, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(env or {})}
    try:
        done = subprocess.run(
            words, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise EvenhandError(f"{what}: needs {words[0]}; install {PACKAGE_OF.get(words[0], words[0])}") from None
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower() or line.startswith("E:")]
        last = (errors or said or ["said nothing"])[-1].strip()
        raise EvenhandError(f"{what}: {words[0]} failed with status {done.returncode} ({last[:200]})")
    return done.stdout
