"""A kernel's part of an image: its file, the modules that a box needs with all that these need, and the first root."""

from __future__ import annotations

import fnmatch
import lzma
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from board_configs.board import Board
from firmware.errors import EvenhandError

from .cpio import Entry, archive
from .layout import DATA, disk_id
from .recipe import FOLDER, Recipe
from .tools import call

INIT = FOLDER / "initramfs_init"
APPLETS = (
    "cat", "cp", "cut", "dd", "echo", "hexdump", "mkdir", "modprobe", "mount", "reboot", "sh", "sleep", "switch_root",
    "sync", "umount",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """An unpacked kernel package."""

    release: str  # as ``uname -r`` says it
    image: Path
    modules: Path  # folder of the release
    device_trees: Path  # folder with one of vendors


def find_kernel(unpacked: Path) -> Kernel:
    """Return the kernel in an unpacked package, its modules indexed.

    Raises
    ------
    EvenhandError
        When there is none, or more than one.
    """
    images = sorted([*unpacked.glob("boot/vmlinuz-*"), *unpacked.glob("usr/lib/modules/*/vmlinuz")])
    if len(images) != 1:
        raise EvenhandError(f"{unpacked}: has {len(images)} kernels; name a package with one in the board's [image]")
    image = images[0]
    is_split = image.name == "vmlinuz"  # since 7.0 all lies with the modules
    release = image.parent.name if is_split else image.name.removeprefix("vmlinuz-")
    base = unpacked / "usr" if is_split else unpacked
    modules = base / "lib/modules" / release
    if not (modules / "modules.dep").exists():
        call(["depmod", "-b", base, release], f"index of the modules of {release}")
    device_trees = modules / "dtb" if is_split else unpacked / f"usr/lib/linux-image-{release}"
    return Kernel(release=release, image=image, modules=modules, device_trees=device_trees)


def read_needs(text: str) -> dict[str, tuple[str, ...]]:
    """Return what each module needs, all of it, from the text of a ``modules.dep``; how they are packed is left out."""
    lines = (line.partition(":") for line in text.replace(".ko.xz", ".ko").splitlines() if ":" in line)
    return {path: tuple(needs.split()) for path, _, needs in lines}


def closure(needs: dict[str, tuple[str, ...]], patterns: Iterable[str]) -> list[str]:
    """Return the modules that match a pattern, and those that these need; ``**`` matches any depth.

    Raises
    ------
    EvenhandError
        When a pattern that names one module finds none.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        matching = [path for path in needs if fnmatch.fnmatchcase(path, pattern)]
        if not matching and "*" not in pattern:
            raise EvenhandError(f"recipe.toml: the kernel has no {pattern}; take it from [modules]")
        for path in matching:
            chosen.update((path, *needs[path]))
    return sorted(chosen)


def load_order(needs: dict[str, tuple[str, ...]], names: Iterable[str]) -> list[str]:
    """Return the modules of these names with what they need before them; a name that the kernel lacks is built in."""
    order: list[str] = []
    for path in paths_of(needs, names):
        for each in [*reversed(needs[path]), path]:
            if each not in order:
                order.append(each)
    return order


def paths_of(needs: dict[str, tuple[str, ...]], names: Iterable[str]) -> list[str]:
    """Return the modules of these names, whatever dash they are written with; one that is built in has no path."""
    by_name = {Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
    return [by_name[key] for name in names if (key := name.replace("-", "_")) in by_name]


def stage_modules(kernel: Kernel, paths: Iterable[str], root: Path, own: Iterable[Path] = ()) -> None:
    """Copy modules, unpacked, and some of our own into ``root/lib/modules`` and index them."""
    target = root / "lib/modules" / kernel.release
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        packed = kernel.modules / f"{path}.xz"
        if packed.exists():  # the root packs it better, and the first root's modprobe need not know how
            (target / path).write_bytes(lzma.decompress(packed.read_bytes()))
        else:
            shutil.copyfile(kernel.modules / path, target / path)
    for module in own:
        (target / "updates").mkdir(exist_ok=True)
        shutil.copyfile(module, target / "updates" / module.name)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copyfile(kernel.modules / name, target / name)
    call(["depmod", "-b", root, kernel.release], f"index of the modules of {kernel.release}")


def initramfs(
    kernel: Kernel, board: Board, recipe: Recipe, busybox: bytes, work: Path, devices: Iterable[str] = (),
) -> bytes:  # fmt: skip
    """Return the first root, packed: it finds the slot's root, lays a layer in memory over it, and hands over.

    Parameters
    ----------
    devices
        Modules that drive what the disk hangs on.
    """
    needs = read_needs((kernel.modules / "modules.dep").read_text(encoding="utf-8"))
    order = load_order(needs, [*devices, *recipe.initramfs_modules])
    entries = {
        "init": Entry.file(INIT.read_bytes(), is_program=True),
        "bin/busybox": Entry.file(busybox, is_program=True),
        "etc/modules": Entry.file("".join(f"{Path(p).name.split('.')[0]}\n" for p in order).encode()),
        "etc/disk": Entry.file(f"{disk_id(board):08x}\n".encode()),
        "etc/data": Entry.file(f"{DATA}\n".encode()),
        **{f"bin/{name}": Entry.link("busybox") for name in APPLETS},
        **{name: Entry.folder() for name in ("dev", "proc", "sys", "run", "lower", "upper", "root", "data")},
    }
    stage = work / "initramfs"
    shutil.rmtree(stage, ignore_errors=True)
    stage_modules(kernel, order, stage)
    for path in sorted(stage.rglob("*")):
        if path.is_file() and (path.suffix == ".ko" or path.name == "modules.dep"):
            entries[str(path.relative_to(stage))] = Entry.file(path.read_bytes())
    raw = work / "initramfs.cpio"
    raw.write_bytes(archive(entries, recipe.epoch_s))
    packed = work / "initramfs.zst"
    call(["zstd", "-q", "-f", "-19", "-T1", raw, "-o", packed], "first root")
    return packed.read_bytes()
