"""The root of a box, packed: Debian's packages, what they would have set up, and our tree over them, in one stream."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from firmware.errors import EvenhandError

from .archive import FOLDER, Item, lay_over, read_deb, read_folder
from .recipe import Recipe
from .setup import PYTHON, bytecode, settings
from .tools import PLACES

COMPRESSION = ("-comp", "zstd", "-Xcompression-level", "9")
SUFFIXES = (".py", ".toml", ".html", ".css", ".pub", ".bundle")  # of what runs on a box
BUILDERS = {Path("firmware/build_ffi.py"), Path("dsp_kernels/contract/generate.py")}
LEFT_OUT = {"tests", "bench", "image", "rt", "src", "include", "reference", "units", "__pycache__"}


def root_files(debs: Iterable[Path], tree: Path, recipe: Recipe) -> dict[str, Item]:
    """Return every file of the root by its path.

    Raises
    ------
    EvenhandError
        When parts of it contradict each other.
    """
    files: dict[str, Item] = {}
    for deb in debs:
        lay_over(files, ((name, item) for name, item in read_deb(deb) if not recipe.is_removed(name)))
    lay_over(files, settings(dict(files)))
    lay_over(files, read_folder(tree))
    lay_over(files, bytecode(dict(files), (PYTHON, "opt/evenhand/")))
    for name in list(files):
        for folder in Path(name).parents:
            if str(folder) != ".":
                files.setdefault(str(folder), FOLDER)
    lost = [name for name, item in files.items() if item.is_hard and item.link not in files]
    if lost:
        raise EvenhandError(f"/{lost[0]}: is another name of a file that [debian] removed takes away; keep both")
    return files


def squash(files: dict[str, Item], epoch_s: int, out: Path) -> None:
    """Write the read-only root into ``out``, the same bytes for the same files.

    Raises
    ------
    EvenhandError
        When it cannot be written; nothing is left of it then.
    """
    out.unlink(missing_ok=True)
    command = ["mksquashfs", "-", str(out), "-tar", "-noappend", "-no-progress", "-quiet", "-no-xattrs", *COMPRESSION,
               "-root-mode", "0755", "-root-uid", "0", "-root-gid", "0", "-root-time", str(epoch_s),
               "-mkfs-time", str(epoch_s), "-all-time", str(epoch_s)]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"} | {"PATH": PLACES}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        with process.stdin, tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            # A file comes before its other names.
            for name in sorted(files, key=lambda name: (files[name].is_hard, name)):
                content = files[name].content
                tar.addfile(files[name].member(name, epoch_s), None if content is None else io.BytesIO(content))
    except BrokenPipeError:
        pass  # its own words say why
    except BaseException:
        process.kill()
        process.wait()
        out.unlink(missing_ok=True)
        raise
    said = " ".join(process.stderr.read().decode("utf-8", "replace").split())
    if process.wait() != 0:
        out.unlink(missing_ok=True)
        raise EvenhandError(f"packing the root: mksquashfs failed ({said[:200]})")


def copy_programs(root: Path, target: Path) -> None:
    """Copy what runs on a box out of a checkout: modules and their data, without tests, sources and what builds."""
    for package in ("firmware", "board_configs", "dsp_kernels"):
        for path in sorted((root / package).rglob("*")):
            place = path.relative_to(root)
            if LEFT_OUT & set(place.parts) or not path.is_file() or path.suffix not in SUFFIXES:
                continue
            if place in BUILDERS:
                continue
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / place)
