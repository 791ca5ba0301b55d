"""High-pass by role, moved by where the source's own low end begins."""

from __future__ import annotations

import numpy as np

from ..proposals import Proposal
from ..responses import MEL_HZ
from ..view import View

# Lowest and highest corner that suits a role, Hz; the first is used until the source was heard. P: usual practice.
CORNER_HZ = {
    "speech": (80.0, 140.0), "vocal_lead": (80.0, 140.0), "vocal_backing": (100.0, 180.0),
    "snare": (70.0, 120.0), "hihat": (200.0, 400.0), "tom": (40.0, 70.0), "cymbal": (150.0, 300.0),
    "percussion": (70.0, 200.0), "bass": (30.0, 30.0), "kick": (30.0, 30.0), "drums": (30.0, 30.0),
    "elec_guitar": (70.0, 110.0), "ac_guitar": (70.0, 110.0), "piano": (35.0, 60.0), "synth": (30.0, 60.0),
    "strings": (45.0, 100.0), "brass": (60.0, 120.0), "woodwind": (80.0, 160.0), "ambience": (80.0, 120.0),
}  # fmt: skip
SOURCE_BEGINS_DB = -18.0  # the lowest mel band so near the strongest is where the source begins (P)
UNDER_SOURCE = 0.65  # the corner lies at this part of it: 1 dB lost at the beginning of the source
HEARD_S = 4.0
DEAD_BAND_OCTAVES = 0.15


class HighPass:
    """``hpf.is_on`` and ``hpf.freq_hz``."""

    name = "hpf"
    period_ticks = 50

    def __init__(self) -> None:
        self._roles_version = -1

    def propose(self, view: View) -> list[Proposal]:
        """Put the high-pass in where the role has one, its corner under the source."""
        if self._roles_version != view.roles_version:
            self._roles_version = view.roles_version
            low = {role: corner[0] for role, corner in CORNER_HZ.items()}
            high = {role: corner[1] for role, corner in CORNER_HZ.items()}
            self._low_hz, self._high_hz = view.by_role(low, 20.0), view.by_role(high, 20.0)
            self._is_on = self._low_hz > 20.0
        mel_db = view.listening.mel_db
        begins = np.argmax(mel_db >= mel_db.max(axis=1, keepdims=True) + SOURCE_BEGINS_DB, axis=1)
        begins_hz = MEL_HZ[begins]
        is_heard = view.listening.active_s >= HEARD_S
        corner_hz = np.where(is_heard, np.clip(UNDER_SOURCE * begins_hz, self._low_hz, self._high_hz), self._low_hz)
        proposals = [self._switch(view, ch) for ch in view.moved("hpf.is_on", self._is_on.astype(float), 0.0)]
        asked = view.asked("hpf.freq_hz")
        far = self._is_on & ~(np.abs(np.log2(corner_hz / np.where(asked > 0, asked, np.nan))) <= DEAD_BAND_OCTAVES)
        for ch in np.flatnonzero(far).tolist():
            role = view.roles[ch].replace("_", " ")
            cause = (
                f"{role} begins at {begins_hz[ch]:.0f} Hz; what is lower is rumble"
                if is_heard[ch]
                else f"{role} has nothing to say under {corner_hz[ch]:.0f} Hz"
            )
            evidence = {"source_begins_hz": float(begins_hz[ch]), "active_s": float(view.listening.active_s[ch])}
            proposals.append(
                Proposal("channel", ch, "hpf.freq_hz", float(corner_hz[ch]), cause, evidence, rule=self.name)
            )
        return proposals

    def _switch(self, view: View, ch: int) -> Proposal:
        role = view.roles[ch].replace("_", " ")
        is_on = bool(self._is_on[ch])
        cause = f"{role} has no use for rumble" if is_on else f"{role} may use the lowest octave"
        return Proposal("channel", ch, "hpf.is_on", float(is_on), cause, {"low_hz": self._low_hz[ch]}, rule=self.name)
