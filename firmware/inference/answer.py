"""What the box asks a model each tick and what it is told: rows of fixed size, for a process boundary or none.

Answers are in the units of the mixer and bounded here, once, whatever the networks said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES, KEYS, ROLES, SCENE_KINDS, SECTIONS, STYLES, TONE_REGIONS_HZ
from dsp_kernels.contract.layout import FEATURES_DTYPE, MIX_FEATURES_DTYPE

# Targets that are explained one by one, in the order of the columns of an explanation.
TARGETS = ("offset_lu", "pan_abs", *(f"tone_db.{n + 1}" for n in range(len(TONE_REGIONS_HZ))), "threshold_db", "ratio",
           "send_db")  # fmt: skip
FAMILIES = ("own level", "own tone", "own rhythm", "who else plays", "bleed", "genre and section", "role")

CHANNEL_DTYPE = np.dtype([
    ("offset_lu", "<f4", (len(STYLES),)),  # loudness relative to the lead
    ("pan_abs", "<f4", (len(STYLES),)),
    ("tone_db", "<f4", (len(TONE_REGIONS_HZ),)),
    ("threshold_db", "<f4"),  # of the compressor, relative to loudness_lufs
    ("ratio", "<f4"),
    ("send_db", "<f4", (len(STYLES),)),
    ("sigma", "<f4", (5,)),  # spread of good answers: LU, pan, dB, dB of threshold, dB of send
    ("importance", "<f4"),
    ("activity", "<f4"),
    ("bleed", "<f4"),
    ("role_prob", "<f4", (len(ROLES),)),
    ("loudness_lufs", "<f4"),  # slow loudness of the source, trim taken out
    ("evidence_s", "<f4"),  # seconds of activity that role_prob stands on
])  # fmt: skip
SESSION_DTYPE = np.dtype([
    ("genre_prob", "<f4", (len(GENRES),)),
    ("section_prob", "<f4", (len(SECTIONS),)),
    ("scene_prob", "<f4", (len(SCENE_KINDS),)),
    ("key_prob", "<f4", (len(KEYS),)),
    ("beat", "<f4"),
    ("downbeat", "<f4"),
    ("boundary", "<f4"),
    ("tempo_bpm", "<f4"),
    ("tempo_confidence", "<f4"),  # 0 in silence
])  # fmt: skip
# Bounds of every answer. Wider than what a trained network says; a broken one stays within what a mixer survives.
BOUNDS: dict[str, tuple[float, float]] = {
    "offset_lu": (-24.0, 6.0), "pan_abs": (0.0, 1.0), "tone_db": (-6.0, 6.0), "threshold_db": (-20.0, 20.0),
    "ratio": (1.0, 8.0), "send_db": (-80.0, 0.0), "importance": (0.0, 1.0), "activity": (0.0, 1.0), "bleed": (0.0, 1.0),
    "role_prob": (0.0, 1.0), "loudness_lufs": (-100.0, 20.0), "evidence_s": (0.0, 1e9),
}  # fmt: skip
SIGMA_BOUNDS = (1e-3, 40.0)
_HEAD = np.dtype([("tick", "<u8"), ("style", "u1"), ("n_channels", "u1"), ("is_valid", "u1"), ("asks", "i1")])


@dataclass(frozen=True, kw_only=True)
class Question:
    """One look of control at the engine, as a model needs it.

    Parameters
    ----------
    features
        ``(n_channels,)`` of ``FEATURES_DTYPE``.
    mix_features
        ``()`` of ``MIX_FEATURES_DTYPE``.
    trim_db
        What the features were measured behind, ``(n_channels,)``.
    roles_given
        Index of the role that somebody named, -1 where nobody did, ``(n_channels,)``.
    generation
        Counts up where a channel is another source from now on, ``(n_channels,)``.
    asks_about
        Channel whose answer is to be explained, or -1.
    """

    tick: int
    features: NDArray[np.void]
    mix_features: NDArray[np.void]
    trim_db: NDArray[np.float32]
    roles_given: NDArray[np.int8]
    generation: NDArray[np.uint8]
    style: int = 0
    asks_about: int = -1

    def to_bytes(self) -> bytes:
        """Return the record that crosses to another process."""
        head = np.array((self.tick, self.style, len(self.features), 1, self.asks_about), _HEAD)
        rows: Sequence[NDArray] = (self.features, self.mix_features, self.trim_db, self.roles_given, self.generation)
        kinds: Sequence[Any] = (FEATURES_DTYPE, MIX_FEATURES_DTYPE, np.float32, np.int8, np.uint8)
        return head.tobytes() + b"".join(np.ascontiguousarray(r, k).tobytes() for r, k in zip(rows, kinds, strict=True))

    @staticmethod
    def size_bytes(n_channels: int) -> int:
        """Return the size of a record."""
        return _HEAD.itemsize + MIX_FEATURES_DTYPE.itemsize + n_channels * (FEATURES_DTYPE.itemsize + 6)

    @classmethod
    def from_bytes(cls, data: bytes, n_channels: int) -> Question:
        """Return the question of a record; ValueError when it is not for ``n_channels``."""
        if len(data) != cls.size_bytes(n_channels):
            raise ValueError(f"a question of {len(data)} bytes")
        head = np.frombuffer(data, _HEAD, 1)[0]
        at = _HEAD.itemsize
        rows = []
        for dtype, count in ((FEATURES_DTYPE, n_channels), (MIX_FEATURES_DTYPE, 1), (np.dtype("<f4"), n_channels),
                             (np.dtype("i1"), n_channels), (np.dtype("u1"), n_channels)):  # fmt: skip
            rows.append(np.frombuffer(data, dtype, count, at))
            at += dtype.itemsize * count
        return cls(
            tick=int(head["tick"]), features=rows[0], mix_features=rows[1].reshape(()), trim_db=rows[2],
            roles_given=rows[3], generation=rows[4], style=int(head["style"]), asks_about=int(head["asks"]),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What each family of inputs does to a channel's targets: ``effect`` is ``(len(TARGETS), len(FAMILIES))``.

    In the target's unit, signed: what would be missing were the family neutral.
    """

    channel: int
    style: int
    effect: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says about the question of ``tick``.

    ``channels`` is ``(n_channels,)`` of ``CHANNEL_DTYPE``, ``session`` ``()`` of ``SESSION_DTYPE``. Not ``is_valid``:
    the networks said what is no number, and begin anew.
    """

    tick: int
    is_valid: bool
    channels: NDArray[np.void]
    session: NDArray[np.void]
    explanation: Explanation | None = None

    def to_bytes(self) -> bytes:
        """Return the record that crosses to another process."""
        told = self.explanation
        head = np.array((self.tick, told.style if told else 0, len(self.channels), self.is_valid,
                         told.channel if told else -1), _HEAD)  # fmt: skip
        effect = told.effect if told else np.zeros((len(TARGETS), len(FAMILIES)), np.float32)
        return head.tobytes() + self.channels.tobytes() + self.session.tobytes() + effect.astype("<f4").tobytes()

    @staticmethod
    def size_bytes(n_channels: int) -> int:
        """Return the size of a record."""
        n_effects = len(TARGETS) * len(FAMILIES)
        return _HEAD.itemsize + n_channels * CHANNEL_DTYPE.itemsize + SESSION_DTYPE.itemsize + 4 * n_effects

    @classmethod
    def from_bytes(cls, data: bytes, n_channels: int) -> Answer:
        """Return the answer of a record; ValueError when it is none for ``n_channels``."""
        if len(data) != cls.size_bytes(n_channels):
            raise ValueError(f"an answer of {len(data)} bytes")
        head = np.frombuffer(data, _HEAD, 1)[0]
        channels = np.frombuffer(data, CHANNEL_DTYPE, n_channels, _HEAD.itemsize)
        at = _HEAD.itemsize + channels.nbytes
        session = np.frombuffer(data, SESSION_DTYPE, 1, at)[0]
        effect = np.frombuffer(data, "<f4", -1, at + SESSION_DTYPE.itemsize).reshape(len(TARGETS), len(FAMILIES))
        channel = int(head["asks"])
        told = Explanation(channel=channel, style=int(head["style"]), effect=effect) if channel >= 0 else None
        return cls(tick=int(head["tick"]), is_valid=bool(head["is_valid"]), channels=channels, session=session,
                   explanation=told)  # fmt: skip


def bounded(channels: NDArray[np.void]) -> NDArray[np.void]:
    """Clip every answer of ``channels`` to its bounds, in place; what is no number becomes the lower bound."""
    for name, (low, high) in BOUNDS.items():
        channels[name] = np.fmin(np.fmax(channels[name], low), high)  # of a number and none they take the number
    channels["sigma"] = np.fmin(np.fmax(channels["sigma"], SIGMA_BOUNDS[0]), SIGMA_BOUNDS[1])
    return channels
