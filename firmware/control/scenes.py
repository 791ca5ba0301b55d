"""Scenes: a mixer state in a TOML file that a person can read, and that a hostile hand cannot use against the box."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dsp_kernels.contract.entries import ParamEntry
from dsp_kernels.contract.generated.contract import CONTRACT_ID, ROLES
from firmware.errors import EvenhandError

from . import slots
from .mixer_state import MAX_PREAMP_GAIN_DB, MixerState, Mode
from .seal import is_broken, sealed
from .slots import SectionKey

MAX_SIZE_BYTES = 1_000_000  # a full scene of 32 channels has about 150 kB
MAX_NAME_LENGTH = 80
_MODES = {mode.name.lower(): mode for mode in Mode}


@dataclass(frozen=True, kw_only=True)
class Permission:
    """What a section allows, where it is not the default."""

    mode: Mode = Mode.AUTO
    is_locked: bool = False
    amount_percent: float = 100.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What differs from a fresh mixer. Keys of ``values`` are scope, index from 0, and parameter.

    ``amount_percent`` is that of all sections without a permission of their own; None leaves them what they have.
    """

    title: str = ""
    amount_percent: float | None = None
    values: Mapping[tuple[str, int, str], float] = field(default_factory=dict)
    permissions: Mapping[SectionKey, Permission] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    roles: Mapping[int, str] = field(default_factory=dict)
    preamp_gain_db: Mapping[int, float] = field(default_factory=dict)  # that the trims were set behind

    @classmethod
    def of(
        cls, state: MixerState, *, title: str = "", names: Mapping[int, str] = {}, roles: Mapping[int, str] = {}
    ) -> Scene:
        """Return the scene of a state."""
        moved = np.flatnonzero(state.values != slots.DEFAULT).tolist()
        infos = [slots.INFO[slot] for slot in moved]
        values = {
            (i.scope, i.index, i.entry.name): float(state.values[slot]) for i, slot in zip(infos, moved, strict=True)
        }
        permissions = {
            key: Permission(
                mode=Mode(int(state.mode[n])),
                is_locked=bool(state.is_locked[n]),
                amount_percent=float(state.amount_percent[n]),
            )
            for n, key in enumerate(slots.SECTION_KEYS)
        }
        amounts, counts = np.unique(state.amount_percent, return_counts=True)
        usual = Permission(amount_percent=float(amounts[np.argmax(counts)]))
        return cls(
            title=title,
            amount_percent=None if usual == Permission() else usual.amount_percent,
            values=values,
            permissions={key: p for key, p in permissions.items() if p != usual},
            names=dict(names),
            roles=dict(roles),
            preamp_gain_db={
                index: round(float(gain_db), 2)
                for index, gain_db in enumerate(state.preamp_gain_db)
                if not math.isnan(gain_db)
            },
        )

    def apply(self, state: MixerState) -> None:
        """Make ``state`` this scene: what it does not name goes to its default."""
        state.values[:] = slots.DEFAULT
        for (scope, index, name), value in self.values.items():
            state.write(slots.slot(scope, index, name), value)
        state.base[:] = state.values
        state.preamp_gain_db[:] = math.nan
        for index, gain_db in self.preamp_gain_db.items():
            state.preamp_gain_db[index] = gain_db
        for n, key in enumerate(slots.SECTION_KEYS):
            amount_percent = float(state.amount_percent[n]) if self.amount_percent is None else self.amount_percent
            permission = self.permissions.get(key, Permission(amount_percent=amount_percent))
            state.mode[n], state.is_locked[n] = permission.mode, permission.is_locked
            state.amount_percent[n] = permission.amount_percent
        state.n_changes += 1


# ---------------------------------------------------------------------------------------------------------- write


def write_scene(scene: Scene, path: Path) -> None:
    """Replace the file at once, sealed: the old scene stands until the new one is on the disk.

    Raises
    ------
    EvenhandError
        When the folder or disk does not take it.
    """
    try:
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(sealed(as_toml(scene)))
                file.flush()
                os.fsync(file.fileno())
            Path(part).chmod(0o644)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # not every file system lets a folder be synced
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be written: {error.strerror}; the scene from before stands") from error


def as_toml(scene: Scene) -> str:
    """Return the text of a scene file."""
    lines = [f'contract_id = "{CONTRACT_ID}"', f"title = {_quoted(scene.title)}"]
    if scene.amount_percent is not None:
        lines.append(f"amount_percent = {scene.amount_percent!r}")
    strips: dict[tuple[str, int], list[str]] = {}
    for index in sorted({*scene.names, *scene.roles, *scene.preamp_gain_db}):
        strip = strips.setdefault(("channel", index), [])
        if index in scene.names:
            strip.append(f"name = {_quoted(scene.names[index])}")
        if index in scene.roles:
            strip.append(f'role = "{scene.roles[index]}"')
        if index in scene.preamp_gain_db:
            strip.append(f"preamp_gain_db = {scene.preamp_gain_db[index]!r}")
    for (scope, index, name), value in scene.values.items():
        text = _value_text(slots.ENTRIES[scope, name], value)
        strips.setdefault((scope, index), []).append(f'"{name}" = {text}')
    for key, p in scene.permissions.items():
        strips.setdefault((key.scope, key.index), []).append(
            f'section.{key.section} = {{ mode = "{p.mode.name.lower()}", '
            f"is_locked = {str(p.is_locked).lower()}, amount_percent = {p.amount_percent!r} }}"
        )
    order = list(slots.COUNT)
    for scope, index in sorted(strips, key=lambda s: (order.index(s[0]), s[1])):
        lines += ["", f"[[{scope}]]", f"index = {index + 1}", *strips[scope, index]]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escaped(ord(c)) for c in escaped) + '"'


def _escaped(code: int) -> str:
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\U{code:08X}"  # a lone surrogate is no text


def _value_text(entry: ParamEntry, value: float) -> str:
    if entry.kind == "toggle":
        return "true" if value else "false"
    if entry.kind == "choice":
        return f'"{entry.choices[int(value)]}"'
    if entry.kind == "integer":
        return str(int(value))
    return str(float(str(np.float32(value))))  # the shortest decimal that reads back as the same float32


# ----------------------------------------------------------------------------------------------------------- read


def read_scene(path: Path) -> Scene:
    """Read a scene file.

    Raises
    ------
    EvenhandError
        With file, place and reason, for anything that is not a scene of this contract.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise EvenhandError(f"{path}: is not a regular file; name a scene that this box has saved")
        with path.open("rb") as file:
            raw = file.read(MAX_SIZE_BYTES + 1)
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be read: {error.strerror}; name a scene of this box") from error
    if len(raw) > MAX_SIZE_BYTES:
        raise EvenhandError(f"{path}: larger than {MAX_SIZE_BYTES} bytes; that is no scene")
    if is_broken(raw):
        raise EvenhandError(
            f"{path}: is not what the SHA-256 in its first line was made for: damaged, or edited by hand; "
            "after an edit delete that line"
        )
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise EvenhandError(f"{path}: is not TOML: {str(error) or type(error).__name__}") from error
    try:
        return _scene(document)
    except EvenhandError as error:
        raise EvenhandError(f"{path}: {error}") from error


def _scene(document: dict[str, Any]) -> Scene:
    contract_id = document.pop("contract_id", None)
    if contract_id is None:
        raise EvenhandError("names no contract_id, so it is no scene; name a scene that this box has saved")
    if contract_id != CONTRACT_ID:
        raise EvenhandError(
            f"written for contract {str(contract_id)[:40]!r}, this box speaks {CONTRACT_ID!r}; "
            "save it again on a box with this firmware"
        )
    title = _text(document.pop("title", ""), "title")
    amount_percent = document.pop("amount_percent", None)
    if amount_percent is not None:
        amount_percent = _number(amount_percent, "amount_percent", 0.0, 100.0)
    values: dict[tuple[str, int, str], float] = {}
    permissions: dict[SectionKey, Permission] = {}
    names: dict[int, str] = {}
    roles: dict[int, str] = {}
    preamp_gain_db: dict[int, float] = {}
    for scope, strips in document.items():
        if scope not in slots.COUNT:
            raise EvenhandError(f'no scope "{scope[:40]}"{slots.near_misses(scope[:40], list(slots.COUNT))}')
        if not isinstance(strips, list) or not all(isinstance(strip, dict) for strip in strips):
            raise EvenhandError(f"{scope} is a list of tables: [[{scope}]]")
        seen: set[int] = set()
        for strip in strips:
            index = _index(scope, strip.pop("index", None), seen)
            seen.add(index)
            if scope == "channel" and "name" in strip:
                names[index] = _text(strip.pop("name"), f"channel {index + 1} name")
            if scope == "channel" and "role" in strip:
                roles[index] = _role(strip.pop("role"), index)
            if scope == "channel" and "preamp_gain_db" in strip:
                where = f"channel {index + 1} preamp_gain_db"
                gain_db = _number(strip.pop("preamp_gain_db"), where, -MAX_PREAMP_GAIN_DB, MAX_PREAMP_GAIN_DB)
                preamp_gain_db[index] = gain_db
            permissions.update(_permissions(scope, index, strip.pop("section", {})))
            for name, value in strip.items():
                values[scope, index, name] = _value(scope, index, name, value)
    return Scene(
        title=title, amount_percent=amount_percent, values=values, permissions=permissions, names=names, roles=roles,
        preamp_gain_db=preamp_gain_db,
    )  # fmt: skip


def _index(scope: str, index: Any, known: set[int]) -> int:
    if not isinstance(index, int) or isinstance(index, bool) or not 1 <= index <= slots.COUNT[scope]:
        raise EvenhandError(f"{scope} index = {str(index)[:20]!r}; it counts from 1 to {slots.COUNT[scope]}")
    if index - 1 in known:
        raise EvenhandError(f"{scope} {index} is there twice")
    return index - 1


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME_LENGTH:
        raise EvenhandError(f"{what} is not a text of at most {MAX_NAME_LENGTH} characters")
    return value


def _role(value: Any, index: int) -> str:
    if value not in ROLES:
        near = slots.near_misses(str(value)[:40], list(ROLES))
        raise EvenhandError(f'channel {index + 1}: no role "{str(value)[:40]}"{near}')
    return str(value)


def _permissions(scope: str, index: int, sections: Any) -> list[tuple[SectionKey, Permission]]:
    if not isinstance(sections, dict):
        raise EvenhandError(f"{scope} {index + 1} section is not a table")
    return [(_section_key(scope, index, name), _permission(scope, index, name, t)) for name, t in sections.items()]


def _section_key(scope: str, index: int, name: str) -> SectionKey:
    key = SectionKey(scope, index, name)
    if key not in slots.SECTION_ID:
        known = sorted({k.section for k in slots.SECTION_KEYS if k.scope == scope})
        raise EvenhandError(f'{scope} {index + 1}: no section "{name[:40]}"{slots.near_misses(name[:40], known)}')
    return key


def _permission(scope: str, index: int, name: str, table: Any) -> Permission:
    where = f"{scope} {index + 1} section {name}"
    fields = ("mode", "is_locked", "amount_percent")
    if not isinstance(table, dict):
        raise EvenhandError(f"{where} is not a table")
    for field_name in table:
        if field_name not in fields:
            raise EvenhandError(f'{where}: no "{field_name[:40]}"{slots.near_misses(field_name[:40], list(fields))}')
    mode, is_locked = table.get("mode", "auto"), table.get("is_locked", False)
    if not isinstance(mode, str) or mode not in _MODES:
        raise EvenhandError(f"{where}: mode = {str(mode)[:40]!r}; there are {', '.join(_MODES)}")
    if not isinstance(is_locked, bool):
        raise EvenhandError(f"{where}: is_locked is true or false")
    amount = _number(table.get("amount_percent", 100.0), f"{where} amount_percent", 0.0, 100.0)
    return Permission(mode=_MODES[mode], is_locked=is_locked, amount_percent=amount)


def _number(value: Any, where: str, minimum: float, maximum: float) -> float:
    try:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond what a float holds
        is_number = False
    if not is_number:
        raise EvenhandError(f"{where} = {str(value)[:40]} is not a number")
    if not minimum <= value <= maximum:
        raise EvenhandError(f"{where} = {value:g} is outside {minimum:g} to {maximum:g}")
    return float(value)


def _value(scope: str, index: int, name: str, value: Any) -> float:
    entry = slots.ENTRIES.get((scope, name))
    if entry is None:
        known = [n for s, n in slots.ENTRIES if s == scope]
        raise EvenhandError(f'{scope} {index + 1}: no parameter "{name[:60]}"{slots.near_misses(name[:60], known)}')
    where = f"{scope} {index + 1} {name}"
    if entry.kind == "toggle":
        if not isinstance(value, bool):
            raise EvenhandError(f"{where} = {str(value)[:40]}; it is true or false")
        return float(value)
    if entry.kind == "choice":
        if value not in entry.choices:
            near = slots.near_misses(str(value)[:40], list(entry.choices)) or f"; there are {', '.join(entry.choices)}"
            raise EvenhandError(f"{where} = {str(value)[:40]!r} is no choice{near}")
        return float(entry.choices.index(value))
    if entry.kind == "integer" and (not isinstance(value, int) or isinstance(value, bool)):
        raise EvenhandError(f"{where} = {str(value)[:40]} is not a whole number")
    return _number(value, where, entry.minimum, entry.maximum)
