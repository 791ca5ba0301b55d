"""What a report says about each channel: where it stands, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dsp_kernels.contract.generated.contract import PARAMS

from . import slots
from .arbiter import Arbiter
from .view import View

_EQ_TYPES = next(p.choices for p in PARAMS if p.name == "eq.1.type")


@dataclass(frozen=True, kw_only=True)
class ChannelSummary:
    """One entry of ``channels`` in the JSON of a render."""

    name: str
    role: str
    role_confidence: float
    importance: float | None  # of 1, as a model hears it; None without one
    gain_db: float  # trim and fader together
    pan: float
    sends: dict[str, float]
    eq: list[dict[str, Any]]
    gate: dict[str, float] | None
    compressor: dict[str, float] | None
    reasons: list[str]

    def as_record(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        record = asdict(self)
        if self.importance is None:
            del record["importance"]
        return record


def summarise(view: View, arbiter: Arbiter) -> list[ChannelSummary]:
    """Return a summary of each channel."""
    return [_summary(view, arbiter, ch) for ch in range(view.n_channels)]


def _summary(view: View, arbiter: Arbiter, ch: int) -> ChannelSummary:
    def value(name: str, digits: int = 2) -> float:
        return round(float(view.value(name)[ch]), digits)

    def section(name: str) -> dict[str, float]:
        fields = [p.name for p in PARAMS if p.scope == "channel" and slots.section_of(p.name) == name]
        return {field.split(".", 1)[1]: value(field) for field in fields if not field.endswith("is_on")}

    sends = {"reverb_db": value("fx_send.1.level_db"), "delay_db": value("fx_send.2.level_db")}
    sends |= {f"aux_{n}_db": value(f"send.{n}.level_db") for n in range(1, 7)}
    return ChannelSummary(
        name=view.names[ch],
        role=view.roles[ch],
        role_confidence=round(float(view.role_confidence[ch]), 2),
        importance=round(float(view.learned.importance[ch]), 2) if view.learned.has_answers else None,
        gain_db=round(value("input.trim_db", 6) + value("fader.level_db", 6), 2),
        pan=value("pan.position"),
        sends={name: level_db for name, level_db in sends.items() if level_db > -90.0},
        eq=_bands(view, ch),
        gate=section("gate") if view.value("gate.is_on")[ch] > 0.5 else None,
        compressor=section("compressor") if view.value("compressor.is_on")[ch] > 0.5 else None,
        reasons=_reasons(view, arbiter, ch),
    )


def _bands(view: View, ch: int) -> list[dict[str, Any]]:
    bands: list[dict[str, Any]] = []
    if view.value("hpf.is_on")[ch] > 0.5:
        bands.append({"type": "high_pass", "freq_hz": round(float(view.value("hpf.freq_hz")[ch]), 1)})
    for n in range(1, 5):
        bands += _band(view, ch, f"eq.{n}", _EQ_TYPES[int(view.value(f"eq.{n}.type")[ch])])
    for n in range(1, 3):
        bands += _band(view, ch, f"unmask.{n}", "unmask")
    return bands


def _band(view: View, ch: int, band: str, kind: str) -> list[dict[str, Any]]:
    gain_db, freq_hz, q = (float(view.value(f"{band}.{field}")[ch]) for field in ("gain_db", "freq_hz", "q"))
    if abs(gain_db) < 0.05:
        return []
    return [{"type": kind, "freq_hz": round(freq_hz, 1), "gain_db": round(gain_db, 2), "q": round(q, 2)}]


def _reasons(view: View, arbiter: Arbiter, ch: int) -> list[str]:
    """Return one line for each cause in force, in the order of the strip; of what is switched off, why it is off."""
    by_cause: dict[str, str] = {}
    switches = [p.name for p in PARAMS if p.scope == "channel" and p.name.endswith(".is_on")]
    is_off = {slots.section_of(name) for name in switches if view.value(name)[ch] <= 0.5}
    for slot in sorted(arbiter.causes):
        info = slots.INFO[slot]
        name = info.entry.name
        if slots.section_of(name) in is_off and name not in switches:
            continue
        if info.scope == "channel" and info.index == ch:
            cause = arbiter.causes[slot].cause
            by_cause.setdefault(f"{slots.section_of(info.entry.name)}: {cause}", cause)
    return list(by_cause)
