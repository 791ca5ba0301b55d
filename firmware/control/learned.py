"""What a model says, as the rules read it: held still against small wandering, and believed as far as it has earned.

A rule's answer is ``rule + trust * share * clip(model - rule, bound)``. Trust glides: to 1 while answers come, to 0
when they stop. So the rules alone stand always, and a model that comes or goes never makes a jump. The share weighs two
estimates by their spread, ``rule_sigma^2 / (rule_sigma^2 + sigma^2)``: a model that says it does not know moves little.
Where somebody named the role the rule knows it too: the share is ``1 - (sigma / rule_sigma)^2``, nothing for a model
that is no surer than the rule. A named lead vocal leads while it sounds, whatever a model thinks of its importance.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES, KEYS, ROLES, SCENE_KINDS, SECTIONS, STYLES
from firmware.inference.answer import FAMILIES, TARGETS, Answer


class Family(NamedTuple):
    """What a model may move together: columns of ``TARGETS``, how far from the rule, and which sigma speaks for it."""

    name: str
    columns: slice
    bound: float  # in the target's unit; of a ratio in octaves. P: half of what separates a bad mix from a good one
    sigma: int
    rule_sigma: (
        float  # how far good answers lie from the rule's, in the unit of sigma (P; balance: 2.5 LU on real songs)
    )


BALANCE = Family("balance", slice(0, 1), 6.0, 0, 2.5)
PAN = Family("pan", slice(1, 2), 0.4, 1, 0.25)
TONE = Family("tone", slice(2, 6), 3.0, 2, 2.0)
THRESHOLD = Family("threshold", slice(6, 7), 6.0, 3, 4.0)
RATIO = Family("ratio", slice(7, 8), 0.6, 3, 4.0)  # the compressor has one sigma, that of its threshold
SEND = Family("send", slice(8, 9), 8.0, 4, 4.0)
FAMILIES_OF_TARGETS = (BALANCE, PAN, TONE, THRESHOLD, RATIO, SEND)

STALE_TICKS = 5  # 100 ms without an answer: from then on trust falls; rules are to take over within 200 ms
TRUST_GLIDE_S = 4.0  # from none to all: 6 LU in 4 s are 0.3 dB from one look of the balance to the next (P)
TARGET_S = 2.0  # smoothing of every target: a new genre or section glides
# So far a smoothed target may wander without anybody moving: int8 cycles by up to five steps of its output. P.
STILL = np.array([0.5, 0.06, *[0.4] * 4, 1.0, 0.1, 1.5])
READY_S = 4.0  # of activity until a channel's own answer counts in full (P)
GENRE_S, SECTION_S = 4.0, 1.0
CHANGE_MARGIN = 0.15  # so much surer must another word be than the one that stands (P)
TEMPO_SURE, TEMPO_LOST = 0.6, 0.25  # confidence to take a tempo up with, and under which it is lost (P)
TEMPO_STEADY_S, TEMPO_LOST_S = 3.0, 8.0
TEMPO_SAME, TEMPO_S = 0.02, 1.0  # share within which a tempo is the same, and how fast it is followed there (P)
# Another scene within a second of the evidence: 0.3 s until it is the likelier, 0.5 s that it must stay so (P).
SCENE_S, SCENE_HOLD_S = 0.3, 0.5
LEADER_HOLD_S, LEADER_MARGIN = 2.0, 0.1
ROLE_HEARD_S, ROLE_DECIDES = 2.0, 0.35  # as the plain guess does: classify.py
EXPLAIN_TICKS = 32  # between two questions for an explanation: one takes 16 at most, explain.py
TOLD_SHARE = 0.35  # of the largest effect; smaller ones are not told: they hold less often when tried
NO_CAUSE = "no single cause"
_STYLES = {name: n for n, name in enumerate(STYLES)}


class Learned:
    """The last answers of a model about ``n_channels`` channels; without one, nothing here moves anything."""

    def __init__(self, n_channels: int, tick_s: float, style: str = "natural") -> None:
        self.n_channels, self.tick_s, self.style = n_channels, tick_s, _STYLES[style]
        self.trust = 0.0
        self.amount = np.ones(len(FAMILIES_OF_TARGETS))  # how far each family may go, 0 to 1
        self.has_answers = False
        self._since_ticks = STALE_TICKS  # since the last answer
        self._smooth = np.zeros((n_channels, len(TARGETS)))
        self.held = np.zeros((n_channels, len(TARGETS)))  # a ratio as octaves
        self.sigma = np.ones((n_channels, 5))
        self.importance = np.zeros(n_channels)
        self.bleed = np.zeros(n_channels)
        self.role_prob = np.full((n_channels, len(ROLES)), 1.0 / len(ROLES))
        self.evidence_s = np.zeros(n_channels)
        self.loudness_lufs = np.full(n_channels, -100.0)
        self.ready = np.zeros(n_channels)
        self.genre_prob = np.full(len(GENRES), 1.0 / len(GENRES))
        self.section_prob = np.full(len(SECTIONS), 1.0 / len(SECTIONS))
        self.key_prob = np.full(len(KEYS), 1.0 / len(KEYS))
        self.scene_prob = np.full(len(SCENE_KINDS), 1.0 / len(SCENE_KINDS))
        self.genre, self.section, self.key, self.scene = -1, -1, -1, -1
        self.tempo_bpm = 0.0  # 0 where nobody knows
        self.tempo_confidence = 0.0
        self._next_bpm = self._steady_s = self._lost_s = 0.0
        self.leader = -1
        self.lead_share = np.zeros(n_channels)  # glides to 1 for the leader
        self._scene_s = 0.0  # how long another scene has been likelier
        self._leader_s = 0.0
        self.is_named = np.zeros(n_channels, bool)  # whose role somebody said
        self.roles: list[tuple[str, float]] = [("other", 0.0)] * n_channels
        self.effect = np.zeros((n_channels, len(TARGETS), len(FAMILIES)))
        self.explained_tick = np.full(n_channels, -np.inf)

    # -------------------------------------------------------------------------------------------------- hearing

    def hear(
        self, answer: Answer | None, active_s: NDArray[np.float64], leads: NDArray[np.bool_] | None = None
    ) -> None:
        """Take this tick's answer, or none; who ``leads`` needs no model to say so."""
        if answer is not None and answer.explanation is not None:
            told = answer.explanation
            self.effect[told.channel], self.explained_tick[told.channel] = told.effect, float(answer.tick)
        if answer is not None and answer.is_valid:
            self._take(answer, active_s)
            self._follow_leader(active_s, leads)
        elif self.has_answers:
            self._since_ticks += 1
        step = self.tick_s / TRUST_GLIDE_S
        self.trust = min(1.0, self.trust + step) if self.is_alive else max(0.0, self.trust - step)

    def _take(self, answer: Answer, active_s: NDArray[np.float64]) -> None:
        rows, n, session = answer.channels, self.style, answer.session
        fresh = np.column_stack([
            rows["offset_lu"][:, n], rows["pan_abs"][:, n], rows["tone_db"], rows["threshold_db"],
            np.log2(rows["ratio"]), rows["send_db"][:, n],
        ])  # fmt: skip
        if not self.has_answers:
            self._smooth[:] = self.held[:] = fresh
        self.has_answers, self._since_ticks = True, 0
        self._smooth += (self.tick_s / TARGET_S) * (fresh - self._smooth)
        self.held = np.minimum(np.maximum(self.held, self._smooth - STILL), self._smooth + STILL)
        self.ready = np.minimum(active_s / READY_S, 1.0)
        slow = self.tick_s / TARGET_S
        self.sigma += slow * (rows["sigma"] - self.sigma)
        self.importance += slow * (rows["importance"] - self.importance)
        self.bleed += slow * (rows["bleed"] - self.bleed)
        self.role_prob, self.evidence_s = rows["role_prob"].astype(float), rows["evidence_s"].astype(float)
        self.loudness_lufs = rows["loudness_lufs"].astype(float)
        self.genre_prob += (self.tick_s / GENRE_S) * (session["genre_prob"] - self.genre_prob)
        self.section_prob += (self.tick_s / SECTION_S) * (session["section_prob"] - self.section_prob)
        self.key_prob += (self.tick_s / GENRE_S) * (session["key_prob"] - self.key_prob)
        self.scene_prob += (self.tick_s / SCENE_S) * (session["scene_prob"] - self.scene_prob)
        self.genre = _word(self.genre_prob, self.genre)
        self.section = _word(self.section_prob, self.section)
        self.key = _word(self.key_prob, self.key)
        self._follow_tempo(float(session["tempo_bpm"]), float(session["tempo_confidence"]))
        self._follow_scene()

    def _follow_tempo(self, bpm: float, confidence: float) -> None:
        """Take a tempo up once it is sure and steady; drift with it; drop it when the beat has been gone for long."""
        self.tempo_confidence += (self.tick_s / TEMPO_S) * (confidence - self.tempo_confidence)
        self._lost_s = self._lost_s + self.tick_s if self.tempo_confidence < TEMPO_LOST else 0.0
        if self._lost_s >= TEMPO_LOST_S:
            self.tempo_bpm = 0.0
        if not bpm > 0.0 or confidence < TEMPO_SURE:
            self._steady_s = 0.0
        elif abs(bpm - self._next_bpm) <= TEMPO_SAME * bpm:
            self._steady_s += self.tick_s
            self._next_bpm += (self.tick_s / TEMPO_S) * (bpm - self._next_bpm)
        else:
            self._steady_s, self._next_bpm = 0.0, bpm
        if self._steady_s >= TEMPO_STEADY_S:
            self.tempo_bpm = self._next_bpm

    def _follow_scene(self) -> None:
        likely = _word(self.scene_prob, self.scene)
        self._scene_s = 0.0 if likely == self.scene else self._scene_s + self.tick_s
        if self._scene_s >= SCENE_HOLD_S:
            self.scene, self._scene_s = likely, 0.0

    def _follow_leader(self, active_s: NDArray[np.float64], leads: NDArray[np.bool_] | None) -> None:
        may_lead = active_s >= READY_S
        if leads is not None and (may_lead & leads).any():
            may_lead &= leads
        heard = np.where(may_lead, self.importance, -1.0)
        first = int(np.argmax(heard))
        has_lost = first != self.leader and heard[first] >= 0.0 and (
            self.leader < 0 or heard[first] > heard[self.leader] + LEADER_MARGIN
        )  # fmt: skip
        self._leader_s = self._leader_s + self.tick_s if has_lost else 0.0
        if self._leader_s >= LEADER_HOLD_S:
            self.leader, self._leader_s = first, 0.0
        wanted = np.arange(self.n_channels) == self.leader
        step = self.tick_s / TARGET_S
        self.lead_share = np.minimum(np.maximum(wanted, self.lead_share - step), self.lead_share + step)

    def set_style(self, style: str) -> None:
        """Take another style; its targets are glided to."""
        self.style = _STYLES[style]

    def decide_roles(self, wanted: NDArray[np.bool_]) -> bool:
        """Let the evidence name the ``wanted`` channels; True when a role changed."""
        has_changed = False
        for ch in np.flatnonzero(wanted & (self.evidence_s >= ROLE_HEARD_S)).tolist():
            best = int(np.argmax(self.role_prob[ch]))
            role, confidence = ROLES[best], float(self.role_prob[ch, best])
            now, known = self.roles[ch]
            if role == now and known > 0.0:
                self.roles[ch] = (now, confidence)
                continue
            beaten = float(self.role_prob[ch, ROLES.index(now)]) + CHANGE_MARGIN if known > 0.0 else 0.0
            if confidence >= ROLE_DECIDES and confidence > beaten:
                self.roles[ch] = (role, confidence)
                has_changed = True
        return has_changed

    # ------------------------------------------------------------------------------------------------- readings

    @property
    def is_on(self) -> bool:
        """Whether it moves anything."""
        return self.trust > 0.0

    @property
    def is_alive(self) -> bool:
        """Whether answers come."""
        return self.has_answers and self._since_ticks < STALE_TICKS

    def kept(
        self, rule: NDArray[np.floating], wish: NDArray[np.floating], now: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """Return the wish; of a model that has gone, never further from the rule's answer than a parameter is now."""
        if self.is_alive or self.trust == 0.0:
            return wish
        return np.clip(wish, np.minimum(rule, now), np.maximum(rule, now))

    def residual(self, family: Family, rule: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what the model adds to the rule's answer, of the rule's shape: ``(n_channels,)`` or one more axis."""
        target = self.held[:, family.columns].reshape(np.shape(rule))
        weight = self.trust * self.amount[FAMILIES_OF_TARGETS.index(family)] * self.ready * self.share(family)
        weight = weight.reshape(-1, *[1] * (np.ndim(rule) - 1))
        return weight * np.clip(target - rule, -family.bound, family.bound)

    def share(self, family: Family) -> NDArray[np.float64]:
        """Return how far each channel goes from the rule's answer to the model's, 0 to 1, by the model's own sigma."""
        against = (self.sigma[:, family.sigma] / family.rule_sigma) ** 2
        return np.where(self.is_named, np.maximum(1.0 - against, 0.0), 1.0 / (1.0 + against))

    def confidence(self, family: Family, ch: int) -> float:
        """Return how sure the model is: its share."""
        return float(self.share(family)[ch])

    def evidence(self, family: Family, ch: int, rule: float, residual: float) -> dict[str, float]:
        """Return what a decision says about the model's part."""
        return {"rule": float(rule), "model": float(residual), "sigma": float(self.sigma[ch, family.sigma]),
                "trust": self.trust}  # fmt: skip

    @property
    def setting(self) -> str:
        """What is played, in words: ``pop chorus``."""
        words = [GENRES[self.genre] if self.genre >= 0 else "", SECTIONS[self.section] if self.section >= 0 else ""]
        return " ".join(filter(None, words)) or "this music"

    @property
    def known_tempo_bpm(self) -> float:
        """Tempo that others may move by; 0 where none is known, or nobody listens to the model."""
        return self.tempo_bpm if self.trust > 0.5 else 0.0

    @property
    def scene_kind(self) -> str | None:
        """``speech``, ``music`` or ``mixed``; None where the model does not say, or nobody listens to it."""
        return SCENE_KINDS[self.scene] if self.scene >= 0 and self.trust > 0.5 else None

    def next_question(self, moving: Collection[int], tick: int) -> int:
        """Return the channel to ask an explanation for, or -1: of those that move, the one asked longest ago."""
        if tick % EXPLAIN_TICKS or not moving or not self.is_on:
            return -1
        return min(moving, key=lambda ch: (self.explained_tick[ch], ch))

    def is_explained(self, ch: int, since_tick: float) -> bool:
        """Whether what moved a channel since then was asked about: its answer is heard over ``TARGET_S``."""
        return bool(self.explained_tick[ch] >= since_tick - TARGET_S / self.tick_s)

    def why(self, ch: int, target: str) -> str:
        """Return the families of inputs that made a target, with their effects, as they were told last."""
        effects = self.effect[ch, TARGETS.index(target)]
        largest = float(np.abs(effects).max())
        order = np.argsort(-np.abs(effects), kind="stable")[:3].tolist()
        told = [n for n in order if abs(effects[n]) > TOLD_SHARE * largest]
        return ", ".join(f"{FAMILIES[n]} {effects[n]:+.2g}" for n in told) or NO_CAUSE

    def as_record(self) -> dict[str, object]:
        """Return what a page shows of the model's view."""
        return {
            "trust": round(self.trust, 3),
            "style": STYLES[self.style],
            "genre": GENRES[self.genre] if self.genre >= 0 else None,
            "section": SECTIONS[self.section] if self.section >= 0 else None,
            "key": KEYS[self.key] if self.key >= 0 else None,
            "tempo_bpm": round(self.tempo_bpm, 1) if self.tempo_bpm else None,
            "scene": self.scene_kind,
            "leader": self.leader if self.leader >= 0 else None,
        }


def _word(prob: NDArray[np.float64], now: int) -> int:
    """Return the likeliest word, but the one that stands unless another is surer by a margin."""
    best = int(np.argmax(prob))
    if now < 0:
        return best if prob[best] > 1.5 / len(prob) else -1
    return best if prob[best] > prob[now] + CHANGE_MARGIN else now
