"""A mix in five numbers and its distance to another; and the distance between two sets of mixes.

RMS, crest factor, width, imbalance and Bark spectrum, with the weights of the AF loss (Diff-MST); mean and spread of
published mixes to standardise with (MEGAMI); kernel audio distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .framing import Array, as_stereo, frames_of, magnitudes

N_FFT = 32768
N_BARK = 24
LOW_HZ, HIGH_HZ = 20.0, 20000.0
EPS = 1e-8
WEIGHTS = {"rms": 0.1, "crest_db": 0.001, "width": 1.0, "imbalance": 1.0, "bark": 0.1}
# Mean and standard deviation over published mixes.
PRIORS = {
    "log_rms_db": (-26.5, 7.0), "crest_db": (16.7, 6.3), "spread_db": (-20.0, 20.0), "width": (0.28, 0.39),
    "imbalance": (0.0, 0.35),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AudioFeatures:
    """``bark`` is ``(2, 24)``: natural logarithm of the mean magnitude of middle and side in each band."""

    rms: float
    crest_db: float
    width: float
    imbalance: float
    bark: Array
    log_rms_db: float
    spread_db: float

    def standardised(self) -> Array:
        """Return the five scalars of ``PRIORS`` as z scores."""
        return np.array([(getattr(self, name) - mean) / sd for name, (mean, sd) in PRIORS.items()])

    def vector(self) -> Array:
        """Return z scores and Bark spectra as one vector, for ``kernel_audio_distance``."""
        return np.concatenate([self.standardised(), self.bark.ravel()])


def bark_filters(rate_hz: float) -> Array:
    """Return triangles of equal width on the Bark scale, 20 Hz to 20 kHz, ``(24, N_FFT / 2 + 1)``."""
    freq_hz = np.fft.rfftfreq(N_FFT, 1 / rate_hz)
    bark = 6 * np.arcsinh(freq_hz / 600)
    edges = np.linspace(6 * np.arcsinh(LOW_HZ / 600), 6 * np.arcsinh(HIGH_HZ / 600), N_BARK + 2)
    step = edges[1] - edges[0]
    return np.maximum(0.0, 1 - np.abs(bark - edges[1:-1, None]) / step)


def measure(x: NDArray[np.floating], rate_hz: float) -> AudioFeatures:
    """Return the features of a mix ``(n_frames, 1 or 2)``."""
    stereo = as_stereo(x)
    left, right = stereo.T
    middle, side = left + right, left - right
    rms = np.sqrt(np.mean(stereo**2))
    energy_left, energy_right = np.mean(left**2), np.mean(right**2)
    filters = bark_filters(rate_hz)
    bark = [np.log(EPS + filters @ magnitudes(part, N_FFT, N_FFT // 4).mean(axis=0)) for part in (middle, side)]
    level_db, spread_db = _gated(stereo, rate_hz)
    return AudioFeatures(
        rms=float(rms),
        crest_db=float(20 * np.log10(max(np.abs(stereo).max(), EPS) / max(rms, EPS))),
        width=float(np.mean(side**2) / max(np.mean(middle**2), EPS)),
        imbalance=float((energy_right - energy_left) / max(energy_right + energy_left, EPS)),
        bark=np.array(bark),
        log_rms_db=level_db,
        spread_db=spread_db,
    )


def _gated(stereo: Array, rate_hz: float) -> tuple[float, float]:
    """Return the loudest 400 ms, dB, and the mean level of its samples relative to it, dB."""
    framed = frames_of(stereo, int(0.4 * rate_hz), int(0.1 * rate_hz))
    power = np.array([np.mean(frame**2) for frame in framed])
    loudest = framed[int(power.argmax())]
    level_db = 10 * np.log10(max(power.max(), EPS**2))
    return float(level_db), float(np.mean(20 * np.log10(np.maximum(np.abs(loudest), EPS))) - level_db)


def af_loss(mix: AudioFeatures, reference: AudioFeatures) -> float:
    """Return the weighted sum of squared differences."""
    return float(
        sum(
            weight * np.mean((np.asarray(getattr(mix, name)) - np.asarray(getattr(reference, name))) ** 2)
            for name, weight in WEIGHTS.items()
        )
    )


def kernel_audio_distance(mixes: Array, references: Array) -> float:
    """Return 100 times the unbiased squared MMD of two sets of vectors ``(n, k)``, n at least 2.

    Gaussian kernel; its bandwidth is the median distance between two of ``references``.
    """
    within = _squared_distances(references, references)
    bandwidth_squared = np.median(np.sqrt(within[np.triu_indices(len(references), 1)])) ** 2

    def kernel(a: Array, b: Array) -> Array:
        return np.exp(-_squared_distances(a, b) / (2 * bandwidth_squared))

    def without_diagonal(a: Array) -> float:
        k = kernel(a, a)
        return float((k.sum() - np.trace(k)) / (len(a) * (len(a) - 1)))

    return 100 * (without_diagonal(mixes) + without_diagonal(references) - 2 * float(kernel(mixes, references).mean()))


def _squared_distances(a: Array, b: Array) -> Array:
    return np.maximum(np.sum((a[:, None, :] - b[None, :, :]) ** 2, axis=2), 0.0)
