"""How much of each channel goes to reverb and delay, by role and by what the session is."""

from __future__ import annotations

import numpy as np

from dsp_kernels.contract.generated.contract import GENRES, PARAMS, STYLES

from ..learned import SEND
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
MODEL_DEAD_BAND_DB = 1.0  # P
MIXED_LESS_DB = 3.0  # P: where people speak as well, the room stays smaller
REVERB = {"music": (1.6, 25.0), "mixed": (1.2, 20.0), "speech": (0.6, 10.0)}  # decay s, predelay ms (P)
# Echoes of a lead voice in the tempo, dB, where the genre asks for them; in an upfront mix they are fewer. P.
DELAY_SEND_DB = {"pop": -21.0, "rock": -22.0, "electronic": -19.0, "hiphop": -21.0, "funk": -24.0}
DELAY_STYLE_DB = {"natural": 0.0, "upfront": -4.0, "spacious": 3.0}
DELAY_SLEW_DB_PER_S = 30.0
QUARTER_OVER_BPM, QUARTER_HYSTERESIS_BPM = 140.0, 8.0  # an eighth is too short to be heard as an echo there (P)
DELAY_FEEDBACK_PERCENT = 20.0
TEMPO_DEAD_BAND = 0.01  # share (P)
_DIVISIONS = next(p.choices for p in PARAMS if p.name == "delay.division")


class Sends:
    """``fx_send.*.level_db``, the reverb and the delay; the delay stays off until a model knows the tempo."""

    name = "sends"
    period_ticks = 50

    def __init__(self) -> None:
        self._roles_version = -1
        self._kind = ""
        self._was_moved = False  # by a model, at the last look
        self._delay_bpm = 0.0  # that the delay was set to
        self._is_quarter = False

    def propose(self, view: View) -> list[Proposal]:
        """Set sends when roles or the kind of session change, and as a model says."""
        kind, is_on = view.scene_kind, view.learned.is_on
        is_same = self._roles_version == view.roles_version and self._kind == kind
        if is_same and not is_on and not self._was_moved:
            return []
        self._roles_version, self._kind, self._was_moved = view.roles_version, kind, is_on
        send_db = view.by_role(REVERB_SEND_DB, OFF_DB)
        less_db = STEREO_LESS_DB * view.is_stereo + (MIXED_LESS_DB if kind == "mixed" else 0.0)
        send_db = np.where(send_db > OFF_DB, send_db - less_db, OFF_DB)
        model_db = np.where(send_db > OFF_DB, view.learned.residual(SEND, send_db), 0.0)
        model_db = view.learned.kept(send_db, send_db + model_db, view.value("fx_send.1.level_db")) - send_db
        dead_band = MODEL_DEAD_BAND_DB if is_on else 0.1
        proposals = [
            self._send(view, ch, float(send_db[ch]), float(model_db[ch]), 60.0 if not is_same else None)
            for ch in view.moved("fx_send.1.level_db", send_db + model_db, dead_band)
        ]
        proposals += self._delay(view, kind)
        if is_same:
            return proposals
        if (send_db > OFF_DB).any():
            decay_s, predelay_ms = REVERB[kind]
            cause = f"{kind} session: {decay_s:g} s"
            for field, value in (("decay_s", decay_s), ("predelay_ms", predelay_ms)):
                proposals.append(Proposal("reverb", 0, f"reverb.{field}", value, cause, {}, rule=self.name,
                                          is_companion=field != "decay_s"))  # fmt: skip
        return proposals

    def _send(self, view: View, ch: int, send_db: float, model_db: float, slew: float | None) -> Proposal:
        role = view.roles[ch].replace("_", " ")
        if send_db <= OFF_DB:
            cause = f"{role} stays dry"
        else:
            cause = f"{role} gets a room" + (", little: it is stereo and has its own" if view.is_stereo[ch] else "")
        evidence: dict[str, float] = {}
        confidence = 1.0
        if abs(model_db) >= 0.5:
            cause += f"; rule {send_db:+.1f}, model {model_db:+.1f} dB: {view.learned.setting}"
            evidence = view.learned.evidence(SEND, ch, send_db, model_db)
            confidence = view.learned.confidence(SEND, ch)
        return Proposal("channel", ch, "fx_send.1.level_db", send_db + model_db, cause, evidence, confidence, "rules",
                        self.name, slew)  # fmt: skip

    def _delay(self, view: View, kind: str) -> list[Proposal]:
        """Give a lead voice echoes in the tempo, while that is known and the music asks for them."""
        learned = view.learned
        bpm = learned.known_tempo_bpm if kind == "music" else 0.0
        genre = GENRES[learned.genre] if learned.genre >= 0 else ""
        is_wanted = bpm > 0.0 and genre in DELAY_SEND_DB
        level_db = DELAY_SEND_DB.get(genre, OFF_DB) + DELAY_STYLE_DB[STYLES[learned.style]] if is_wanted else OFF_DB
        wish_db = np.where(view.is_role("vocal_lead"), level_db, OFF_DB)
        is_up = view.asked("fx_send.2.level_db") > OFF_DB
        if not (is_wanted or is_up.any()):
            return []
        cause = (
            f"{genre} at {bpm:.0f} BPM: echoes in the tempo" if is_wanted else "nobody is sure of the tempo: no echo"
        )
        evidence = {"tempo_bpm": bpm, "tempo_confidence": learned.tempo_confidence}
        proposals = [
            Proposal("channel", ch, "fx_send.2.level_db", float(wish_db[ch]), cause, evidence,
                     learned.tempo_confidence if is_wanted else 1.0, "rules", self.name, DELAY_SLEW_DB_PER_S)
            for ch in view.moved("fx_send.2.level_db", wish_db, MODEL_DEAD_BAND_DB)
            if wish_db[ch] > OFF_DB or is_up[ch]
        ]  # fmt: skip
        if is_wanted and abs(bpm - self._delay_bpm) > TEMPO_DEAD_BAND * bpm:
            self._delay_bpm = bpm
            margin_bpm = -QUARTER_HYSTERESIS_BPM if self._is_quarter else 0.0
            self._is_quarter = bpm > QUARTER_OVER_BPM + margin_bpm
            division = _DIVISIONS.index("quarter" if self._is_quarter else "eighth")
            for field, value in (
                ("tempo_bpm", bpm),
                ("division", division),
                ("feedback_percent", DELAY_FEEDBACK_PERCENT),
            ):
                proposals.append(Proposal("delay", 0, f"delay.{field}", float(value), cause, evidence,
                                          learned.tempo_confidence, "rules", self.name,
                                          is_companion=field != "tempo_bpm"))  # fmt: skip
        return proposals
