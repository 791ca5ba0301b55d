"""Values of a channel record in the words and units of a mixing desk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsp_kernels.contract.entries import ParamEntry

NOTHING = "–"
OFF_DB = -90.0


def clock(seconds: float) -> str:
    """Return ``1:05`` or ``2:00:00``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def setting(parameter: str, value: float, entry: ParamEntry | None) -> str:
    """Return the value of a parameter of the contract: a choice by its word, a toggle as on or off."""
    if entry is not None and entry.choices and 0 <= round(value) < len(entry.choices):
        return entry.choices[round(value)].replace("_", " ")
    if entry is not None and entry.kind == "toggle":
        return "on" if value > 0.5 else "off"
    if parameter == "pan.position":
        return pan(value)
    last = "_" + parameter.rsplit(".", 1)[-1]
    return next((words(value) for end, words in _UNITS.items() if last.endswith(end)), number(value))


def bands(eq: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each band: ``high pass 80 Hz``, ``bell 2.5 kHz −3.0 dB``."""
    lines = []
    for band in eq:
        words = [str(band.get("type", "band")).replace("_", " "), hertz(band["freq_hz"])]
        if "gain_db" in band:
            words.append(decibels(band["gain_db"]))
        lines.append(" ".join(words))
    return lines


def gate(settings: Mapping[str, float] | None) -> str:
    """Return where a gate opens and how far it closes."""
    if not settings:
        return NOTHING
    return _joined([dbfs(settings["threshold_dbfs"]), decibels(-settings["range_db"])])


def compressor(settings: Mapping[str, float] | None) -> str:
    """Return threshold, ratio, and what differs from a plain compressor."""
    if not settings:
        return NOTHING
    parts = [dbfs(settings["threshold_dbfs"]), ratio(settings["ratio"])]
    if settings.get("is_automatic", 0.0) > 0.5:
        parts.append("automatic")
    else:
        parts += [_UNITS["_ms"](settings[key]) for key in ("attack_ms", "release_ms") if key in settings]
    if settings.get("makeup_db", 0.0) >= 0.05:
        parts.append(f"make-up {decibels(settings['makeup_db'])}")
    if settings.get("mix_percent", 100.0) < 99.5:
        parts.append(f"mix {percent(settings['mix_percent'])}")
    return _joined(parts)


def sends(levels: Mapping[str, float]) -> str:
    """Return the sends that are up: ``reverb −18.0 dB``."""
    up = [f"{key.removesuffix('_db').replace('_', ' ')} {decibels(v)}" for key, v in levels.items() if v > OFF_DB]
    return _joined(up) or NOTHING


def evidence(measured: Mapping[str, float]) -> str:
    """Return what a decision rests on: ``peak −14 dBFS, active 0.62 s``. Channels are named in the cause."""
    words = []
    for key, value in measured.items():
        name, _, unit = key.rpartition("_")
        if unit in _EVIDENCE_UNITS and name:
            words.append(f"{name.replace('_', ' ')} {number(value)} {_EVIDENCE_UNITS[unit]}".rstrip())
        elif key != "victim":
            words.append(f"{key.replace('_', ' ')} {number(value)}")
    return _joined(words)


def number(value: float) -> str:
    """Return a plain number with a true minus sign, three digits where they say something."""
    return (f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "−")


def decibels(value: float) -> str:
    """Return a gain with its sign; ``off`` at the bottom of a fader."""
    if value <= OFF_DB:
        return "off"
    return "0.0 dB" if abs(value) < 0.05 else f"{value:+.1f} dB".replace("-", "−")


def dbfs(value: float) -> str:
    """Return a level."""
    return f"{value:.0f} dBFS".replace("-", "−")


def hertz(value: float) -> str:
    """Return a frequency."""
    return f"{number(value / 1000)} kHz" if value >= 1000 else f"{value:.0f} Hz"


def ratio(value: float) -> str:
    """Return a compression ratio."""
    return f"{value:.2g} : 1"


def percent(value: float) -> str:
    """Return a share."""
    return f"{value:.0f} %"


def pan(position: float) -> str:
    """Return ``C``, ``L 30`` or ``R 100``."""
    share = round(abs(position) * 100)
    return "C" if share == 0 else f"{'L' if position < 0 else 'R'} {share}"


def _joined(parts: Sequence[str]) -> str:
    """Join with commas; lines break only behind them."""
    return ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)


_EVIDENCE_UNITS = {
    "dbfs": "dBFS", "db": "dB", "lufs": "LUFS", "lu": "LU", "hz": "Hz", "s": "s", "ms": "ms", "percent": "%",
}  # fmt: skip
_UNITS = {
    "_dbfs": dbfs,
    "_db": decibels,
    "_hz": hertz,
    "_ms": lambda value: f"{number(value)} ms",
    "_s": lambda value: f"{number(value)} s",
    "_percent": percent,
    "_bpm": lambda value: f"{number(value)} BPM",
    "_ratio": ratio,
    "_q": lambda value: f"Q {number(value)}",
}
