"""Values of a channel record in the words and units of a mixing desk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsp_kernels.contract.entries import ParamEntry

NOTHING = "–"
OFF_DB = -90.0


def told(value: Any) -> str:
    """Return a value, nested or not, as one line: ``2.5 kHz, −3.0 dB, Q 1.4``; an en dash for nothing."""
    if value is None or value is False:
        return NOTHING
    if isinstance(value, Mapping):
        if not value.get("is_on", True):
            return NOTHING
        parts = [quantity(key, entry) for key, entry in value.items() if key != "is_on"]
        return ", ".join(part for part in parts if part) or NOTHING
    if isinstance(value, (list, tuple)):
        parts = [told(entry) for entry in value]
        return " · ".join(part for part in parts if part != NOTHING) or NOTHING
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def quantity(key: str, value: Any) -> str:
    """Return ``value`` with the unit its key ends in; empty when there is nothing to say."""
    if value is None or value is False:
        return ""
    last = key.rsplit(".", 1)[-1]
    if isinstance(value, (Mapping, list, tuple)):
        text = told(value)
        return "" if text == NOTHING else f"{_plain(last)} {text}"
    if value is True:
        return _plain(last)
    if isinstance(value, str):
        return value.replace("_", " ")
    for end, words in _UNITS.items():
        if last == end.lstrip("_") or last.endswith(end):
            name = _plain(last.removesuffix(end)) if last != end.lstrip("_") else ""
            name = "" if name in ("freq", "gain", "level", "threshold") else name
            return f"{name} {words(float(value))}".strip()
    return f"{_plain(last)} {number(value)}"


def setting(parameter: str, value: float, entry: ParamEntry | None) -> str:
    """Return the value of a parameter of the contract: a choice by its word, a toggle as on or off."""
    if entry is not None and entry.choices and 0 <= round(value) < len(entry.choices):
        return entry.choices[round(value)].replace("_", " ")
    if entry is not None and entry.kind == "toggle":
        return "on" if value > 0.5 else "off"
    if parameter == "pan.position":
        return pan(value)
    last = parameter.rsplit(".", 1)[-1]
    return next((words(value) for end, words in _UNITS.items() if f"_{last}".endswith(end)), number(value))


def number(value: float) -> str:
    """Return a plain number with a true minus sign."""
    return f"{value:.3g}".replace("-", "−")


def decibels(value: float) -> str:
    """Return a gain with its sign; ``off`` at the bottom of a fader."""
    return "off" if value <= OFF_DB else f"{value:+.1f} dB".replace("-", "−")


def hertz(value: float) -> str:
    """Return a frequency."""
    return f"{value / 1000:.3g} kHz" if value >= 1000 else f"{value:.0f} Hz"


def pan(position: float) -> str:
    """Return ``C``, ``L 30`` or ``R 100``."""
    percent = round(abs(position) * 100)
    return "C" if percent == 0 else f"{'L' if position < 0 else 'R'} {percent}"


def _plain(key: str) -> str:
    return key.removeprefix("is_").replace("_", " ")


_UNITS = {
    "_dbfs": lambda v: f"{v:.0f} dBFS".replace("-", "−"),
    "_db": decibels,
    "_hz": hertz,
    "_ms": lambda v: f"{v:.3g} ms",
    "_s": lambda v: f"{v:.2g} s",
    "_percent": lambda v: f"{v:.0f} %",
    "_bpm": lambda v: f"{v:.0f} BPM",
    "_ratio": lambda v: f"{v:.2g} : 1",
    "_q": lambda v: f"Q {v:.2g}",
}
