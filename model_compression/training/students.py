"""The three trained students with their calibration: one file, which a bundle may carry to be tuned further."""

from __future__ import annotations

import io
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..errors import ModelError
from ..nets.mix import MixNet, MixSize
from ..nets.role import RoleNet, RoleSize
from ..nets.song import SongNet, SongSize
from .files import read_arrays, write_arrays
from .weights import set_weights, weights_of

FILE = "student_weights.npz"
BUILDERS = {"role": (RoleNet, RoleSize), "song": (SongNet, SongSize), "mix": (MixNet, MixSize)}


@dataclass(frozen=True, kw_only=True)
class Students:
    """Networks that ship, and what calibration found.

    Attributes
    ----------
    temperature
        Of ``nets.evidence``.
    context_share
        Of the mix network in the opinion on roles, among many channels.
    sigma_scale
        ``(5,)``: by how much to multiply each of ``SIGMA_GROUPS`` so that 90 % of answers fall within 1.645 sigma.
    recipe_text
        Recipe that they were trained with.
    """

    role: RoleNet
    song: SongNet
    mix: MixNet
    temperature: float
    context_share: float
    sigma_scale: NDArray[np.float32]
    recipe_text: str

    def net(self, name: str) -> Any:
        """Return a network by name."""
        return {"role": self.role, "song": self.song, "mix": self.mix}[name]


def build(net: str, size: dict[str, Any], rng: np.random.Generator) -> Any:
    """Return a network with fresh weights; a wrong size is told in a line."""
    network, size_class = BUILDERS[net]
    try:
        return network(size_class(**size), rng)
    except (TypeError, ValueError) as error:
        raise ModelError(f"recipe, size of {net}: {error}") from None


def save(students: Students, path: Path) -> None:
    """Write all weights, halved in precision (the f16 models ship the same numbers)."""
    arrays: dict[str, NDArray[Any]] = {
        "recipe_text": np.array(students.recipe_text),
        "temperature": np.array(students.temperature),
        "context_share": np.array(students.context_share),
        "sigma_scale": students.sigma_scale,
    }
    for net in BUILDERS:
        arrays |= {f"{net}/{k}": v.astype(np.float16) for k, v in weights_of(students.net(net)).items()}
    write_arrays(path, arrays)


def load(source: Path) -> Students:
    """Read students from a run's folder, from ``student_weights.npz`` itself, or from a bundle that carries it."""
    arrays = _from_bundle(source) if zipfile.is_zipfile(source) and source.suffix != ".npz" else None
    if arrays is None:
        arrays = read_arrays(source / FILE if source.is_dir() else source)
    try:
        text = str(arrays["recipe_text"])
        table = tomllib.loads(text)
        nets: dict[str, tf.Module] = {}
        for net in BUILDERS:
            size = {k: tuple(v) if isinstance(v, list) else v for k, v in table[net]["student"]["size"].items()}
            nets[net] = build(net, size, np.random.default_rng(0))
            mine = {k.removeprefix(f"{net}/"): v for k, v in arrays.items() if k.startswith(f"{net}/")}
            set_weights(nets[net], mine, source=str(source))
        return Students(
            **nets,
            temperature=float(arrays["temperature"]),
            context_share=float(arrays.get("context_share", 0.0)),  # bundles of before have none
            sigma_scale=arrays["sigma_scale"],
            recipe_text=text,
        )
    except (KeyError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{source}: holds no students ({error}); name a run, or a bundle made from one") from None


def _from_bundle(source: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(source) as bundle, np.load(io.BytesIO(bundle.read(FILE)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{source}: carries no {FILE} to go on from ({error}); name the run's folder") from None
