"""Releases for an emulated box, made from its image: good ones, and such as no box may take or keep."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

MIB = 1 << 20
PARTS = ("rootfs.squashfs", "boot.vfat")
SITE_PACKAGES = "opt/evenhand/.venv/lib/python3.11/site-packages"
# Only reports are drawn with it. A release without is a third smaller and sooner sent; a start does not miss it.
FOR_REPORTS = tuple(
    f"{SITE_PACKAGES}/{name}"
    for name in ("matplotlib", "mpl_toolkits", "fontTools", "PIL", "pillow.libs", "contourpy", "kiwisolver")
)
NOISE = random.Random(1).randbytes(MIB)  # no file system, and not made smaller by packing
VERSION_FILES = ("usr/lib/evenhand/release.json", "opt/evenhand/pyproject.toml")


class Releases:
    """Makes bundles.

    Parameters
    ----------
    image
        Folder that ``evenhand image build`` made.
    keys
        Folder of keys that boxes of this image trust.
    work
        Folder for what is made. Whole bundles of this very image that lie there are taken as they are.
    """

    def __init__(self, image: Path, keys: Path, work: Path) -> None:
        self._image, self._keys = image, keys
        self._record = json.loads((image / "image.json").read_text(encoding="utf-8"))
        self._work = work / str(self._record["files"]["root"]["sha256"])[:16]
        self._tree = self._work / "tree"
        self._work.mkdir(parents=True, exist_ok=True)

    @property
    def version(self) -> str:
        """Version of the image itself."""
        return str(self._record["version"])

    @property
    def disk(self) -> Path:
        """The whole disk."""
        return self._image / str(self._record["files"]["disk"]["name"])

    def whole(self, version: str, edits: Mapping[str, bytes | None] | None = None, *, is_slim: bool = False) -> Path:
        """Return a bundle of the image's root with other files in it (None: without), of another version.

        ``is_slim``: without what only reports need.
        """
        made = self._work / f"release-{version}"
        if (out := made / f"{version}.raucb").exists():
            return out
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        self._unpack()
        changed = {path: self._of_version(path, version) for path in VERSION_FILES} | dict(edits or {})
        before = {path: (self._tree / path).read_bytes() for path in changed}
        left_out = [path for path, content in changed.items() if content is None] + [*FOR_REPORTS] * is_slim
        try:
            for path, content in changed.items():
                if content is not None:
                    (self._tree / path).write_bytes(content)
            _call(["mksquashfs", self._tree, made / "rootfs.squashfs", "-quiet", "-no-progress", "-noappend",
                   "-comp", "zstd", "-Xcompression-level", "1", *(["-e", *left_out] if left_out else [])])  # fmt: skip
        finally:
            for path, content in before.items():
                (self._tree / path).write_bytes(content)
        (made / "boot.vfat").hardlink_to(self._image / "boot.vfat")
        return self._bundled(made, version)

    def rootless(self, version: str, *, first_root: bytes | None = None) -> Path:
        """Return a bundle whose root is no file system, with another first root where one is given."""
        made = self._folder(version)
        (made / "rootfs.squashfs").write_bytes(NOISE)
        boot = made / "boot.vfat"
        shutil.copyfile(self._image / "boot.vfat", boot)
        if first_root is not None:
            (made / "first_root").write_bytes(first_root)
            _call(["mcopy", "-o", "-i", boot, made / "first_root", "::initramfs.zst"], {"MTOOLS_SKIP_CHECK": "1"})
        return self._bundled(made, version)

    def empty(self, version: str, *, compatible: str | None = None, keys: Path | None = None) -> Path:
        """Return a bundle of a megabyte with nothing in it that could start, for a board, signed by keys."""
        made = self._folder(version)
        for part in PARTS:
            (made / part).write_bytes(NOISE)
        return self._bundled(made, version, compatible=compatible, keys=keys)

    def file_of_root(self, path: str) -> bytes:
        """Return a file of the image's root."""
        self._unpack()
        return (self._tree / path).read_bytes()

    def _bundled(
        self, made: Path, version: str, *, compatible: str | None = None, keys: Path | None = None
    ) -> Path:  # fmt: skip
        record = {**self._record, "version": version, "compatible": compatible or self._record["compatible"]}
        (made / "image.json").write_text(json.dumps(record), encoding="utf-8")
        out = made / f"{version}.raucb"
        _call([sys.executable, "-m", "firmware.image", "bundle", "--image", made, "--keys", keys or self._keys,
               "--out", out])  # fmt: skip
        for part in PARTS:
            (made / part).unlink()
        return out

    def _of_version(self, path: str, version: str) -> bytes:
        text = self.file_of_root(path).decode()
        for before, after in (('"version": "{}"', '"version": "{}"'), ('version = "{}"', 'version = "{}"')):
            text = text.replace(before.format(self.version), after.format(version), 1)
        return text.encode()

    def _folder(self, version: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"release-{version}-", dir=self._work))

    def _unpack(self) -> None:
        if not self._tree.exists():
            _call(["unsquashfs", "-quiet", "-no-progress", "-dest", self._tree, self._image / "rootfs.squashfs"])


def damaged(bundle: Path, name: str, *, at: int | None = None, n_bytes: int | None = None) -> Path:
    """Return a copy with one bit of the byte ``at`` turned (from the end where negative), or with only ``n_bytes``."""
    copy = bundle.with_name(f"{name}.raucb")
    shutil.copyfile(bundle, copy)
    if n_bytes is not None:
        os.truncate(copy, n_bytes)
    if at is not None:
        with copy.open("r+b") as file:
            file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0x10]))
    return copy


def _call(command: list[str | Path], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    assert done.returncode == 0, f"{command[0]}: {(done.stderr or done.stdout).strip()[-400:]}"
