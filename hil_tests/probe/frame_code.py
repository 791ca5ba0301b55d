"""A coded signal in which every frame has a place: 2**20 - 1 frames long, then it begins again.

The sign of a frame is a bit of a maximum length sequence: any 20 of them in a row tell the place. Its size is one of
eight steps, never that of the frame before it, so that a single frame that is lost or repeated shows at its very
place. None is zero: what is zeroed shows. At the peak that is played, -20 dB in 16 bits still leave 36 codes a step;
+20 dB does not clip.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

N_BITS = 20
PERIOD_FRAMES = 2**N_BITS - 1
N_STEPS = 8
PEAK_LIN = 0.09
_TAP = 3  # x^20 + x^3 + 1 is primitive: s[n + 20] = s[n + 3] + s[n]
_SEED = 20


@cache
def bits() -> NDArray[np.uint8]:
    """Return one period of the sequence, 0 or 1."""
    out = np.empty(PERIOD_FRAMES, np.uint8)
    out[:N_BITS] = 1
    done = N_BITS
    while done < PERIOD_FRAMES:  # as many at once as are known
        n = min(N_BITS - _TAP, PERIOD_FRAMES - done)
        last = out[done - N_BITS : done]
        out[done : done + n] = last[:n] ^ last[_TAP : _TAP + n]
        done += n
    return out


@cache
def code() -> NDArray[np.float32]:
    """Return one period as it would be played at a peak of 1."""
    sign = bits()
    random = np.random.default_rng(_SEED).integers(0, N_STEPS - 1, PERIOD_FRAMES, dtype=np.int64)
    step = np.cumsum(random + 1) % N_STEPS  # 1 to 7 on from the last, modulo 8: never the same
    if step[-1] == step[0]:  # where the period begins again
        step[-1] = next(s for s in range(N_STEPS) if s not in (step[0], step[-2]))
    return ((step + 1) * np.where(sign == 1, 1, -1) / N_STEPS).astype(np.float32)


@cache
def places() -> NDArray[np.int32]:
    """Return the place at which each 20 bits, the first one highest, begin; -1 where none do."""
    word, sign = np.zeros(PERIOD_FRAMES, np.int64), bits()
    for i in range(N_BITS):
        word = (word << 1) | np.roll(sign, -i)
    table = np.full(2**N_BITS, -1, np.int32)
    table[word] = np.arange(PERIOD_FRAMES, dtype=np.int32)
    return table


def coded_frames(first_frame: int, n_frames: int) -> NDArray[np.float32]:
    """Return part of the endless signal, ``(n_frames,)``, at the peak that is played."""
    return np.take(code(), np.arange(first_frame, first_frame + n_frames), mode="wrap") * np.float32(PEAK_LIN)


def places_of(frames: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return the place at which each 20 frames in a row begin, by their signs alone, ``(n_frames - 19,)``."""
    sign, n = (frames > 0).astype(np.int64), len(frames) - N_BITS + 1
    word = np.zeros(max(n, 0), np.int64)
    for i in range(N_BITS if n > 0 else 0):
        word = (word << 1) | sign[i : i + n]
    return np.asarray(places()[word])
