"""Gate and compressor by role, set from what was measured: noise floor, active level, crest factor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..learned import RATIO, THRESHOLD
from ..proposals import Proposal
from ..view import View


class GateSetting(NamedTuple):
    """How a role is gated. A gentle expander for voices, a gate for close-miked drums. All P."""

    ratio: float
    range_db: float
    attack_ms: float
    hold_ms: float
    release_ms: float
    above_floor_db: float  # where the threshold lies
    floor_worth_dbfs: float  # a lower noise floor needs no gate


_VOICE_GATE = GateSetting(1.5, 6.0, 3.0, 200.0, 300.0, 8.0, -58.0)
# A talker's is always in: what his compressor gives back in a pause, it takes from the noise. The detector hears peaks,
# and noise has them 12 dB over its RMS: so high over the floor the noise itself lies 12 dB under, at the full range.
_SPEECH_GATE = GateSetting(1.5, 6.0, 3.0, 120.0, 120.0, 24.0, -90.0)
GATES = {
    "speech": _SPEECH_GATE,
    "vocal_lead": _VOICE_GATE,
    "vocal_backing": _VOICE_GATE,
    "kick": GateSetting(4.0, 12.0, 0.5, 60.0, 150.0, 10.0, -70.0),
    "snare": GateSetting(4.0, 12.0, 0.5, 80.0, 180.0, 10.0, -70.0),
    "tom": GateSetting(6.0, 18.0, 0.5, 120.0, 300.0, 10.0, -70.0),
}
GATE_SNR_DB = 18.0  # less than this between sound and noise: a gate would chatter (P)
GATE_UNDER_RMS_DB = 10.0  # the threshold stays so far under the active level (P)


class CompressorSetting(NamedTuple):
    """How a role is compressed."""

    ratio: float
    above_rms_db: float  # threshold over the active level
    crest_db: float  # sources denser than this are left alone
    attack_ms: float | None = None  # None: attack, release, knee and make-up follow the signal, live-dsp 2.7


# P: usual ratios; drums keep their attack.
COMPRESSORS = {
    "speech": CompressorSetting(3.0, 1.0, 8.0),
    "vocal_lead": CompressorSetting(3.0, 1.0, 8.0),
    "vocal_backing": CompressorSetting(3.5, 0.0, 8.0),
    "bass": CompressorSetting(4.0, 1.0, 7.0),
    "kick": CompressorSetting(3.0, 5.0, 12.0, 20.0),
    "snare": CompressorSetting(3.0, 5.0, 12.0, 15.0),
    "tom": CompressorSetting(2.5, 5.0, 12.0, 20.0),
    "drums": CompressorSetting(2.0, 4.0, 11.0, 30.0),
    "elec_guitar": CompressorSetting(2.0, 4.0, 10.0),
    "ac_guitar": CompressorSetting(2.5, 3.0, 10.0),
    "piano": CompressorSetting(2.0, 4.0, 11.0),
    "brass": CompressorSetting(2.0, 3.0, 10.0),
    "woodwind": CompressorSetting(2.0, 4.0, 11.0),
}
ATTACK_MAX_MS, RELEASE_MAX_MS = 80.0, 1000.0  # bounds of the automatic: 2.7's usual a_max and r_max (P)
DRUM_RELEASE_MS, DRUM_KNEE_DB = 120.0, 6.0
HEARD_S = 2.5
LEVEL_DEAD_BAND_DB = 3.0  # of thresholds
CREST_HYSTERESIS_DB = 1.5
RATIO_DEAD_BAND = 0.2  # octaves (P)


class Dynamics:
    """``gate.*`` and ``compressor.*``."""

    name = "dynamics"
    period_ticks = 25

    def __init__(self) -> None:
        self._roles_version = -1

    def _read_roles(self, view: View) -> None:
        if self._roles_version == view.roles_version:
            return
        self._roles_version = view.roles_version
        never = 99.0
        self._can_gate = view.by_role(dict.fromkeys(GATES, 1.0)) > 0.5
        self._can_gate &= ~view.is_stereo  # two channels are a mix or a player, not an open microphone
        self._above_floor = view.by_role({r: g.above_floor_db for r, g in GATES.items()})
        self._floor_worth = view.by_role({r: g.floor_worth_dbfs for r, g in GATES.items()}, never)
        self._crest = view.by_role({r: c.crest_db for r, c in COMPRESSORS.items()}, never)
        self._above_rms = view.by_role({r: c.above_rms_db for r, c in COMPRESSORS.items()})
        self._ratio_octaves = np.log2(view.by_role({r: c.ratio for r, c in COMPRESSORS.items()}, 1.0))

    def propose(self, view: View) -> list[Proposal]:
        """Set what has been heard long enough."""
        self._read_roles(view)
        heard = view.listening
        ready = heard.active_s >= HEARD_S
        if not ready.any():
            return []
        trim_db = view.heading("input.trim_db")
        rms_dbfs = heard.source_rms_dbfs + trim_db
        # What others say in a talker's microphone is shared away; his threshold lies over the noise of a pause.
        source_floor_dbfs = np.where(heard.turns.takes_turns, heard.turns.noise_dbfs, heard.source_floor_dbfs)
        floor_dbfs = source_floor_dbfs + trim_db
        return self._gates(view, ready, rms_dbfs, floor_dbfs) + self._compressors(view, ready, rms_dbfs)

    def _gates(self, view: View, ready: np.ndarray, rms_dbfs: np.ndarray, floor_dbfs: np.ndarray) -> list[Proposal]:
        was_on = view.asked("gate.is_on") > 0.5
        snr_db = rms_dbfs - floor_dbfs
        is_on = self._can_gate & (floor_dbfs > self._floor_worth - 6.0 * was_on)
        is_on &= snr_db > GATE_SNR_DB - 4.0 * was_on
        threshold = np.minimum(floor_dbfs + self._above_floor, rms_dbfs - GATE_UNDER_RMS_DB)
        far = ~(np.abs(threshold - view.asked("gate.threshold_dbfs")) <= LEVEL_DEAD_BAND_DB)
        proposals = []
        for ch in np.flatnonzero(ready & ((is_on != was_on) | (is_on & far))).tolist():
            cause = self._gate_cause(floor_dbfs[ch], bool(is_on[ch]))
            evidence = {"noise_floor_dbfs": floor_dbfs[ch], "snr_db": snr_db[ch]}
            proposals.append(self._wish(view, ch, "gate.is_on", float(is_on[ch]), cause, evidence))
            # All of a gate has one reason: with it on, the settings; with it off, what they were.
            level_dbfs = threshold[ch] if is_on[ch] else view.asked("gate.threshold_dbfs")[ch]
            level = self._wish(view, ch, "gate.threshold_dbfs", level_dbfs, cause, evidence)
            proposals.append(level._replace(is_companion=not (is_on[ch] and was_on[ch])))
            g = GATES.get(view.roles[ch], _VOICE_GATE)
            settings = {"ratio": g.ratio, "range_db": g.range_db, "attack_ms": g.attack_ms, "hold_ms": g.hold_ms,
                        "release_ms": g.release_ms}  # fmt: skip
            proposals += [self._wish(view, ch, f"gate.{field}", v, cause, evidence) for field, v in settings.items()]
        return proposals

    @staticmethod
    def _gate_cause(floor_dbfs: float, is_on: bool) -> str:
        if is_on:
            return f"noise and spill at {floor_dbfs:.0f} dBFS between the sounds"
        return f"quiet enough between the sounds ({floor_dbfs:.0f} dBFS): no gate"

    def _compressors(self, view: View, ready: np.ndarray, rms_dbfs: np.ndarray) -> list[Proposal]:
        crest_db = view.listening.descriptor["crest_db"]
        was_on = view.asked("compressor.is_on") > 0.5
        is_on = crest_db > self._crest - CREST_HYSTERESIS_DB * was_on
        rule_dbfs = np.clip(rms_dbfs + self._above_rms, -40.0, -4.0)
        # A model speaks of the threshold over the source's slow loudness.
        loudness_lufs = view.learned.loudness_lufs + view.heading("input.trim_db")
        model_db = view.learned.residual(THRESHOLD, rule_dbfs - loudness_lufs)
        now_dbfs = view.value("compressor.threshold_dbfs")
        model_db = view.learned.kept(rule_dbfs, rule_dbfs + model_db, now_dbfs) - rule_dbfs
        octaves = view.learned.residual(RATIO, self._ratio_octaves)
        threshold = np.clip(rule_dbfs + model_db, -40.0, -4.0)
        far = ~(np.abs(threshold - view.asked("compressor.threshold_dbfs")) <= LEVEL_DEAD_BAND_DB)
        wish_octaves = np.maximum(self._ratio_octaves + octaves, 0.0)
        far |= ~(np.abs(wish_octaves - np.log2(view.asked("compressor.ratio"))) <= RATIO_DEAD_BAND)
        proposals = []
        for ch in np.flatnonzero(ready & ((is_on != was_on) | (is_on & far))).tolist():
            role = view.roles[ch]
            evidence = {"crest_db": crest_db[ch], "rms_dbfs": rms_dbfs[ch]}
            if not is_on[ch]:
                cause = f"crest factor only {crest_db[ch]:.0f} dB: dense already, left alone"
                proposals.append(self._wish(view, ch, "compressor.is_on", 0.0, cause, evidence))
                continue
            setting = COMPRESSORS[role]
            cause = f"crest factor {crest_db[ch]:.0f} dB at {rms_dbfs[ch]:.0f} dBFS: {setting.ratio:g}:1 evens it out"
            wishes = self._settings(setting) | {"is_on": 1.0, "ratio": 2.0 ** float(wish_octaves[ch])}
            source, part_db = "rules", float(model_db[ch])
            if abs(part_db) >= 0.5 or abs(octaves[ch]) >= 0.1:
                cause += f"; model {part_db:+.1f} dB, {wishes['ratio']:.1f}:1: {view.learned.setting}"
                above_db = float(rule_dbfs[ch] - loudness_lufs[ch])
                evidence |= view.learned.evidence(THRESHOLD, ch, above_db, part_db)
                source = "model" if abs(part_db) > abs(above_db) else "rules"
            level = self._wish(view, ch, "compressor.threshold_dbfs", float(threshold[ch]), cause, evidence)
            settings = [self._wish(view, ch, f"compressor.{f}", v, cause, evidence) for f, v in wishes.items()]
            wished = [level._replace(is_companion=not was_on[ch]), *settings]
            proposals += [wish._replace(source=source) for wish in wished]
        return proposals

    @staticmethod
    def _settings(c: CompressorSetting) -> dict[str, float]:
        if c.attack_ms is None:
            return {"ratio": c.ratio, "is_automatic": 1.0, "attack_ms": ATTACK_MAX_MS, "release_ms": RELEASE_MAX_MS}
        return {"ratio": c.ratio, "is_automatic": 0.0, "attack_ms": c.attack_ms, "release_ms": DRUM_RELEASE_MS,
                "knee_db": DRUM_KNEE_DB}  # fmt: skip

    def _wish(self, view: View, ch: int, param: str, value: float, cause: str, evidence: dict[str, float]) -> Proposal:
        confidence = min(1.0, float(view.listening.active_s[ch]) / 10.0)
        return Proposal("channel", ch, param, float(value), cause, evidence, confidence, "rules", self.name,
                        is_companion=not param.endswith(("is_on", "threshold_dbfs")))  # fmt: skip
