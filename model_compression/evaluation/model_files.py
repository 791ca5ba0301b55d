"""A model as files: a bundle, a folder with the same names, or a run. Read, not verified: that is the box's."""

from __future__ import annotations

import hashlib
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..run_layout import described, find, read_file

MANIFEST = "model.toml"


@dataclass(frozen=True, kw_only=True)
class Head:
    """Columns of an output; they mean ``scale * column + offset``."""

    first: int
    count: int
    scale: float
    offset: float

    def read(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what the head says in the last axis of ``rows``."""
        return np.asarray(rows[..., self.first : self.first + self.count], np.float64) * self.scale + self.offset


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Manifest and files of one model."""

    path: Path
    manifest: dict[str, Any]
    files: dict[str, bytes]

    @property
    def precisions(self) -> list[str]:
        """Precisions that all networks come in, in the order of the manifest."""
        by_net: dict[str, list[str]] = {}
        for net in self.manifest["net"]:
            by_net.setdefault(net["name"], []).append(net["precision"])
        common = set.intersection(*(set(found) for found in by_net.values()))
        return [p for p in dict.fromkeys(net["precision"] for net in self.manifest["net"]) if p in common]

    @property
    def digest(self) -> str:
        """Return the SHA-256 over the networks, in the order of the manifest."""
        total = hashlib.sha256()
        for net in self.manifest["net"]:
            total.update(self.files[net["file"]])
        return total.hexdigest()

    @property
    def sigma_scale(self) -> list[float]:
        """What the mix network's sigmas are to be multiplied with."""
        return [float(scale) for scale in self.manifest.get("evidence", {}).get("sigma_scale", [1.0] * 5)]

    @property
    def max_channels(self) -> int | None:
        """Return how many channels the mix network takes; None for any number."""
        sizes = [net.get("n_channels", 0) for net in self.manifest["net"] if net["name"] == "mix"]
        return None if 0 in sizes else max(sizes)

    def net(self, name: str, precision: str, n_channels: int = 0) -> dict[str, Any]:
        """Return the table of a network: the smallest that takes ``n_channels``, or one that takes any number."""
        found = [net for net in self.manifest["net"] if (net["name"], net["precision"]) == (name, precision)]
        fits = sorted(
            (net.get("n_channels", 0), k)
            for k, net in enumerate(found)
            if net.get("n_channels", 0) == 0 or net["n_channels"] >= n_channels
        )
        if not fits:
            raise ModelError(f"{self.path}: has no network {name} in {precision} for {n_channels} channels")
        table: dict[str, Any] = found[fits[0][1]]
        return table

    def heads(self, name: str) -> dict[str, Head]:
        """Return the heads of a network by name."""
        table = next(net for net in self.manifest["net"] if net["name"] == name)
        heads, first = {}, 0
        for row in table["heads"]:
            at = int(row.get("first", first))
            heads[row["name"]] = Head(
                first=at,
                count=int(row["count"]),
                scale=float(row.get("scale", 1.0)),
                offset=float(row.get("offset", 0.0)),
            )
            first = at + int(row["count"])
        return heads


def read(path: Path) -> ModelFiles:
    """Return a model.

    Raises
    ------
    ModelError
        When there is no manifest, or a file that it names is missing.
    """
    if path.is_dir() and not (path / MANIFEST).exists():
        return _of_run(path)
    try:
        files = _from_folder(path) if path.is_dir() else _from_zip(path)
        manifest = tomllib.loads(files[MANIFEST].decode("utf-8"))
        missing = [net["file"] for net in manifest["net"] if net["file"] not in files]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}); name a bundle") from None
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile):
        raise ModelError(f"{path}: is no bundle with a {MANIFEST}; make one with evenhand-model bundle") from None
    if missing:
        raise ModelError(f"{path}: {missing[0]} is missing, which {MANIFEST} names")
    return ModelFiles(path=path, manifest=manifest, files=files)


def _of_run(path: Path) -> ModelFiles:
    manifest = described(path)
    names = [net["file"] for net in manifest["net"]]
    return ModelFiles(path=path, manifest=manifest, files={name: read_file(find(path, name)) for name in names})


def _from_folder(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.suffix in (".toml", ".tflite")}


def _from_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}
