"""Where a signal comes back: latency exact to the frame, gain, polarity. And when that cannot be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from .errors import ProbeError, checked
from .levels import ratio_db

# The largest of 100,000 lags of plain noise stands 13 dB over its deviation; 20 dB is no accident.
MIN_PEAK_OVER_NOISE_DB = 20.0
AMBIGUOUS_DB = 1.0  # two peaks as near as this are not told apart
NEAR_S = 0.002  # a filter rings so long around its peak
_REGULARISATION = 1e-2  # of the mean power: noise is not blown up where the signal has nothing
_FINE = 32  # steps a frame of the estimate between frames


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """How a signal came back on one input.

    Parameters
    ----------
    latency_frames
        To the largest peak of the impulse response.
    fine_latency_frames
        The same between the frames; a filter in the path moves it.
    polarity
        1, -1, or 0 where peaks of both signs are alike.
    """

    NAME: ClassVar[str] = "latency"

    where: str
    sample_rate_hz: float
    latency_frames: int
    fine_latency_frames: float
    gain_db: float
    polarity: int
    peak_over_noise_db: float

    @property
    def latency_ms(self) -> float:
        """Return the latency in time."""
        return 1000.0 * self.latency_frames / self.sample_rate_hz

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        return {
            "latency_frames": self.latency_frames,
            "fine_latency_frames": self.fine_latency_frames,
            "latency_ms": self.latency_ms,
            "gain_db": self.gain_db,
            "polarity": self.polarity,
            "peak_over_noise_db": self.peak_over_noise_db,
        }

    def line(self) -> str:
        """Return it in one line."""
        sign = {1: "normal", -1: "inverted", 0: "polarity unclear"}[self.polarity]
        return (
            f"{self.where}: {self.latency_frames} frames ({self.latency_ms:.2f} ms; "
            f"fine {self.fine_latency_frames:.2f}), {self.gain_db:+z.2f} dB, {sign}"
        )


def impulse_response(
    played: NDArray[np.floating], recorded: NDArray[np.floating], *, regularisation: float
) -> NDArray[np.float64]:
    """Return the response by division of spectra; negative lags at its end."""
    n = int(next_fast_len(len(played) + len(recorded), real=True))
    spectrum = np.fft.rfft(played, n)
    power = np.square(np.abs(spectrum))
    across = np.fft.rfft(recorded, n) * np.conj(spectrum)
    return np.asarray(np.fft.irfft(across / (power + regularisation * np.mean(power)), n))


def measure_arrival(
    played: NDArray[np.floating], recorded: NDArray[np.floating], sample_rate_hz: float, *, where: str = "input"
) -> Arrival:
    """Find a wide-band signal (MLS, sweep, noise) in what came back.

    Parameters
    ----------
    played, recorded
        ``(n_frames,)``, both from the same frame on; the recording goes on until the signal is over.

    Raises
    ------
    ProbeError
        When nothing came back, it came twice alike, before it was played, or the recording ends too soon.
    """
    signal = checked(played, "what was played")
    frames = checked(recorded, where, min_frames=len(signal))
    response = impulse_response(signal, frames, regularisation=_REGULARISATION)
    size = np.abs(response)
    peak = int(np.argmax(size))
    noise = float(np.median(size)) / 0.6745  # of a normal distribution: its deviation
    over_noise_db = ratio_db(float(size[peak]) ** 2, max(noise, 1e-30) ** 2)
    if over_noise_db < MIN_PEAK_OVER_NOISE_DB:
        raise ProbeError(
            f"nothing came back on {where}: the best match stands {over_noise_db:.0f} dB over chance, "
            f"{MIN_PEAK_OVER_NOISE_DB:.0f} are needed; check patch and level, or play longer"
        )
    if peak >= len(frames):
        raise ProbeError(f"{where}: came back {len(response) - peak} frames before it was played; "
                         "played and recorded do not begin at the same frame")  # fmt: skip
    if peak > len(frames) - len(signal):
        raise ProbeError(f"{where}: the recording ends before the signal has come back; record "
                         f"{peak + len(signal) - len(frames)} frames more")  # fmt: skip
    near = round(NEAR_S * sample_rate_hz)
    _refuse_two(size, peak, near, where)
    return Arrival(
        where=where,
        sample_rate_hz=sample_rate_hz,
        latency_frames=peak,
        fine_latency_frames=_between_frames(response, peak),
        gain_db=_gain_db(signal, response, peak, near),
        polarity=_polarity(response, peak, near),
        peak_over_noise_db=over_noise_db,
    )


def _refuse_two(size: NDArray[np.float64], peak: int, near: int, where: str) -> None:
    rest = size.copy()
    rest[max(0, peak - near) : peak + near + 1] = 0.0
    other = int(np.argmax(rest))
    if rest[other] > 0 and ratio_db(float(size[peak]) ** 2, float(rest[other]) ** 2) < AMBIGUOUS_DB:
        first, second = sorted((peak, other))
        raise ProbeError(f"{where}: two arrivals of like level, after {first} and {second} frames; which is the path "
                         "cannot be told; look for a second patch or an echo")  # fmt: skip


def _polarity(response: NDArray[np.float64], peak: int, near: int) -> int:
    around = response[max(0, peak - near) : peak + near + 1]
    most, least = float(np.max(around)), float(-np.min(around))
    if min(most, least) > 0 and abs(20.0 * np.log10(most / least)) < AMBIGUOUS_DB:
        return 0
    return 1 if most > least else -1


def _gain_db(signal: NDArray[np.float64], response: NDArray[np.float64], peak: int, near: int) -> float:
    """Return the gain over the band of the signal: what 4 ms of response explain, in relation to those of a wire."""
    power = np.square(np.abs(np.fft.rfft(signal, len(response))))
    wire = np.fft.irfft(power / (power + _REGULARISATION * np.mean(power)), len(response))
    around = np.arange(-near, near + 1)

    def came(taps: NDArray[np.float64], at: int) -> float:
        spectrum = np.fft.rfft(np.take(taps, at + around, mode="wrap"), len(response))
        return float(np.sum(power * np.square(np.abs(spectrum))))

    return ratio_db(came(response, peak), came(np.asarray(wire), 0))


def _between_frames(response: NDArray[np.float64], peak: int) -> float:
    """Return the top of the band-limited curve through the frames around a peak."""
    lags = np.arange(-16, 17)
    around = np.take(response, peak + lags, mode="wrap") * np.sign(response[peak])
    steps = np.arange(-_FINE, _FINE + 1) / _FINE
    kernel = np.sinc(steps[:, None] - lags) * (0.5 + 0.5 * np.cos(np.pi * (steps[:, None] - lags) / 17.5))
    curve = kernel @ around
    top = int(np.argmax(curve))
    if top in (0, len(curve) - 1):
        return float(peak + steps[top])
    left, mid, right = curve[top - 1 : top + 2]
    bend = left - 2 * mid + right
    return float(peak + steps[top] + (0.5 * (left - right) / bend / _FINE if bend < 0 else 0.0))
