"""How much of each channel goes to the reverb, by role and by what the session is."""

from __future__ import annotations

import numpy as np

from ..proposals import Proposal
from ..view import View

OFF_DB = -90.0
# Send behind the fader, dB. P: usual starting points; nothing for what carries the beat, or speech.
REVERB_SEND_DB = {
    "vocal_lead": -15.0, "vocal_backing": -13.0, "snare": -17.0, "tom": -18.0, "percussion": -18.0, "cymbal": -26.0,
    "drums": -24.0, "elec_guitar": -19.0, "ac_guitar": -17.0, "piano": -18.0, "synth": -22.0, "strings": -14.0,
    "brass": -16.0, "woodwind": -15.0,
}  # fmt: skip
STEREO_LESS_DB = 6.0  # P: a stereo source brings a room of its own
MIXED_LESS_DB = 3.0  # P: where people speak as well, the room stays smaller
REVERB = {"music": (1.6, 25.0), "mixed": (1.2, 20.0), "speech": (0.6, 10.0)}  # decay s, predelay ms (P)


class Sends:
    """``fx_send.1.level_db`` and the reverb itself; the delay stays off until somebody knows the tempo."""

    name = "sends"
    period_ticks = 50

    def __init__(self) -> None:
        self._roles_version = -1

    def propose(self, view: View) -> list[Proposal]:
        """Set sends when roles change."""
        if self._roles_version == view.roles_version:
            return []
        self._roles_version = view.roles_version
        kind = view.scene_kind
        send_db = view.by_role(REVERB_SEND_DB, OFF_DB)
        less_db = STEREO_LESS_DB * view.is_stereo + (MIXED_LESS_DB if kind == "mixed" else 0.0)
        send_db = np.where(send_db > OFF_DB, send_db - less_db, OFF_DB)
        proposals = [self._send(view, ch, float(send_db[ch])) for ch in view.moved("fx_send.1.level_db", send_db, 0.1)]
        if (send_db > OFF_DB).any():
            decay_s, predelay_ms = REVERB[kind]
            cause = f"{kind} session: {decay_s:g} s"
            for field, value in (("decay_s", decay_s), ("predelay_ms", predelay_ms)):
                proposals.append(Proposal("reverb", 0, f"reverb.{field}", value, cause, {}, rule=self.name,
                                          is_companion=field != "decay_s"))  # fmt: skip
        return proposals

    def _send(self, view: View, ch: int, send_db: float) -> Proposal:
        role = view.roles[ch].replace("_", " ")
        if send_db <= OFF_DB:
            cause = f"{role} stays dry"
        else:
            cause = f"{role} gets a room" + (", little: it is stereo and has its own" if view.is_stereo[ch] else "")
        return Proposal("channel", ch, "fx_send.1.level_db", send_db, cause, {}, rule=self.name, slew_per_s=60.0)
