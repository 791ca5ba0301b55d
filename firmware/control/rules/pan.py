"""Places channels between left and right: foundations and leads in the middle, the rest by role and register."""

from __future__ import annotations

import re

import numpy as np

from ..learned import PAN
from ..proposals import Proposal
from ..responses import BARK_HZ, MEL_HZ
from ..view import View

WIDTH = 0.5  # live-dsp 2.8
SPEECH_WIDTH = 0.15  # podcast hosts within 15 %: live-dsp 2.8
PAIR_POSITION = 0.8  # P: channels that are called left and right
LOW_HZ = 200.0  # what lives under this stays in the middle: live-dsp 2.8
BAND_EDGES_HZ = (200.0, 800.0, 2500.0)  # registers whose members share the width (P)
HEARD_S = 3.0
MODEL_DEAD_BAND = 0.1  # a picture does not wander with a model either (P)
CENTRE = ("vocal_lead", "kick", "snare", "bass", "drums", "playback", "ambience")
FIXED = {"hihat": 0.3}  # P: as the audience sees the kit
_SIDE = re.compile(r"(?:^|[ _\-.])(l|left|r|right)(?:$|[ _\-.\d])", re.IGNORECASE)


def side_of(name: str) -> int:
    """Return -1 for a name that says left, 1 for right, 0 for neither."""
    found = _SIDE.search(name)
    return 0 if found is None else -1 if found.group(1).lower().startswith("l") else 1


class Pan:
    """``pan.position``; stereo channels keep their middle and width."""

    name = "pan"
    period_ticks = 50

    def __init__(self) -> None:
        self._known: tuple[int, tuple[int, ...]] | None = None
        self._was_moved = False  # by a model, at the last look

    def propose(self, view: View) -> list[Proposal]:
        """Place channels when roles or registers become known; then leave them where they are."""
        register = self._registers(view)
        known = (view.roles_version, tuple(register.tolist()))
        if known == self._known and not self._was_moved and not view.learned.is_on:
            return []
        self._known, self._was_moved = known, view.learned.is_on
        position, cause = np.zeros(view.n_channels), [""] * view.n_channels
        for members, width, why in self._groups(view, register, position, cause):
            for k, ch in enumerate(members):
                position[ch] = ((k + 0.5) / len(members) * 2.0 - 1.0) * width
                cause[ch] = why if len(members) > 1 else "nothing else like it: in the middle"
        evidence_hz = self._dominant_hz(view)
        model = self._of_model(view, position)
        dead_band = np.where(model != 0.0, MODEL_DEAD_BAND, 0.02)
        return [
            self._proposal(view, ch, float(position[ch]), float(model[ch]), cause[ch], float(evidence_hz[ch]))
            for ch in view.moved("pan.position", position + model, dead_band)
        ]

    @staticmethod
    def _of_model(view: View, position: np.ndarray) -> np.ndarray:
        """Return what a model adds: how far out is its word, the side is the rule's; who stands in the middle stays."""
        may_move = ~view.is_stereo & (position != 0.0) & np.array([side_of(name) == 0 for name in view.names])
        outwards = view.learned.residual(PAN, np.abs(position))
        reach = np.clip(np.abs(position) + outwards, 0.0, PAIR_POSITION)
        wish = np.where(may_move & view.learned.is_on, np.sign(position) * reach, position)
        return view.learned.kept(position, wish, view.value("pan.position")) - position

    def _proposal(self, view: View, ch: int, rule: float, model: float, cause: str, dominant_hz: float) -> Proposal:
        evidence, confidence = {"dominant_hz": dominant_hz}, 1.0
        if abs(model) >= 0.02:
            cause += f"; rule {rule:+.2f}, model {model:+.2f}: {view.learned.setting}"
            evidence |= view.learned.evidence(PAN, ch, rule, model)
            confidence = view.learned.confidence(PAN, ch)
        source = "model" if abs(model) > abs(rule) else "rules"
        return Proposal("channel", ch, "pan.position", rule + model, cause, evidence, confidence, source, self.name)

    def _groups(
        self, view: View, register: np.ndarray, position: np.ndarray, cause: list[str]
    ) -> list[tuple[list[int], float, str]]:
        """Fill in those with a fixed place and return the groups that share a width."""
        groups: dict[tuple[str, int], list[int]] = {}
        for ch, role in enumerate(view.roles):
            spoken = role.replace("_", " ")
            if view.is_stereo[ch]:
                cause[ch] = "stereo: keeps the picture it came with"
            elif side_of(view.names[ch]):
                position[ch] = PAIR_POSITION * side_of(view.names[ch])
                cause[ch] = "its name says the side"
            elif role in FIXED:
                position[ch], cause[ch] = FIXED[role], f"{spoken} where the audience sees it"
            elif role in CENTRE:
                cause[ch] = f"{spoken} belongs in the middle"
            elif role in ("speech", "vocal_backing", "tom"):
                groups.setdefault((role, 0), []).append(ch)
            elif register[ch] == 0:
                cause[ch] = f"most of it lies under {LOW_HZ:.0f} Hz: in the middle"
            elif role == "other" and not view.has_role[ch]:
                cause[ch] = "not known yet: in the middle"
            else:
                groups.setdefault(("register", int(register[ch])), []).append(ch)
        alone = [key for key, members in groups.items() if key[0] == "register" and len(members) == 1]
        if len(alone) > 1:  # the only ones of their registers share the width among them
            groups["register", 0] = sorted(ch for key in alone for ch in groups.pop(key))
        return [
            (members, SPEECH_WIDTH if role == "speech" else WIDTH,
             f"shares the width with {len(members) - 1} more {'talkers' if role == 'speech' else 'of its kind'}")
            for (role, _), members in groups.items()
        ]  # fmt: skip

    @staticmethod
    def _dominant_hz(view: View) -> np.ndarray:
        return MEL_HZ[np.argmax(view.listening.mel_db, axis=1)]

    def _registers(self, view: View) -> np.ndarray:
        """Return 0 for low, then 1 to 3 upwards; 2, the middle, until a channel was heard."""
        heard_hz = np.where(view.listening.active_s >= HEARD_S, self._dominant_hz(view), BARK_HZ[10])
        fresh = np.searchsorted(np.array(BAND_EDGES_HZ), heard_hz, side="right")
        if not hasattr(self, "_register"):
            self._register = fresh
        # Placed once, from the first seconds: a picture does not wander.
        is_first = (view.listening.active_s >= HEARD_S) & (view.listening.active_s < HEARD_S + 2.0)
        self._register = np.where(is_first, fresh, self._register)
        return self._register
