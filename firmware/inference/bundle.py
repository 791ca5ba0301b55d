"""Reads a bundle as if an enemy had sent it: size, form, signature, digests, contract, shapes, in this order.

Nothing of a bundle is parsed before its signature holds but the container, which has one form only; no model byte
reaches a runtime before its digest holds.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.archive import unpack
from dsp_kernels.contract.generated.contract import CONTRACT_ID
from firmware.errors import EvenhandError
from firmware.observation import TICK_MS

from .keys import PublicKey, is_signed
from .net_spec import BUCKETS, INPUTS, PRECISIONS, NetSpec, net_of

FORMAT = 1
MAX_BYTES = 2_000_000
WEIGHTS = "student_weights.npz"  # for whoever trains on; no box looks into it
MANIFEST, SIGNATURE, CARD = "model.toml", "signature", "card.md"
SHIPPED = Path(__file__).parent / "pretrained" / "evenhand.bundle"
MAX_GOLDEN_TICKS = 64


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """How role evidence is gathered: temperature of the log-probabilities, and over how many seconds of activity.

    ``context_share`` is how much of the answer the mix network's own roles have among many channels, which it sees;
    `evidence.py` says how much among few.
    ``sigma_scale`` is what the mix network's five sigmas are to be multiplied with to hold on unseen scenes.
    """

    temperature: float
    memory_s: float
    context_share: float
    sigma_scale: tuple[float, ...] = (1.0,) * 5


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model that this firmware may load. ``files`` are all of its files by name, ``digest`` is over the whole."""

    name: str
    version: str
    digest: str
    evidence: Evidence
    nets: tuple[NetSpec, ...]
    files: Mapping[str, bytes]
    manifest: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Return name and version."""
        return f"{self.name} {self.version}"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return the precisions that all networks come in."""
        whole = [(n.name, n.precision) for n in self.nets if n.name != "mix" or n.n_channels in (0, BUCKETS[-1])]
        return tuple(p for p in PRECISIONS if all((name, p) in whole for name in INPUTS))

    def net(self, name: str, precision: str, n_channels: int = 0) -> NetSpec:
        """Return the smallest network that takes ``n_channels`` channels."""
        fits = [n for n in self.nets if (n.name, n.precision) == (name, precision)]
        return min((n for n in fits if n.n_channels in (0, *BUCKETS[BUCKETS.index(bucket_of(n_channels)) :])),
                   key=lambda n: n.n_channels)  # fmt: skip

    def golden(self, net: NetSpec, tensor: str) -> NDArray[np.float32]:
        """Return a golden vector, shape ``(n_ticks, *shape)``."""
        shape = net.tensor(tensor).shape_for(net.n_channels or BUCKETS[0])
        return np.frombuffer(self.files[net.goldens[tensor]], "<f4").reshape(-1, *shape)


def bucket_of(n_channels: int) -> int:
    """Return the number of channels that a mix network is run with for ``n_channels``.

    Raises
    ------
    EvenhandError
        When there are more than any bucket takes.
    """
    for bucket in BUCKETS:
        if n_channels <= bucket:
            return bucket
    raise EvenhandError(f"{n_channels} channels; a model mixes at most {BUCKETS[-1]}")


def read_bundle(path: Path, keys: Sequence[PublicKey]) -> Bundle:
    """Return the bundle of a file.

    Raises
    ------
    EvenhandError
        When it is not one that this firmware may load, with the reason in one line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be read ({error.strerror}); name a bundle file, or none") from None
    try:
        return parse_bundle(data, keys)
    except ValueError as error:
        raise EvenhandError(f"{path}: {error}") from None


def parse_bundle(data: bytes, keys: Sequence[PublicKey]) -> Bundle:
    """Return the bundle that ``data`` is; ValueError with the reason where it is none."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES / 1e6:g} MB, which no bundle is")
    try:
        files = unpack(data)
    except ValueError as error:
        raise ValueError(f"is no bundle, or damaged ({error}); fetch it again") from None
    if MANIFEST not in files or SIGNATURE not in files:
        raise ValueError("is no bundle: model.toml or signature is missing")
    if not is_signed(files[MANIFEST], files[SIGNATURE], keys):
        raise ValueError("is not signed by a key that this box trusts; name the signer's with --model-key FILE")
    try:
        manifest = tomllib.loads(files[MANIFEST].decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"model.toml cannot be read ({error})") from None
    _check_build(manifest)
    _check_digests(manifest, files)
    nets = _nets(manifest, files)
    bundle = Bundle(
        name=_text(manifest, "name"), version=_text(manifest, "version"), digest=hashlib.sha256(data).hexdigest(),
        evidence=_evidence(manifest), nets=nets, files=files, manifest=manifest,
    )  # fmt: skip
    if not bundle.precisions:
        raise ValueError("has no precision in which all of role, song and mix network are there")
    return bundle


def _check_build(manifest: Mapping[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise ValueError(f"has bundle format {str(manifest.get('format'))[:20]}, this firmware reads {FORMAT}")
    contract_id = str(manifest.get("contract_id"))[:40]
    if contract_id != CONTRACT_ID:
        raise ValueError(f"was made for contract {contract_id}, this firmware has {CONTRACT_ID}; fetch the one for it")
    if manifest.get("tick_ms") != TICK_MS:
        raise ValueError(f"was made for ticks of {str(manifest.get('tick_ms'))[:20]} ms, this firmware has {TICK_MS}")


def _check_digests(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    digests = manifest.get("files")
    if not isinstance(digests, dict) or digests.keys() != files.keys() - {MANIFEST, SIGNATURE}:
        raise ValueError("holds other files than model.toml says")
    for name, digest in digests.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ValueError(f"{name} is not the file that was signed; fetch it again")


def _nets(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[NetSpec, ...]:
    tables = manifest.get("net")
    if not isinstance(tables, list) or not 1 <= len(tables) <= 16:
        raise ValueError("model.toml names no networks")
    nets = tuple(net_of(table) for table in tables)
    keys = [(n.name, n.precision, n.n_channels) for n in nets]
    if len(set(keys)) < len(keys):
        raise ValueError("model.toml names a network twice")
    expected = {CARD} | {n.file for n in nets} | {g for n in nets for g in n.goldens.values()}
    if expected != files.keys() - {MANIFEST, SIGNATURE, WEIGHTS}:
        raise ValueError(f"lacks {', '.join(sorted(expected - files.keys()))[:200] or 'nothing'}, or holds more")
    for net in nets:
        _check_goldens(net, files)
    return nets


def _check_goldens(net: NetSpec, files: Mapping[str, bytes]) -> None:
    n_channels = net.n_channels or BUCKETS[0]
    lengths = {
        len(files[file]) / (4 * math.prod(net.tensor(name).shape_for(n_channels))) for name, file in net.goldens.items()
    }
    if len(lengths) != 1 or lengths.pop() not in range(1, MAX_GOLDEN_TICKS + 1):
        raise ValueError(f"{net.file}: its golden vectors do not fit its shapes")


def _evidence(manifest: Mapping[str, Any]) -> Evidence:
    table = manifest.get("evidence")
    bounds = {"temperature": (0.05, 20.0), "memory_s": (1.0, 300.0), "context_share": (0.0, 1.0)}
    if not isinstance(table, dict) or table.keys() - {"sigma_scale"} != bounds.keys():
        raise ValueError(f"[evidence] names {', '.join(bounds)}")
    for key, (low, high) in bounds.items():
        if not isinstance(table[key], int | float) or isinstance(table[key], bool) or not low <= table[key] <= high:
            raise ValueError(f"[evidence] {key} lies outside {low:g} to {high:g}")
    scale = table.get("sigma_scale", [1.0] * 5)
    if not (isinstance(scale, list) and len(scale) == 5 and all(type(s) is float and 0.05 <= s <= 20.0 for s in scale)):
        raise ValueError("[evidence] sigma_scale is no list of five numbers from 0.05 to 20")
    return Evidence(sigma_scale=tuple(scale), **{key: float(table[key]) for key in bounds})


def _text(manifest: Mapping[str, Any], key: str) -> str:
    value = manifest.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 60 or not value.isprintable():
        raise ValueError(f"model.toml has no {key}")
    return value
