"""Rooms that sessions are recorded in: walls that reflect once, then a tail of shaped noise.

First reflections by mirror images (Allen and Berkley, JASA 65(4), 1979); what comes later is Gaussian noise under an
exponential decay (Moorer, CMJ 3(2), 1979), the high bands dying sooner. Level of the tail by Sabine: the direct sound
equals it at the critical distance, 0.057 sqrt(volume / RT60).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from .performance import SAMPLE_RATE_HZ

SOUND_M_PER_S = 343.0
N_TAPS = 4096  # of one path, 85 ms: paths of up to 25 m with their first reflections
N_TAILS = 3  # diffuse fields with nothing in common, from which every microphone gets a mixture of its own
TAIL_BEGINS_S = 0.02
TAIL_CUT = 0.9  # of RT60: the last 6 dB of the 60 are left away
_MIDDLE_HZ = (200.0, 2000.0)  # where Sabine's level holds

# Width, depth, height in metres and RT60 in seconds. The test split takes from intervals that the others never touch.
_SPACES = {
    "stage": {
        "seen": (((6.0, 9.0), (12.0, 16.0)), ((5.0, 7.0), (9.0, 12.0)), (3.0, 5.0), ((0.35, 0.6), (0.8, 1.1))),
        "unseen": (((9.5, 11.5), (17.0, 21.0)), ((7.3, 8.7), (12.5, 15.0)), (5.2, 8.0), ((0.62, 0.78), (1.15, 1.6))),
    },
    "studio": {
        "seen": (((3.0, 4.0), (5.0, 6.5)), ((2.5, 3.5), (4.5, 5.5)), (2.3, 2.8), ((0.15, 0.25), (0.35, 0.5))),
        "unseen": (((4.1, 4.9), (6.7, 8.0)), ((3.6, 4.4), (5.6, 6.5)), (2.9, 3.4), ((0.26, 0.34), (0.55, 0.75))),
    },
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Room:
    """A box with walls.

    Attributes
    ----------
    size_m
        Width, depth, height.
    reflection
        Amplitude that each of the six walls gives back: left, right, front, back, floor, ceiling.
    rt60_s
        Until the tail has fallen by 60 dB, under 1 kHz.
    high_share
        RT60 of the highs as a share of ``rt60_s``.
    """

    size_m: NDArray[np.float64]
    reflection: NDArray[np.float64]
    rt60_s: float
    high_share: float

    @property
    def critical_distance_m(self) -> float:
        """Where direct sound and tail are equally loud."""
        return 0.057 * float(np.sqrt(np.prod(self.size_m) / self.rt60_s))


def sample_room(rng: np.random.Generator, split: str, space: str) -> Room:
    """Return a room of ``space``, ``"stage"`` or ``"studio"``; those of the test split occur in no other."""
    widths, depths, height, rt60s = _SPACES[space]["unseen" if split == "test" else "seen"]
    rt60_s = rng.uniform(*rt60s[rng.integers(len(rt60s))])
    # Mean absorption from Sabine's 0.161 V / (S a), spread over the walls.
    size_m = np.array([rng.uniform(*widths[rng.integers(2)]), rng.uniform(*depths[rng.integers(2)]),
                       rng.uniform(*height)])  # fmt: skip
    w, d, h = size_m
    absorption = 0.161 * w * d * h / (rt60_s * 2.0 * (w * d + w * h + d * h))
    absorption = np.clip(absorption * rng.uniform(0.5, 1.5, 6), 0.05, 0.95)
    return Room(
        size_m=size_m,
        reflection=np.sqrt(1.0 - absorption),
        rt60_s=float(rt60_s),
        high_share=float(rng.uniform(0.35, 0.8)),
    )


def early_paths(room: Room, source_m: NDArray[np.float64], mic_m: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the direct path and six reflections of every source to every microphone.

    Parameters
    ----------
    source_m, mic_m
        Places, ``(n_sources, 3)`` and ``(n_mics, 3)``.

    Returns
    -------
    (n_sources, n_mics, N_TAPS) float32
        With the delay of the distance; the direct path has amplitude 1, reflections fall with their longer way.
    """
    images = np.repeat(source_m[:, None, :], 7, axis=1)
    for wall in range(6):
        axis, is_far = divmod(wall, 2)
        images[:, wall + 1, axis] = 2.0 * is_far * room.size_m[axis] - source_m[:, axis]
    distance_m = np.linalg.norm(images[:, None, :, :] - mic_m[None, :, None, :], axis=3)
    distance_m = np.maximum(distance_m, 0.02)
    gain_lin = np.concatenate([[1.0], room.reflection]) * distance_m[..., :1] / distance_m
    delay = np.minimum(np.rint(distance_m / SOUND_M_PER_S * SAMPLE_RATE_HZ).astype(int), N_TAPS // 2)
    taps = np.zeros((len(source_m), len(mic_m), N_TAPS), np.float32)
    s, m, _ = np.indices(delay.shape)
    np.add.at(taps, (s, m, delay), gain_lin)
    return taps


def tails(rng: np.random.Generator, room: Room) -> NDArray[np.float32]:
    """Return ``N_TAILS`` independent reverberant tails, ``(N_TAILS, n_taps) float32``, of gain 1 in the middle band."""
    n_taps = int(room.rt60_s * TAIL_CUT * SAMPLE_RATE_HZ)
    t_s = np.arange(n_taps, dtype=np.float32) / SAMPLE_RATE_HZ
    noise = rng.standard_normal((2, N_TAILS, n_taps), dtype=np.float32)
    # A running mean over 8 frames keeps what lies under about 3 kHz, its rest the highs.
    low, other_low = scipy.ndimage.uniform_filter1d(noise, 8, axis=2, mode="constant")
    decay = np.log(1e-3).astype(np.float32) / np.float32(room.rt60_s)
    tail = low * np.exp(decay * t_s) + (noise[1] - other_low) * np.exp(decay / room.high_share * t_s)
    tail[:, : int(TAIL_BEGINS_S * SAMPLE_RATE_HZ)] = 0.0
    middle = tail_power(tail, 1025)[:, round(_MIDDLE_HZ[0] / 23.4375) : round(_MIDDLE_HZ[1] / 23.4375)]
    return tail / np.sqrt(middle.mean(axis=1, keepdims=True)).astype(np.float32)


def tail_power(tail: NDArray[np.float32], n_bins: int) -> NDArray[np.float64]:
    """Return the power response of tails, ``(n_tails, n_bins)``, averaged over the width of each bin."""
    fold = -(-tail.shape[1] // (2 * (n_bins - 1)))
    fine = np.abs(np.fft.rfft(tail, fold * 2 * (n_bins - 1), axis=1)) ** 2
    return scipy.ndimage.uniform_filter1d(fine, fold, axis=1, mode="nearest")[:, ::fold]
