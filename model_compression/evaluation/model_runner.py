"""Child process: runs the networks of a model over sessions, tick by tick, as the box does. Never beside TensorFlow.

``python -m model_compression.evaluation.model_runner MODEL PRECISION FOLDER`` reads ``in_*.npz`` (``x`` ``(n_ticks,
n_channels, 104)`` and ``m`` ``(n_ticks, 56)``, int8 as shards hold them, or in -1 to 1) and writes ``out_*.npz`` beside
them. Further arrays in the input change what the networks are told:

- ``role_prob`` ``(n_channels, 21)`` takes the place of the role network.
- ``roles_given`` ``(n_channels,)``: the role that each channel's name says, -1 for none, as the box tells it.
- ``is_forgetful``: song and mix network begin anew at every tick. ``has_no_song``: what is played is kept from the mix.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES, ROLES, SCENE_KINDS, SECTIONS, STYLES

from ..errors import ModelError
from ..nets.evidence import (
    EVIDENCE_TAU_S,
    SONG_TAU_S,
    RoleEvidence,
    context_shares,
    log_softmax,
    pooled,
    role_sum,
    sound_of,
)
from ..nets.layout import HEARD, HEARD_AT_LEAST, IS_ACTIVE, MEL_NOW, MEL_SLOW, N_PATCH_COLUMNS, N_PATCH_TICKS, TICK_S
from .measures.framing import Array
from .model_files import ModelFiles, read
from .model_network import Network

TICKS_PER_ROUND = 25  # every channel that sounds is looked at twice a second at least
TICKS_PER_TOLD = 50  # role opinions are kept once a second
BELIEFS = {"genre": GENRES, "section": SECTIONS, "scene": SCENE_KINDS}
INT8_SCALE = 1.0 / 127.0
GIVEN_SHARE = 0.95  # of a role that a name says, in what the networks are told: the box's


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a session is played with besides its inputs; see the module."""

    role_prob: Array | None = None
    roles_given: NDArray[np.integer] | None = None
    is_forgetful: bool = False
    has_no_song: bool = False


class Player:
    """The networks of a model over one session, and what they remember."""

    def __init__(self, model: ModelFiles, precision: str, x: Array, given: Given) -> None:
        self._x, self._given, self._n = x, given, x.shape[1]
        self._nets = {"role": Network(model, "role", precision), "song": Network(model, "song", precision)}
        self._nets["mix"] = Network(model, "mix", precision, self._n)
        self._heads = {name: model.heads(name) for name in self._nets}
        told = model.manifest.get("evidence", {})
        self._context_share = float(told.get("context_share", 0.0))
        how = {
            "temperature": float(told.get("temperature", 1.0)),
            "memory_s": float(told.get("memory_s", EVIDENCE_TAU_S)),
        }
        self._own, self._context = RoleEvidence(self._n, **how), RoleEvidence(self._n, **how)
        self._waiting_s, self._waiting_sound, self._turn = np.zeros(self._n), np.zeros(self._n), 0
        self._looks = -(-self._n // TICKS_PER_ROUND) if given.role_prob is None else 0
        self._patches = np.concatenate([_neutral(self._n), x[:, :, :N_PATCH_COLUMNS]])
        self._belief = {name: np.full(len(words), 1.0 / len(words)) for name, words in BELIEFS.items()}

    def tick(self, number: int, m: Array) -> tuple[NDArray[np.float32], NDArray[np.float32], Array]:
        """Return ``y``, ``z`` and the opinion on roles of a tick."""
        x = self._x[number]
        self._look(number, x)
        own = self._own.role_prob() if self._given.role_prob is None else self._given.role_prob
        told = self._told(own)
        if self._given.is_forgetful:
            self._nets["song"].forget()
            self._nets["mix"].forget()
        z = self._nets["song"].run({"m": m[None], "role_sum": role_sum(told, x.astype(np.float32))[None]})["z"][0]
        is_heard = x[:, HEARD] >= HEARD_AT_LEAST
        given = {
            "x": x, "role_prob": told, "song": self._believed(z), "mask": is_heard[:, None].astype(float),
            "inv_sqrt_n": np.full((1, 1), max(1.0, float(is_heard.sum())) ** -0.5),
        }  # fmt: skip
        y = self._nets["mix"].run(given)["y"][: self._n]
        return y, z, self._blended(own, x, y)

    def _told(self, own: Array) -> Array:
        """Return what the networks hear of roles: mostly what a name says, where one does."""
        roles = self._given.roles_given
        if roles is None:
            return own
        told, named = own.copy(), np.flatnonzero(roles >= 0)
        told[named] *= 1.0 - GIVEN_SHARE
        told[named, roles[named]] += GIVEN_SHARE
        return told

    def _look(self, number: int, x: Array) -> None:
        self._waiting_s += (x[:, IS_ACTIVE] > 0.0) * TICK_S
        self._waiting_sound += sound_of(x)
        for _ in range(self._looks):
            waiting = np.flatnonzero(self._waiting_s > 0.0)
            if not waiting.size:
                return
            ch = int(waiting[np.searchsorted(waiting, self._turn) % len(waiting)])
            self._turn = (ch + 1) % self._n
            patch = self._patches[number + 1 : number + 1 + N_PATCH_TICKS, ch]
            logits = self._nets["role"].run({"patch": patch[None]})["role_logits"][0]
            read = {name: self._heads["role"][name].read(logits) for name in ("role", "voice_activity")}
            outputs, one = np.concatenate([read["role"], read["voice_activity"]])[None], np.array([ch])
            self._own.add(one, outputs, self._waiting_s[one], self._waiting_sound[one])
            self._waiting_s[ch] = self._waiting_sound[ch] = 0.0

    def _believed(self, z: NDArray[np.float32]) -> Array:
        for name, belief in self._belief.items() if not self._given.has_no_song else ():
            prob = np.exp(log_softmax(self._heads["song"][name].read(z)))
            belief += (1.0 - np.exp(-TICK_S / SONG_TAU_S[name])) * (prob - belief)
        return np.concatenate([*self._belief.values(), np.zeros(len(STYLES))])[None]

    def _blended(self, own: Array, x: Array, y: NDArray[np.float32]) -> Array:
        """Return the opinion with the share of the mix network, which hears the other channels too."""
        if self._context_share == 0.0 or self._given.role_prob is not None:
            return own
        logits = self._heads["mix"]["role"].read(y)
        loud = sound_of(x)
        ch = np.flatnonzero(loud)
        self._context.hear(ch, log_softmax(logits[ch]), np.full(len(ch), TICK_S), loud[ch])
        share = context_shares(self._context_share, x)
        return self._own.prob_of(pooled(self._own.mean_log_prob(), self._context.mean_log_prob(), share))


def run_session(
    model: ModelFiles, precision: str, x: Array, m: Array, given: Given | None = None
) -> dict[str, NDArray[Any]]:
    """Return ``y``, ``z``, and ``role_prob`` once a second.

    ``x`` is ``(n_ticks, n_channels, 104)``, ``m`` ``(n_ticks, 56)``, both in -1 to 1.
    """
    n_channels = x.shape[1]
    player = Player(model, precision, x, given or Given())
    y, z, told = [], [], []
    for number in range(len(x)):
        answer, song, opinion = player.tick(number, m[number])
        y.append(answer)
        z.append(song)
        if number % TICKS_PER_TOLD == TICKS_PER_TOLD - 1:
            told.append(opinion)
    return {
        "y": np.array(y, np.float32),
        "z": np.array(z, np.float32),
        "role_prob": np.array(told, np.float32).reshape(-1, n_channels, len(ROLES)),
    }


def _neutral(n_channels: int) -> Array:
    rows = np.zeros((N_PATCH_TICKS, n_channels, N_PATCH_COLUMNS))
    for columns in (MEL_NOW, MEL_SLOW, IS_ACTIVE):
        rows[:, :, columns] = -1.0
    return rows


def _unpacked(values: NDArray[Any]) -> Array:
    return values.astype(np.float64) * (INT8_SCALE if values.dtype == np.int8 else 1.0)


def _further(given: Any) -> Given:
    return Given(
        role_prob=given["role_prob"].astype(np.float64) if "role_prob" in given.files else None,
        roles_given=given["roles_given"].astype(np.int64) if "roles_given" in given.files else None,
        is_forgetful="is_forgetful" in given.files and bool(given["is_forgetful"]),
        has_no_song="has_no_song" in given.files and bool(given["has_no_song"]),
    )


def main(arguments: list[str]) -> int:
    """Run every session of a folder."""
    path, precision, folder = Path(arguments[0]), arguments[1], Path(arguments[2])
    try:
        model = read(path)
        for file in sorted(folder.glob("in_*.npz")):
            with np.load(file) as given:
                x, m, further = _unpacked(given["x"]), _unpacked(given["m"]), _further(given)
            told = run_session(model, precision, x, m, further)
            np.savez(folder / file.name.replace("in_", "out_"), **told)  # type: ignore[arg-type]
            file.unlink()
            sys.stdout.write(f"{file.name}\n")
            sys.stdout.flush()
    except ModelError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
