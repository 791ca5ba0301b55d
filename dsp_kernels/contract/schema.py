"""Reads and checks params.toml and features.toml: the language that all rooms speak."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTRACT_DIR = Path(__file__).parent
PARAMS_FILE = CONTRACT_DIR / "params.toml"
FEATURES_FILE = CONTRACT_DIR / "features.toml"

MOVERS = ("rules", "model")
KINDS = ("number", "toggle", "choice", "integer")
UNIT_BY_SUFFIX = {
    "_db": "dB", "_dbfs": "dBFS", "_lufs": "LUFS", "_hz": "Hz", "_ms": "ms", "_s": "s", "_bpm": "BPM",
    "_percent": "%", "_db_per_s": "dB/s",
}  # fmt: skip


class ContractError(Exception):
    """params.toml or features.toml says something that cannot be."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """A kind of thing that has parameters, and how many of it there are."""

    name: str
    count: int
    osc: str
    doc: str


@dataclass(frozen=True, kw_only=True)
class Param:
    """One control. ``default`` has one value per repetition of its section; a scope may have its own."""

    id: int
    name: str
    kind: str
    unit: str
    minimum: float
    maximum: float
    default: tuple[float, ...]
    scope_default: Mapping[str, float]
    choices: tuple[str, ...]
    ramp_ms: float
    moved_by: tuple[str, ...]
    doc: str

    @property
    def field(self) -> str:
        """Last word of the name: ``threshold_dbfs`` of ``gate.threshold_dbfs``."""
        return self.name.rsplit(".", 1)[1]

    def default_in(self, scope: str, n: int) -> float:
        """Return the default in a scope and repetition ``n``, counted from 1."""
        return self.scope_default.get(scope, self.default[n - 1])

    def name_at(self, n: int) -> str:
        """Return the name in repetition ``n``, counted from 1."""
        return self.name.replace("{n}", str(n))


@dataclass(frozen=True, kw_only=True)
class Section:
    """Parameters that belong together; there ``repeat`` times in each of ``scopes``."""

    name: str
    scopes: tuple[str, ...]
    repeat: int
    doc: str
    params: tuple[Param, ...]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One entry, ``count`` floats wide, of a record of features, meters or a model's inputs."""

    name: str
    count: int
    unit: str
    doc: str


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything that rooms may say to each other."""

    contract_id: str
    scopes: tuple[Scope, ...]
    sections: tuple[Section, ...]
    roles: tuple[str, ...]
    vocabulary: Mapping[str, tuple[str | float, ...]]
    analysis: Mapping[str, float]
    features: tuple[Feature, ...]
    mix_features: tuple[Feature, ...]
    model_inputs: tuple[Feature, ...]
    mix_inputs: tuple[Feature, ...]
    channel_meters: tuple[Feature, ...]
    bus_meters: tuple[Feature, ...]

    def sections_of(self, scope: str) -> tuple[Section, ...]:
        """Return the sections of a scope in the order of the snapshot."""
        return tuple(s for s in self.sections if scope in s.scopes)


def load(params_file: Path = PARAMS_FILE, features_file: Path = FEATURES_FILE) -> Contract:
    """Read both files.

    Raises
    ------
    ContractError
        With file, entry and reason, when an entry contradicts itself or another.
    """
    params_bytes, features_bytes = params_file.read_bytes(), features_file.read_bytes()
    params = tomllib.loads(params_bytes.decode())
    features = tomllib.loads(features_bytes.decode())
    scopes = tuple(Scope(**entry) for entry in params["scope"])
    return Contract(
        contract_id=_contract_id(params_bytes, features_bytes),
        scopes=scopes,
        sections=_sections(params, {s.name for s in scopes}, params_file.name),
        roles=tuple(features["roles"]),
        vocabulary={name: tuple(words) for name, words in features["vocabulary"].items()},
        analysis=features["analysis"],
        features=_features(features, "feature", features_file.name),
        mix_features=_features(features, "mix_feature", features_file.name),
        model_inputs=_features(features, "model_input", features_file.name),
        mix_inputs=_features(features, "mix_input", features_file.name),
        channel_meters=_features(features, "channel_meter", features_file.name),
        bus_meters=_features(features, "bus_meter", features_file.name),
    )


def _contract_id(*contents: bytes) -> str:
    # Line ends are the checkout's business, not the contract's.
    digest = hashlib.sha256(b"\0".join(c.replace(b"\r\n", b"\n") for c in contents))
    return digest.hexdigest()[:12]


def _sections(params: Mapping[str, Any], scopes: set[str], file: str) -> tuple[Section, ...]:
    by_section: dict[str, list[Param]] = {entry["name"]: [] for entry in params["section"]}
    repeat = {entry["name"]: entry.get("repeat", 1) for entry in params["section"]}
    seen: dict[int, str] = {}
    for entry in params["param"]:
        where = f"{file}: {entry.get('name', '?')}"
        section = str(entry["name"]).split(".", 1)[0]
        if section not in by_section:
            raise ContractError(f"{where}: no section {section!r}; there are {', '.join(by_section)}")
        param = _param(entry, repeat[section], where)
        if param.id in seen:
            raise ContractError(f"{where}: id 0x{param.id:04X} already belongs to {seen[param.id]}")
        seen[param.id] = param.name
        if ("{n}" in param.name) != (repeat[section] > 1):
            raise ContractError(f"{where}: {{n}} stands in names of repeated sections and only there")
        by_section[section].append(param)
    for entry in params["section"]:
        own_defaults = {scope for param in by_section[entry["name"]] for scope in param.scope_default}
        unknown = (set(entry["scopes"]) - scopes) | (own_defaults - set(entry["scopes"]))
        if unknown:
            raise ContractError(f"{file}: section {entry['name']}: unknown scope {sorted(unknown)[0]!r}")
        if not by_section[entry["name"]]:
            raise ContractError(f"{file}: section {entry['name']} has no parameter")
    return tuple(
        Section(
            name=entry["name"],
            scopes=tuple(entry["scopes"]),
            repeat=repeat[entry["name"]],
            doc=entry["doc"],
            params=tuple(by_section[entry["name"]]),
        )
        for entry in params["section"]
    )


def _param(entry: Mapping[str, Any], repeat: int, where: str) -> Param:
    kind = entry.get("kind", "number")
    if kind not in KINDS:
        raise ContractError(f"{where}: kind {kind!r}; there are {', '.join(KINDS)}")
    choices = tuple(entry.get("choices", ()))
    if kind == "toggle":
        minimum, maximum, unit = 0.0, 1.0, "toggle"
    elif kind == "choice":
        if len(choices) < 2:
            raise ContractError(f"{where}: a choice needs two choices or more")
        minimum, maximum, unit = 0.0, float(len(choices) - 1), "choice"
    else:
        minimum, maximum = (float(v) for v in entry["range"])
        unit = entry["unit"]
    default = entry["default"] if isinstance(entry["default"], list) else [entry["default"]] * repeat
    if len(default) != repeat:
        raise ContractError(f"{where}: {len(default)} defaults for {repeat} repetitions")
    scope_default = {scope: float(v) for scope, v in entry.get("scope_default", {}).items()}
    if not minimum < maximum or not all(minimum <= float(v) <= maximum for v in [*default, *scope_default.values()]):
        raise ContractError(f"{where}: default {default} is not inside [{minimum}, {maximum}]")
    for mover in entry["moved_by"]:
        if mover not in MOVERS:
            raise ContractError(f"{where}: moved_by {mover!r}; there are {', '.join(MOVERS)}")
    _check_unit(str(entry["name"]), unit, where)
    return Param(
        id=int(entry["id"]),
        name=str(entry["name"]),
        kind=kind,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        default=tuple(float(v) for v in default),
        scope_default=scope_default,
        choices=choices,
        ramp_ms=float(entry["ramp_ms"]),
        moved_by=tuple(entry["moved_by"]),
        doc=str(entry["doc"]),
    )


def _check_unit(name: str, unit: str, where: str) -> None:
    suffixes = [s for s in UNIT_BY_SUFFIX if name.endswith(s)]
    if suffixes and UNIT_BY_SUFFIX[max(suffixes, key=len)] != unit:
        raise ContractError(f"{where}: the name says {max(suffixes, key=len)}, the unit {unit!r}")
    if not suffixes and unit in UNIT_BY_SUFFIX.values():
        raise ContractError(f"{where}: a value in {unit} says so at the end of its name")


def _features(features: Mapping[str, Any], table: str, file: str) -> tuple[Feature, ...]:
    entries = []
    for entry in features[table]:
        _check_unit(entry["name"], entry["unit"], f"{file}: {entry['name']}")
        entries.append(Feature(name=entry["name"], count=entry.get("count", 1), unit=entry["unit"], doc=entry["doc"]))
    if len({e.name for e in entries}) != len(entries):
        raise ContractError(f"{file}: a {table} stands there twice")
    return tuple(entries)
