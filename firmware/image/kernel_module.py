"""Compiles the one kernel module of ours, against the headers of the very kernel that an image has.

Debian's headers come with programs for the machine that compiles. Those of a newer Debian may want a newer C library
than this machine has: they get their own beside them.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from pathlib import Path

from firmware.errors import EvenhandError

from .debs import Debs
from .recipe import FOLDER, Recipe
from .target import ARM64
from .tools import call

SOURCE = FOLDER / "reboot_flag/evenhand_tryboot.c"
NAME = SOURCE.stem
HOST = {"x86_64": ("amd64", "x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        "aarch64": ("arm64", "aarch64-linux-gnu/ld-linux-aarch64.so.1")}  # fmt: skip
# What the kernel was configured with for its own compiler, and a table of types that nothing here reads.
UNSET = ("CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=", "CONFIG_DEBUG_INFO_BTF_MODULES=")


def tryboot_module(kernel_debs: Debs, suite: str, release: str, recipe: Recipe, cache: Path) -> Path:
    """Return the compiled module, from the cache where it is there.

    Parameters
    ----------
    kernel_debs
        Where the kernel came from: its headers have the same version.
    suite
        Of the kernel.

    Raises
    ------
    EvenhandError
        When it does not compile.
    """
    key = hashlib.sha256(
        SOURCE.read_bytes() + release.encode() + call([ARM64.compiler, "--version"], "compiler").encode()
    )
    key.update(Path(__file__).read_bytes())
    made = cache / f"module-{release}-{key.hexdigest()[:16]}" / f"{NAME}.ko"
    if made.exists():
        return made
    if platform.machine() not in HOST:
        raise EvenhandError(f"{NAME}: is compiled on {' or '.join(HOST)}, not on {platform.machine()}")
    architecture, loader = HOST[platform.machine()]
    headers = cache / f"headers-{release}"
    shutil.rmtree(headers, ignore_errors=True)
    common = _common(kernel_debs, release)
    kernel_debs.extract([f"linux-headers-{release}", common], headers)
    tools = Debs(cache / f"apt-{suite}-{architecture}", recipe.sources_of(suite), architecture)
    kbuild = common.removesuffix("-rt").removesuffix("-common").replace("headers", "kbuild")
    tools.extract([kbuild], headers)
    newest = suite.removesuffix("-backports")
    library = Debs(cache / f"apt-{newest}-{architecture}", recipe.sources_of(newest), architecture)
    library.extract(["libc6"], headers / "library")
    _lend_library(headers, loader)

    build = made.parent.with_name(f".{made.parent.name}.part")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    shutil.copyfile(SOURCE, build / SOURCE.name)
    (build / "Kbuild").write_text(f"obj-m := {NAME}.o\n", encoding="ascii")
    source, output = headers / f"usr/src/{common}", headers / f"usr/src/linux-headers-{release}"
    call(
        ["make", "-s", "-C", source.resolve(), f"O={output.resolve()}", f"M={build.resolve()}", "ARCH=arm64",
         f"KERNELRELEASE={release}", "CROSS_COMPILE=aarch64-linux-gnu-", f"CC={ARM64.compiler}", *UNSET, "modules"],
        f"module {NAME} for {release}",
    )  # fmt: skip
    # What names this machine's folders goes.
    call(
        [ARM64.strip, "--strip-debug", "--remove-section=.note.gnu.build-id", build / f"{NAME}.ko"], f"stripping {NAME}"
    )
    for path in build.iterdir():
        if path.name != f"{NAME}.ko":
            path.unlink() if path.is_file() or path.is_symlink() else shutil.rmtree(path)
    shutil.rmtree(made.parent, ignore_errors=True)
    build.rename(made.parent)
    shutil.rmtree(headers)
    return made


def _common(debs: Debs, release: str) -> str:
    found = [name for name in debs.needs(f"linux-headers-{release}") if "-common" in name]
    if len(found) != 1:
        raise EvenhandError(f"linux-headers-{release}: needs {len(found)} packages of common headers, not one")
    return found[0]


def _lend_library(headers: Path, loader: str) -> None:
    """Let the one program that needs it run with the C library beside it."""
    library = (headers / "library/usr/lib" / loader).resolve()
    if not library.exists():  # before /lib was merged
        library = (headers / "library/lib" / loader).resolve()
    for program in headers.glob("usr/lib/linux-kbuild-*/scripts/mod/modpost.real-lsb-64"):
        start = program.with_name("modpost")
        start.unlink()
        start.write_text(
            f'#!/bin/sh\nexec {library} --library-path {library.parent} {program.resolve()} "$@"\n', encoding="utf-8"
        )
        start.chmod(0o755)
