"""Builds the image of a board, step by step, into a folder that appears whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_configs.board import Board
from firmware.errors import EvenhandError

from . import disk, rootfs, sbom, wheels
from .kernel import Kernel, find_kernel, initramfs
from .kernel_module import NAME as TRYBOOT
from .kernel_module import tryboot_module
from .layout import table_of
from .packages import Packages
from .platform import Platform
from .recipe import Recipe, debian_lock, read_lock, refuse_drift
from .target import BY_MACHINE
from .tools import need
from .tree import Release, device_modules, keyring_text, write_modules, write_programs, write_system

PROGRAMS = ("apt-get", "depmod", "dpkg-deb", "mcopy", "mkfs.vfat", "mke2fs", "mksquashfs", "mmd", "zstd")
Progress = Callable[[str, float], None]  # what begins, and how much of the whole is done, 0 to 1
HASHED_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Job:
    """An image to build.

    ``keyring``: certificates that updates are trusted by. ``cache``: what is kept from build to build.
    """

    board: Board
    platform: Platform
    release: Release
    keyring: Path
    out: Path
    cache: Path


def build(job: Job, recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """Build the image into ``job.out`` and return what was made, with sizes and digests.

    Raises
    ------
    EvenhandError
        When something is missing or does not fit; ``job.out`` is then as it was.
    """
    board, platform = job.platform.for_board(job.board), job.platform
    table = table_of(board)
    assert board.image is not None
    target = BY_MACHINE.get(board.machine)
    if target is None:
        raise EvenhandError(f"{board.path.name}: machine is {board.machine}; images are for {', '.join(BY_MACHINE)}")
    keyring_text(job.keyring)
    need(target.compiler, target.strip, *PROGRAMS, *(("make",) if platform.has_tryboot else ()))
    began_s = time.monotonic()
    parts = _Folder(job.out)
    with parts as folder:
        work = folder / "work"
        work.mkdir()
        job.cache.mkdir(parents=True, exist_ok=True)

        progress("Debian packages", 0.0)
        packages = Packages(board.image.kernel, platform, recipe, job.cache, target)
        found = packages.versions()
        refuse_drift(found, read_lock(debian_lock(target)))
        files_of_root = packages.debs.fetch(packages.root)

        progress("kernel and first root", 0.2)
        unpacked = job.cache / f"kernel-{found[packages.kernel[0]]}{target.cache_suffix}"
        kernel = find_kernel(packages.kernel_debs.extract(packages.kernel, unpacked))
        own: list[Path] = []
        if platform.has_tryboot:
            own.append(tryboot_module(packages.kernel_debs, packages.kernel_suite, kernel.release, recipe, job.cache))
            image = dataclasses.replace(board.image, modules=(*board.image.modules, TRYBOOT))
            board = dataclasses.replace(board, image=image)
        busybox = packages.debs.extract(recipe.initramfs_packages, work / "initramfs-packages") / "bin/busybox"
        devices = list(platform.first_root_modules)
        if platform.first_root_devices:
            devices += device_modules(kernel, platform, platform.first_root_devices)
        first_root = initramfs(kernel, board, recipe, busybox.read_bytes(), work, devices)

        progress("programs", 0.3)
        headers = packages.debs.extract(recipe.header_packages, work / "headers")
        tree = work / "tree"
        fetched = wheels.fetch(job.cache / f"wheels{target.cache_suffix}", target)
        python = write_programs(tree, fetched, headers, work, job.cache, recipe, target)
        write_modules(tree, kernel, board, recipe, platform, own)
        write_system(tree, board, job.release, job.keyring)
        shipped = packages.shipped()
        (tree / "var/lib/dpkg").mkdir(parents=True)
        (tree / "var/lib/dpkg/status").write_text(sbom.status_text(shipped, target), encoding="utf-8")

        progress("packing the root", 0.5)
        names = _names(job)
        rootfs.squash(rootfs.root_files(files_of_root, tree, recipe), recipe.epoch_s, folder / names["root"])
        progress("partitions", 0.9)
        beside, loader = _device_trees(kernel, platform), packages.loader_files(platform, work)
        select = loader if disk.is_pc(board) else None  # a PC's chooses the slot, a board's lies in it
        beside |= {} if disk.is_pc(board) else loader
        files = disk.boot_files(board, kernel.image.read_bytes(), first_root, platform, beside)
        assert board.image is not None
        disk.write_fat(folder / names["boot"], board.image.boot_mib, "BOOT", files, recipe.epoch_s)
        disk.write_select(work / "select.vfat", recipe.epoch_s, select)
        disk.write_data(work / "data.ext4", board, recipe.epoch_s)
        disk.write_disk(
            folder / names["disk"], table,
            select=work / "select.vfat", boot=folder / names["boot"], root=folder / names["root"],
            data=work / "data.ext4",
        )  # fmt: skip
        bill = sbom.bill(job.release, shipped, python, recipe.epoch_s, target)
        (folder / names["bill"]).write_text(bill, encoding="utf-8")
        progress("digests", 0.95)
        record = {
            "board": board.name, "platform": platform.name, "version": job.release.version,
            "compatible": job.release.compatible,
            "kernel": kernel.release, "is_development": job.release.is_development, "date_s": recipe.epoch_s,
            "lacks": list(platform.lacks),
            "files": {kind: _described(folder / name) for kind, name in names.items() if kind != "record"},
        }  # fmt: skip
        (folder / names["record"]).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(work)
        parts.keep()
    return {**record, "folder": str(job.out), "seconds": round(time.monotonic() - began_s, 1)}


def _device_trees(kernel: Kernel, platform: Platform) -> dict[str, bytes]:
    return {name: (kernel.device_trees / place).read_bytes() for name, place in platform.device_trees}


def _names(job: Job) -> dict[str, str]:
    stem = f"{job.release.compatible}-{job.release.version}"
    return {"disk": f"{stem}.img", "root": "rootfs.squashfs", "boot": "boot.vfat", "bill": f"{stem}.cdx.json",
            "record": "image.json"}  # fmt: skip


def _described(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASHED_BYTES):
            digest.update(chunk)
    return {"name": path.name, "size_bytes": path.stat().st_size, "sha256": digest.hexdigest()}


class _Folder:
    """A folder that takes the place of ``target`` when it is complete, and goes when it is not."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = target.with_name(f".{target.name}.part")
        self._is_kept = False

    def __enter__(self) -> Path:
        if self._target.exists() and not (self._target / "image.json").exists() and any(self._target.iterdir()):
            raise EvenhandError(f"{self._target}: holds something that is no image; name another folder")
        shutil.rmtree(self._part, ignore_errors=True)
        try:
            self._part.mkdir(parents=True)
        except OSError as error:
            raise EvenhandError(f"{self._part}: cannot be made ({error.strerror}); name another folder") from None
        return self._part

    def keep(self) -> None:
        self._is_kept = True

    def __exit__(self, *_: object) -> None:
        if self._is_kept:
            shutil.rmtree(self._target, ignore_errors=True)
            self._part.rename(self._target)
        else:
            shutil.rmtree(self._part, ignore_errors=True)
