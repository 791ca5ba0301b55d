"""Gains and pans of a mix in closed form: the least squares of aligned stems on each side of it.

``(X X^T + r I) g = X y`` for left and right; level and position of a channel follow from its two gains by the pan law.
Exact for a mix that is a weighted sum; with equalised and compressed channels the gain is the projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.reference.loudness import k_sections

Array = NDArray[np.float64]

RIDGE = 1e-6  # of a channel's own energy
PULL_RIDGE = 0.02  # of a window's energy: how much a window believes the whole
SILENT_DB = -60.0  # a channel this far under the loudest has no label
PREEMPHASIS = 0.95  # flattens the fall of music's spectrum, so that the lows do not decide alone
OFF_DB = -90.0
BLOCK_FRAMES = 65536
FFT_FRAMES = 2048
N_BANDS, LOWEST_HZ, HIGHEST_HZ = 12, 40.0, 18000.0
SHORT_S = 0.3  # short against most releases, long enough to tell twenty channels apart


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Level and position of each channel in a mix.

    Attributes
    ----------
    side_gain_lin
        Left and right gain, ``(n_channels, 2)``.
    gain_db
        Level by the pan law: 0 dB is a channel at unity; -90 is off. ``(n_channels,)``.
    pan
        -1 left to 1 right, ``(n_channels,)``; 0 where the channel is off.
    confidence
        0 to 1 a channel: low where another channel moves alike, or where the residual drowns it.
    residual_db
        Power of what the channels do not explain, relative to the mix.
    condition
        Condition number of the channels' correlations.
    """

    side_gain_lin: Array
    gain_db: Array
    pan: Array
    confidence: Array
    residual_db: float
    condition: float


@dataclass
class Correlations:
    """Energies that the solution needs, summed over a stretch of sound; they add up."""

    stems: Array  # (2, n_channels, n_channels): of left and of right sides
    cross: Array  # (2, n_channels)
    mix: Array  # (2,)
    n_frames: int = 0

    def __add__(self, other: Correlations) -> Correlations:
        return Correlations(
            self.stems + other.stems, self.cross + other.cross, self.mix + other.mix, self.n_frames + other.n_frames
        )


def preemphasised(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return ``x[n] - PREEMPHASIS x[n-1]`` along the first axis, silence before."""
    y = x.copy()
    y[1:] -= PREEMPHASIS * x[:-1]
    return y


def correlations(stems: Sequence[NDArray[np.floating]], mix: NDArray[np.floating]) -> Correlations:
    """Return the energies of a stretch.

    Parameters
    ----------
    stems
        One array a channel, ``(n_frames, 1 or 2)``.
    mix
        ``(n_frames, 2)``.
    """
    n = len(stems)
    total = Correlations(np.zeros((2, n, n)), np.zeros((2, n)), np.zeros(2))
    for begin in range(0, len(mix), BLOCK_FRAMES):
        part = slice(begin, begin + BLOCK_FRAMES)
        for side in range(2):
            columns = [stem[part, side % stem.shape[1]] for stem in stems] + [mix[part, side]]
            x = preemphasised(np.stack(columns, axis=1).astype(np.float64))
            gram = x.T @ x
            total.stems[side] += gram[:-1, :-1]
            total.cross[side] += gram[:-1, -1]
            total.mix[side] += gram[-1, -1]
    total.n_frames = len(mix)
    return total


def _solved(c: Correlations, pull: Array | None) -> tuple[Array, Array, float]:
    """Return side gains, how well each is determined, and the condition number."""
    n = c.stems.shape[1]
    energy = np.einsum("sii->i", c.stems)
    heard = energy > energy.max(initial=0.0) * 10 ** (SILENT_DB / 10)
    gains, determined, condition = np.zeros((n, 2)), np.zeros(n), 1.0
    if pull is not None:
        gains[:] = pull
    if not heard.any():
        return gains, determined, condition
    chosen = np.flatnonzero(heard)
    worth = np.ones(len(chosen))
    for side in range(2):
        gram = c.stems[side][np.ix_(chosen, chosen)]
        own = np.sqrt(np.maximum(np.diag(gram), 1e-30))
        normal = gram / np.outer(own, own)
        target = c.cross[side][chosen] / own
        ridge = RIDGE
        if pull is not None:
            # In a window where a channel is soft, the whole speaks for it.
            ridge = PULL_RIDGE
            target = target + ridge * pull[chosen, side] * own
        matrix = normal + ridge * np.eye(len(chosen))
        gains[chosen, side] = np.linalg.solve(matrix, target) / own
        condition = max(condition, float(np.linalg.cond(normal + RIDGE * np.eye(len(chosen)))))
        worth = np.minimum(worth, 1 / np.diag(np.linalg.inv(matrix)))  # 1 - R^2 against the other channels
    determined[chosen] = worth
    return gains, determined, condition


def residual_energy(c: Correlations, gains: Array) -> float:
    """Return the energy of the mix less the channels at ``gains``."""
    parts = [
        c.mix[side] - 2 * gains[:, side] @ c.cross[side] + gains[:, side] @ c.stems[side] @ gains[:, side]
        for side in range(2)
    ]
    return float(max(sum(parts), 0.0))


def level_and_pan(side_gain_lin: Array, is_stereo: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return gain_db and pan of side gains ``(n_channels, 2)``, by the mixer's pan laws."""
    left, right = np.abs(side_gain_lin[:, 0]), np.abs(side_gain_lin[:, 1])
    level_lin = np.where(is_stereo, np.maximum(left, right), np.hypot(left, right))
    angle_pan = np.arctan2(right, left) * 4 / np.pi - 1
    softer = np.minimum(left, right) / np.maximum(np.maximum(left, right), 1e-12)
    balance = np.arccos(np.clip(softer / np.sqrt(2), 0, np.sqrt(0.5))) * 4 / np.pi - 1
    pan = np.where(is_stereo, np.sign(right - left) * balance, angle_pan)
    with np.errstate(divide="ignore"):
        gain_db = np.maximum(20 * np.log10(level_lin), OFF_DB)
    return gain_db, np.where(level_lin > 0, pan, 0.0)


def solve(c: Correlations, is_stereo: NDArray[np.bool_], pull: Array | None = None) -> Balance:
    """Return the balance of a stretch; ``pull`` are side gains to lean on where the stretch says little."""
    gains, determined, condition = _solved(c, pull)
    residual = residual_energy(c, gains)
    explained = np.einsum("cs,scc,cs->c", gains, c.stems, gains)
    drowned = explained * determined / (explained * determined + residual + 1e-30)
    gain_db, pan = level_and_pan(gains, is_stereo)
    return Balance(
        side_gain_lin=gains,
        gain_db=gain_db,
        pan=pan,
        confidence=np.sqrt(determined * drowned),
        residual_db=float(10 * np.log10(residual / (c.mix.sum() + 1e-30) + 1e-12)),
        condition=condition,
    )


def balance(stems: Sequence[NDArray[np.floating]], mix: NDArray[np.floating]) -> Balance:
    """Return the balance of a whole mix; shapes as ``correlations``."""
    return solve(correlations(stems, mix), _is_stereo(stems))


def balances(
    stems: Sequence[NDArray[np.floating]], mix: NDArray[np.floating], bounds: Sequence[tuple[int, int]]
) -> tuple[Balance, list[Balance]]:
    """Return the balance of the whole and of each stretch ``(begin, end)`` of frames."""
    parts = [correlations([stem[a:b] for stem in stems], mix[a:b]) for a, b in bounds]
    whole = solve(correlations(stems, mix), _is_stereo(stems))
    return whole, [solve(part, _is_stereo(stems), whole.side_gain_lin) for part in parts]


def _is_stereo(stems: Sequence[NDArray[np.floating]]) -> NDArray[np.bool_]:
    return np.array([stem.shape[1] == 2 for stem in stems])


def loudness_gain_db(
    stems: Sequence[NDArray[np.floating]], mix: NDArray[np.floating], sample_rate_hz: float, pull: Array
) -> Array:
    """Return by how much each channel is louder in the mix than its stem, whatever EQ and compressor did to it.

    Least squares in N_BANDS logarithmic bands and stretches of time; their energies, K-weighted, add
    up to the level. ``pull`` are side gains to lean on where a stretch says little.
    """
    window = np.hanning(FFT_FRAMES + 1)[:-1]
    hops = np.arange(0, len(mix) - FFT_FRAMES + 1, FFT_FRAMES // 2)
    freq_hz = np.fft.rfftfreq(FFT_FRAMES, 1 / sample_rate_hz)
    band_of = np.searchsorted(np.geomspace(LOWEST_HZ, HIGHEST_HZ, N_BANDS + 1), freq_hz) - 1
    weight = _k_power(freq_hz, sample_rate_hz)
    n, per_stretch = len(stems), max(round(SHORT_S * sample_rate_hz / (FFT_FRAMES // 2)), 1)
    before, after = np.zeros(n), np.zeros(n)
    for first in range(0, len(hops), per_stretch):
        at = hops[first : first + per_stretch]
        for side in range(2):
            lanes = [stem[:, side % stem.shape[1]] for stem in stems] + [mix[:, side]]
            frames = np.stack([np.stack([lane[b : b + FFT_FRAMES] for b in at]) for lane in lanes])
            spectra = np.fft.rfft(frames * window, axis=-1)
            for band in range(N_BANDS):
                bins = band_of == band
                x = spectra[:, :, bins] * np.sqrt(weight[bins])
                x = x.reshape(n + 1, -1)
                gram = (x @ x.conj().T).real
                own = np.sqrt(np.maximum(np.diag(gram)[:n], 1e-30))
                normal = gram[:n, :n] / np.outer(own, own) + PULL_RIDGE * np.eye(n)
                target = gram[:n, n] / own + PULL_RIDGE * pull[:, side] * own
                gains = np.linalg.solve(normal, target) / own
                after += gains**2 * own**2
                before += own**2
    with np.errstate(divide="ignore", invalid="ignore"):
        # Both sides of a mono stem count its energy, and the gains of both sides add up to its level.
        sides = np.array([2.0 if stem.shape[1] == 1 else 1.0 for stem in stems])
        return np.where(before > 0, np.maximum(10 * np.log10(sides * after / before), OFF_DB), OFF_DB)


def _k_power(freq_hz: Array, sample_rate_hz: float) -> Array:
    """Return the K-weighting as a power gain at ``freq_hz``."""
    z = np.exp(-2j * np.pi * freq_hz / sample_rate_hz)
    response = np.ones(len(z), complex)
    for section in k_sections(sample_rate_hz):
        response *= np.polyval(section[2::-1], z) / np.polyval(section[:2:-1], z)
    return np.abs(response) ** 2
