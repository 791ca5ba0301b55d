"""Frequency response of a path from one swept sine: magnitude, phase, group delay, and how sure each point is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .arrival import impulse_response, measure_arrival
from .errors import ProbeError, checked
from .levels import AUDIO_BAND_HZ

BEFORE_S = 0.1  # harmonics of the path arrive 0.33 s before; what a filter rings before its peak fits in
AFTER_S = 0.6  # a resonance that rings longer is cut
TAIL_S = 1.6  # silence to record after the sweep: what rings, and as much of noise alone
POINTS_PER_OCTAVE = 24
MAX_UNCERTAINTY_DB = 0.5
_REGULARISATION = 1e-12


@dataclass(frozen=True, kw_only=True)
class Response:
    """A path over frequency.

    Parameters
    ----------
    freq_hz, magnitude_db, phase_rad, group_delay_ms, uncertainty_db
        ``(n_points,)`` each. The phase is that which is left when the latency is taken out; the group delay holds it.
    """

    NAME: ClassVar[str] = "response"

    where: str
    latency_frames: int
    freq_hz: NDArray[np.float64]
    magnitude_db: NDArray[np.float64]
    phase_rad: NDArray[np.float64]
    group_delay_ms: NDArray[np.float64]
    uncertainty_db: NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on: level at 1 kHz, and the deviation from it."""
        at_1khz_db = float(np.interp(1000.0, self.freq_hz, self.magnitude_db))
        return {
            "at_1khz_db": at_1khz_db,
            "above_1khz_level_db": float(np.max(self.magnitude_db)) - at_1khz_db,
            "below_1khz_level_db": float(np.min(self.magnitude_db)) - at_1khz_db,
            "worst_uncertainty_db": float(np.max(self.uncertainty_db)),
        }

    def line(self) -> str:
        """Return it in one line."""
        f = self.figures()
        return (
            f"{self.where}: {f['at_1khz_db']:+z.2f} dB at 1 kHz, {f['below_1khz_level_db']:+z.2f} to "
            f"{f['above_1khz_level_db']:+z.2f} dB from {self.freq_hz[0]:.0f} Hz to {self.freq_hz[-1]:.0f} Hz, "
            f"sure within {f['worst_uncertainty_db']:.3f} dB"
        )


def measure_response(
    played: NDArray[np.floating],
    recorded: NDArray[np.floating],
    sample_rate_hz: float,
    *,
    where: str = "input",
    band_hz: tuple[float, float] = AUDIO_BAND_HZ,
) -> Response:
    """Measure a path with a sweep.

    Parameters
    ----------
    played
        ``(n_frames,)``, `signals.sweep`.
    recorded
        ``(n_frames + latency + TAIL_S,)``; 0.05 dB at any signal-to-noise ratio that `Response.uncertainty_db` allows.

    Raises
    ------
    ProbeError
        When nothing came back, or noise makes a point of the band unsure by more than half a dB.
    """
    signal = checked(played, "what was played")
    arrival = measure_arrival(signal, recorded, sample_rate_hz, where=where)
    before, after = round(BEFORE_S * sample_rate_hz), round(AFTER_S * sample_rate_hz)
    needed = len(signal) + arrival.latency_frames + 2 * after + before
    frames = checked(recorded, where, min_frames=needed)
    response = impulse_response(signal, frames, regularisation=_REGULARISATION)
    start = arrival.latency_frames - before
    gate = _gate(before, after)
    taps = np.take(response, np.arange(start, start + len(gate)), mode="wrap") * gate
    noise = np.take(response, np.arange(start, start + len(gate)) + len(gate), mode="wrap") * gate

    n_fft = int(2 ** np.ceil(np.log2(4 * len(gate))))
    bins = _bins(n_fft, sample_rate_hz, band_hz)
    lag = np.arange(len(gate)) - before
    spectrum = np.fft.rfft(taps, n_fft)[bins]
    slope = np.fft.rfft(taps * lag, n_fft)[bins]
    spectrum *= np.exp(2j * np.pi * bins * before / n_fft)
    slope *= np.exp(2j * np.pi * bins * before / n_fft)
    size = np.maximum(np.abs(spectrum), 1e-30)
    unsure = 2.0 * _smooth(np.abs(np.fft.rfft(noise, n_fft)), bins) / size
    uncertainty_db = 20.0 * np.log10(1.0 + unsure)
    freq_hz = bins * sample_rate_hz / n_fft
    _refuse_unsure(freq_hz, uncertainty_db, where)
    delay_frames = np.real(slope / np.where(size > 1e-30, spectrum, 1.0)) + arrival.latency_frames
    return Response(
        where=where,
        latency_frames=arrival.latency_frames,
        freq_hz=freq_hz,
        magnitude_db=20.0 * np.log10(size),
        phase_rad=np.unwrap(np.angle(spectrum)),
        group_delay_ms=1000.0 * delay_frames / sample_rate_hz,
        uncertainty_db=uncertainty_db,
    )


def _gate(before: int, after: int) -> NDArray[np.float64]:
    gate = np.ones(before + after)
    gate[: before // 2] = np.sin(np.linspace(0, np.pi / 2, before // 2)) ** 2
    gate[-(after // 4) :] = np.cos(np.linspace(0, np.pi / 2, after // 4)) ** 2
    return gate


def _bins(n_fft: int, sample_rate_hz: float, band_hz: tuple[float, float]) -> NDArray[np.int64]:
    n_points = round(POINTS_PER_OCTAVE * np.log2(band_hz[1] / band_hz[0])) + 1
    bins = np.rint(np.geomspace(*band_hz, n_points) * n_fft / sample_rate_hz).astype(np.int64)
    return np.unique(np.clip(bins, 1, n_fft // 2 - 1))


def _smooth(size: NDArray[np.float64], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the RMS over a twelfth of an octave around each bin, at least 16 bins."""
    total = np.concatenate(([0.0], np.cumsum(np.square(size))))
    half = np.maximum(8, (bins * 0.03).astype(np.int64))
    low, high = np.maximum(bins - half, 0), np.minimum(bins + half, len(size) - 1)
    return np.asarray(np.sqrt((total[high] - total[low]) / (high - low)))


def _refuse_unsure(freq_hz: NDArray[np.float64], uncertainty_db: NDArray[np.float64], where: str) -> None:
    bad = uncertainty_db > MAX_UNCERTAINTY_DB
    if not bad.any():
        return
    worst = int(np.argmax(uncertainty_db))
    raise ProbeError(
        f"{where}: noise leaves the response unsure by {uncertainty_db[worst]:.1f} dB at {freq_hz[worst]:.0f} Hz "
        f"({np.count_nonzero(bad)} of {len(freq_hz)} points over {MAX_UNCERTAINTY_DB} dB); play louder or longer, "
        "or name a narrower band"
    )
