"""Music makes way for speech, where a session has both."""

from __future__ import annotations

import numpy as np

from ..proposals import Proposal
from ..view import View

NONE, KEY, DUCKED = 0.0, 1.0, 2.0
PLAYBACK_DEPTH_DB = 9.0  # live-dsp 2.8
BAND_DEPTH_DB = 6.0  # P: musicians hear the speaker too
THRESHOLD_DBFS = (-45.0, -30.0)  # of the key: where it lies at best and at most (P)
ABOVE_NOISE_DB = 12.0  # P
HEARD_S = 3.0


class Ducking:
    """``duck.role``, ``duck.depth_db`` and ``ducker.threshold_dbfs``."""

    name = "ducking"
    period_ticks = 50

    def __init__(self) -> None:
        self._roles_version = -1

    def propose(self, view: View) -> list[Proposal]:
        """Assign parts when roles change; keep the threshold over the talkers' noise."""
        proposals = self._parts(view)
        is_key = view.asked("duck.role") == KEY
        heard = is_key & (view.listening.active_s >= HEARD_S)
        if not heard.any():
            return proposals
        gain_db = view.heading("input.trim_db") + view.heading("fader.level_db")
        noise_dbfs = float((view.listening.source_floor_dbfs + gain_db)[heard].max())
        threshold = float(np.clip(noise_dbfs + ABOVE_NOISE_DB, *THRESHOLD_DBFS))
        if abs(threshold - view.state.get("system", 0, "ducker.threshold_dbfs")) > 3.0:
            cause = f"the talkers' noise reaches {noise_dbfs:.0f} dBFS behind the faders"
            evidence = {"noise_dbfs": noise_dbfs}
            proposals.append(Proposal("system", 0, "ducker.threshold_dbfs", threshold, cause, evidence, rule=self.name))
        return proposals

    def _parts(self, view: View) -> list[Proposal]:
        if self._roles_version == view.roles_version:
            return []
        self._roles_version = view.roles_version
        speech = view.is_talker()
        music = view.has_role & ~view.is_role("speech", "ambience", "vocal_lead", "vocal_backing")
        has_both = bool(speech.any() and music.any())
        part = np.where(speech, KEY, np.where(music, DUCKED, NONE)) if has_both else np.zeros(view.n_channels)
        depth_db = np.where(view.is_role("playback"), PLAYBACK_DEPTH_DB, BAND_DEPTH_DB)
        proposals = []
        for ch in view.moved("duck.role", part, 0.0):
            cause = {NONE: "neither speech nor music under it", KEY: "speech goes first",
                     DUCKED: "music makes way while somebody speaks"}[float(part[ch])]  # fmt: skip
            proposals.append(Proposal("channel", ch, "duck.role", float(part[ch]), cause, {}, rule=self.name))
            if part[ch] == DUCKED:
                depth = proposals[-1]._replace(param="duck.depth_db", value=float(depth_db[ch]), is_companion=True)
                proposals.append(depth)
        return proposals
