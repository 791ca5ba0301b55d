"""Parameters by what an engineer would call them: the colours of the timeline and the filters of the table."""

from __future__ import annotations

FAMILIES = {
    "gain": "Gain and balance",
    "tone": "Filters and EQ",
    "dynamics": "Dynamics",
    "sharing": "Gain sharing and ducking",
    "space": "Pan, sends, effects",
    "other": "Alignment and rest",
}
_BY_SECTION = {
    "fader": "gain", "ride": "gain", "bus": "gain", "dca": "gain",
    "hpf": "tone", "eq": "tone", "tilt": "tone", "unmask": "tone", "notch": "tone",
    "gate": "dynamics", "compressor": "dynamics", "saturation": "dynamics", "limiter": "dynamics",
    "automix": "sharing", "share": "sharing", "duck": "sharing", "ducker": "sharing", "bus_duck": "sharing",
    "pan": "space", "send": "space", "fx_send": "space", "record_send": "space", "reverb": "space", "delay": "space",
}  # fmt: skip


def family(parameter: str) -> str:
    """Return the key in ``FAMILIES`` for ``eq.2.gain_db`` and the like."""
    if parameter == "input.trim_db":
        return "gain"
    return _BY_SECTION.get(parameter.split(".", 1)[0], "other")
