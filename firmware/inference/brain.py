"""Thinks once a tick: model input, role network in turns, song network, mix network, one answer.

The same question gives the same answer, to the bit, on the same machine: `render` calls this where the live box asks a
process of its own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES, ROLES, SCENE_KINDS, SECTIONS, STYLES
from dsp_kernels.contract.layout import MODEL_INPUT_COLUMNS, N_MODEL_INPUT
from firmware.errors import EvenhandError
from firmware.observation import TICK_MS

from .answer import Answer, Explanation, Question
from .bundle import Bundle
from .decode import Decoder
from .evidence import RoleEvidence, sound_of
from .explain import PAST_TICKS, Explainer, Moment
from .model_input import BeatTracker, ModelInput
from .net_spec import BUCKETS, PATCH_COLUMNS, PATCH_TICKS
from .trial import Candidate, load

TICK_S = TICK_MS / 1000.0
TICKS_PER_ROUND = 25  # every channel that sounds is looked at twice a second at least
# What the mix network hears of genre, section and scene kind is a belief that moves so slowly, as in training.
BELIEF_S = np.repeat([10.0, 2.0, 2.0], [len(GENRES), len(SECTIONS), len(SCENE_KINDS)])
GIVEN_SHARE = 0.95  # of a role that a name says, in what the mix network is told (P)
_ACTIVE, _LOUDNESS, _HEARD = (MODEL_INPUT_COLUMNS[name].start for name in ("is_active", "slow_loudness", "heard"))
HEARD_AT_LEAST = math.log2(1.3) / 6.0  # 0.3 s of activity: contract, [[model_input]] heard
LOUDNESS_SCALE = (40.0, -30.0)  # of the loudness column: contract, [[model_input]] slow_loudness


class Brain:
    """The networks of one bundle for one mixer, with all that they remember.

    Parameters
    ----------
    candidate
        Runtime and precision that passed the trial.
    is_stereo
        One a channel.

    Raises
    ------
    EvenhandError
        When there are more channels than a model takes, or a network cannot be loaded.
    """

    def __init__(self, bundle: Bundle, candidate: Candidate, is_stereo: Sequence[bool]) -> None:
        n = len(is_stereo)
        if not 1 <= n <= BUCKETS[-1]:
            raise EvenhandError(f"{n} channels; a model mixes 1 to {BUCKETS[-1]}")
        self.bundle, self.candidate, self.n_channels = bundle, candidate, n
        self._input = ModelInput(n, list(is_stereo))
        self._role, _ = load(bundle, "role", candidate, n)
        self._song, _ = load(bundle, "song", candidate, n)
        self.mix, self._size = load(bundle, "mix", candidate, n)
        self._role_decoder, self._song_decoder, self._mix_decoder = (
            Decoder(network.spec.heads) for network in (self._role, self._song, self.mix)
        )
        self._evidence = RoleEvidence(n, len(ROLES), bundle.evidence)
        self._context = RoleEvidence(n, len(ROLES), bundle.evidence)
        self._history = np.zeros((n, 2 * PATCH_TICKS, PATCH_COLUMNS), np.float32)  # each tick twice: a patch is a slice
        self._history[:] = self._neutral_patch()
        self._at = 0
        self._waiting_s, self._waiting_sound_s = np.zeros(n), np.zeros(n)  # activity that no look has counted yet
        self._turn = 0
        self._looks = -(-n // TICKS_PER_ROUND)
        self._belief = self._no_belief()
        self._beats = BeatTracker()
        self._generation = np.zeros(n, np.uint8)
        self.past: deque[Moment] = deque(maxlen=PAST_TICKS)
        self._explainer = Explainer(self.mix)

    @staticmethod
    def _no_belief() -> NDArray[np.float64]:
        return np.concatenate([np.full(len(words), 1.0 / len(words)) for words in (GENRES, SECTIONS, SCENE_KINDS)])

    @staticmethod
    def _neutral_patch() -> NDArray[np.float32]:
        row = np.zeros(PATCH_COLUMNS, np.float32)
        row[MODEL_INPUT_COLUMNS["mel_now"]] = row[MODEL_INPUT_COLUMNS["mel_slow"]] = row[_ACTIVE] = -1.0
        return row

    def think(self, question: Question) -> Answer:
        """Return the answer to one tick's question.

        Raises
        ------
        EvenhandError
            When the question is about another number of channels.
        """
        if len(question.features) != self.n_channels:
            raise EvenhandError(f"asked about {len(question.features)} channels; this model mixes {self.n_channels}")
        for ch in np.flatnonzero(question.generation != self._generation).tolist():
            self._forget_channel(ch)
        self._generation = np.array(question.generation)
        x, m = self._input.process(question.features, question.mix_features, question.trim_db)
        self._look(x)
        opinion = self._evidence.prob
        role_prob = self._told_roles(opinion, question.roles_given)
        z = self._song.run({"m": m[None], "role_sum": self._role_sum(x, role_prob)})["z"]
        session = self._song_decoder.session(z)
        beat = self._beats.process(float(session["beat"]), float(session["downbeat"]))
        session["tempo_bpm"], session["tempo_confidence"] = beat.tempo_bpm, beat.confidence
        y = self._mixed(x, role_prob, session)
        is_valid = bool(np.isfinite(z).all() and np.isfinite(y).all()) and self._is_sane()
        if not is_valid:
            self._forget_states()
        channels = self._mix_decoder.channels(y)
        channels["sigma"] *= np.array(self.bundle.evidence.sigma_scale, np.float32)
        self._hear_context(y, x)
        channels["role_prob"], channels["evidence_s"] = self._opinion(x), self._evidence.active_s
        channels["loudness_lufs"] = x[:, _LOUDNESS] * LOUDNESS_SCALE[0] + LOUDNESS_SCALE[1]
        return Answer(tick=question.tick, is_valid=is_valid, channels=channels, session=session,
                      explanation=self._explain(question))  # fmt: skip

    # ------------------------------------------------------------------------------------------------- roles

    def _look(self, x: NDArray[np.float32]) -> None:
        """Remember this tick, and look at the channels whose turn it is: always the same number, if so many sound."""
        row = x[:, :PATCH_COLUMNS]
        self._history[:, self._at] = self._history[:, self._at + PATCH_TICKS] = row
        self._at = (self._at + 1) % PATCH_TICKS
        self._waiting_s += (x[:, _ACTIVE] > 0.0) * TICK_S
        self._waiting_sound_s += sound_of(x)
        for _ in range(self._looks):
            waiting = np.flatnonzero(self._waiting_s > 0.0)
            if not waiting.size:
                return
            ch = int(waiting[np.searchsorted(waiting, self._turn) % len(waiting)])
            self._turn = (ch + 1) % self.n_channels
            patch = self._history[ch, self._at : self._at + PATCH_TICKS]
            logits = self._role.run({"patch": patch[None]})["role_logits"]
            meant = self._role_decoder.read(logits)
            own = 1.0 / (1.0 + math.exp(-float(self._role_decoder.head("voice_activity", meant)[0, 0])))
            active_s, sound_s = own * float(self._waiting_s[ch]), own * float(self._waiting_sound_s[ch])
            self._evidence.hear(ch, self._role_decoder.head("role", meant)[0], active_s, sound_s)
            self._waiting_s[ch] = self._waiting_sound_s[ch] = 0.0

    @staticmethod
    def _told_roles(opinion: NDArray[np.float32], roles_given: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return what the networks hear of roles: what a name says, else what was gathered."""
        prob = opinion.copy()
        is_given = (roles_given >= 0) & (roles_given < len(ROLES))
        prob[is_given] *= 1.0 - GIVEN_SHARE
        prob[is_given, roles_given[is_given]] += GIVEN_SHARE
        return prob

    def _role_sum(self, x: NDArray[np.float32], prob: NDArray[np.float32]) -> NDArray[np.float32]:
        is_heard = x[:, _HEARD] >= HEARD_AT_LEAST
        if not is_heard.any():
            return np.full((1, len(ROLES)), 1.0 / len(ROLES), np.float32)
        return prob[is_heard].mean(axis=0, keepdims=True)

    def _hear_context(self, y: NDArray[np.float32], x: NDArray[np.float32]) -> None:
        if self.bundle.evidence.context_share > 0.0:
            logits = self._mix_decoder.head("role", self._mix_decoder.read(y))
            sound_s = sound_of(x)
            for ch in np.flatnonzero(sound_s).tolist():
                self._context.hear(ch, logits[ch], TICK_S, float(sound_s[ch]))

    def _opinion(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        n_heard = int(np.count_nonzero(x[:, _HEARD] >= HEARD_AT_LEAST))
        return self._evidence.pooled(self._context, n_heard)

    # --------------------------------------------------------------------------------------------------- mix

    def _mixed(
        self, x: NDArray[np.float32], role_prob: NDArray[np.float32], session: NDArray[np.void]
    ) -> NDArray[np.float32]:
        told = np.concatenate([session["genre_prob"], session["section_prob"], session["scene_prob"]])
        self._belief += (1.0 - np.exp(-TICK_S / BELIEF_S)) * (told - self._belief)
        no_style = np.zeros(len(STYLES))  # all styles are told at once
        is_heard = x[:, _HEARD] >= HEARD_AT_LEAST  # who never sounded moves nobody
        inputs = {
            "x": _padded(x, (self._size, N_MODEL_INPUT)),
            "role_prob": _padded(role_prob, (self._size, len(ROLES))),
            "song": np.concatenate([self._belief, no_style]).astype(np.float32)[None],
            "mask": _padded(is_heard[:, None].astype(np.float32), (self._size, 1)),
            "inv_sqrt_n": np.full((1, 1), max(1.0, float(is_heard.sum())) ** -0.5, np.float32),
        }
        self.past.append(Moment(inputs, self.mix.states))
        return self.mix.run(inputs)["y"][: self.n_channels]

    def _explain(self, question: Question) -> Explanation | None:
        """Go on with the explanation under way, or begin with the one that is asked for."""
        if self._explainer.is_busy:
            return self._explainer.step()
        if 0 <= question.asks_about < self.n_channels and self.past:
            self._explainer.start(self.past, question.asks_about, question.style)
        return None

    # ----------------------------------------------------------------------------------------------- forgetting

    def _is_sane(self) -> bool:
        return self._song.is_finite() and self.mix.is_finite()

    def _forget_states(self) -> None:
        """Begin anew after what was no number: a state that holds one would hold it for ever."""
        self._song.reset()
        self.mix.reset()
        self._belief = self._no_belief()
        self._beats.reset()
        self.past.clear()

    def _forget_channel(self, ch: int) -> None:
        self._input.reset_channel(ch)
        self._evidence.forget(ch)
        self._context.forget(ch)
        self._history[ch] = self._neutral_patch()
        self._waiting_s[ch] = self._waiting_sound_s[ch] = 0.0
        self.mix.reset_channel(ch)
        self.past.clear()


def _padded(rows: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    full = np.zeros(shape, np.float32)
    full[: len(rows)] = rows
    return full


def brain_of(path: Path, bundle: Bundle, candidate: Candidate, is_stereo: Sequence[bool]) -> Brain:
    """Return a brain; what its runtime refuses is told with the bundle's place."""
    try:
        return Brain(bundle, candidate, is_stereo)
    except EvenhandError as error:
        raise EvenhandError(f"{path}: {error}") from None
