"""Distortion: what one sine leaves when it is fitted and taken out, and what stands between the tones of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import ProbeError, checked
from .levels import AUDIO_BAND_HZ, band_power, power_dbfs, ratio_db

MIN_TONE_OVER_REST_DB = 10.0
MIN_S = 0.5
N_HARMONICS = 9
MAX_FREQ_ERROR = 0.01  # as a share: two crystals differ by 0.0002 at most
MAX_SKIRT_RATIO = 100.0  # of the two bins beside tones to all others: a tone that sits between bins leaks into them


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """One sine through a path. Noise and harmonics are those from 20 Hz to 20 kHz.

    Parameters
    ----------
    thd_n_db
        All but the tone, in relation to the tone.
    thd_db
        Harmonics 2 to 10 that lie in the band.
    harmonics_db
        Each of them.
    """

    NAME: ClassVar[str] = "distortion"

    where: str
    freq_hz: float
    level_dbfs: float
    thd_n_db: float
    thd_db: float
    harmonics_db: tuple[float, ...]

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        return {
            "freq_hz": self.freq_hz,
            "level_dbfs": self.level_dbfs,
            "thd_n_db": self.thd_n_db,
            "thd_n_percent": 100.0 * 10.0 ** (self.thd_n_db / 20.0),
            "thd_db": self.thd_db,
        }

    def line(self) -> str:
        """Return it in one line."""
        percent = self.figures()["thd_n_percent"]
        return (
            f"{self.where}: THD+N {self.thd_n_db:.1f} dB ({percent:.4f} %), THD {self.thd_db:.1f} dB, "
            f"{self.freq_hz:.2f} Hz at {self.level_dbfs:.1f} dBFS"
        )


def measure_distortion(
    recorded: NDArray[np.floating], sample_rate_hz: float, freq_hz: float, *, where: str = "input"
) -> Distortion:
    """Measure THD+N of a steady sine.

    Parameters
    ----------
    recorded
        ``(n_frames,)`` while the tone stood: cut off its beginning and end.
    freq_hz
        What was played; the clock of the recorder may differ by 1 %.

    Raises
    ------
    ProbeError
        When the tone is not there, or too short.
    """
    frames = checked(recorded, where, min_frames=round(max(MIN_S, 20.0 / freq_hz) * sample_rate_hz))
    found_hz, tone, rest = _take_out(frames, sample_rate_hz, freq_hz)
    tone_power = float(np.mean(np.square(tone)))
    rest_power = band_power(rest, sample_rate_hz)
    over_db = ratio_db(tone_power, max(rest_power, 1e-30))
    if over_db < MIN_TONE_OVER_REST_DB or abs(found_hz / freq_hz - 1.0) > MAX_FREQ_ERROR:
        raise ProbeError(f"{where}: no steady tone of {freq_hz:.0f} Hz: it stands {over_db:.0f} dB over the rest, "
                         f"{MIN_TONE_OVER_REST_DB:.0f} are needed; check patch, level and dynamics")  # fmt: skip
    harmonics = _harmonic_powers(rest, sample_rate_hz, found_hz)
    return Distortion(
        where=where,
        freq_hz=found_hz,
        level_dbfs=power_dbfs(tone_power),
        thd_n_db=ratio_db(rest_power, tone_power),
        thd_db=ratio_db(float(np.sum(harmonics)), tone_power),
        harmonics_db=tuple(ratio_db(float(p), tone_power) for p in harmonics),
    )


def _take_out(
    frames: NDArray[np.float64], sample_rate_hz: float, freq_hz: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Fit a sine of unknown frequency by least squares (IEEE 1057-2017, 4.6: four parameters)."""
    time = np.arange(len(frames)) - (len(frames) - 1) / 2.0
    window = np.hanning(len(frames))
    spectrum = np.abs(np.fft.rfft(frames * window))
    bins = np.arange(len(spectrum)) * sample_rate_hz / len(frames)
    near = np.flatnonzero(np.abs(bins / freq_hz - 1.0) <= MAX_FREQ_ERROR + 2.0 * sample_rate_hz / len(frames) / freq_hz)
    omega = 2 * np.pi * float(bins[near[np.argmax(spectrum[near])]]) / sample_rate_hz
    for _ in range(12):
        cos, sin = np.cos(omega * time), np.sin(omega * time)
        basis = np.stack([cos, sin, np.ones_like(time)], axis=1)
        (a, b, _mean), *_ = np.linalg.lstsq(basis, frames, rcond=None)
        slope = time * (b * cos - a * sin)
        full = np.concatenate([basis, slope[:, None]], axis=1)
        step = float(np.linalg.lstsq(full, frames, rcond=None)[0][3])
        limit = 2 * np.pi / len(frames)
        omega += float(np.clip(step, -limit, limit))
        if abs(step) < 1e-14:
            break
    cos, sin = np.cos(omega * time), np.sin(omega * time)
    basis = np.stack([cos, sin, np.ones_like(time)], axis=1)
    fit, *_ = np.linalg.lstsq(basis, frames, rcond=None)
    return omega * sample_rate_hz / (2 * np.pi), basis[:, :2] @ fit[:2], frames - basis @ fit


def _harmonic_powers(rest: NDArray[np.float64], sample_rate_hz: float, freq_hz: float) -> NDArray[np.float64]:
    time = np.arange(len(rest)) / sample_rate_hz
    window = np.hanning(len(rest))
    orders = [k for k in range(2, N_HARMONICS + 2) if k * freq_hz <= min(AUDIO_BAND_HZ[1], 0.499 * sample_rate_hz)]
    sizes = [
        2.0 * abs(np.sum(rest * window * np.exp(-2j * np.pi * k * freq_hz * time))) / np.sum(window) for k in orders
    ]
    return np.square(np.array(sizes)) / 2.0


@dataclass(frozen=True, kw_only=True)
class MultitoneDistortion:
    """Many sines at once: all that stands between them, distortion of every order and noise."""

    NAME: ClassVar[str] = "multitone"

    where: str
    n_tones: int
    level_dbfs: float
    tdn_db: float

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        return {"level_dbfs": self.level_dbfs, "tdn_db": self.tdn_db}

    def line(self) -> str:
        """Return it in one line."""
        return f"{self.where}: {self.tdn_db:.1f} dB between {self.n_tones} tones at {self.level_dbfs:.1f} dBFS"


def measure_multitone(
    recorded: NDArray[np.floating], sample_rate_hz: float, bins: NDArray[np.int64], *, where: str = "input"
) -> MultitoneDistortion:
    """Measure total distortion and noise of a repeated multitone.

    Parameters
    ----------
    recorded
        ``(n_period,)``, one period while it stood, of the clock that played it.
    bins
        Of the period, as played.

    Raises
    ------
    ProbeError
        When the tones are not there, or the recorder's clock is another one.
    """
    frames = checked(recorded, where)
    power = np.square(np.abs(np.fft.rfft(frames))) * 2.0 / len(frames) ** 2
    freq_hz = np.fft.rfftfreq(len(frames), 1.0 / sample_rate_hz)
    is_tone = np.zeros(len(power), dtype=bool)
    is_tone[bins] = True
    is_rest = ~is_tone & (freq_hz >= AUDIO_BAND_HZ[0]) & (freq_hz <= AUDIO_BAND_HZ[1])
    tones, rest = float(np.sum(power[is_tone])), float(np.sum(power[is_rest]))
    if tones < 10.0 * rest:
        skirts = np.unique(np.concatenate([bins - 1, bins + 1]))
        beside, far = float(np.mean(power[skirts])), float(np.median(power[is_rest]))
        if beside > MAX_SKIRT_RATIO * far:
            raise ProbeError(f"{where}: the tones run over into their neighbours; player and recorder have two clocks, "
                             "or the recording is no whole period; use the single tone")  # fmt: skip
        raise ProbeError(f"{where}: the tones are not there: {ratio_db(tones, max(rest, 1e-30)):.0f} dB over the rest; "
                         "check patch, level and dynamics")  # fmt: skip
    _refuse_two_clocks(power, bins, is_rest, where)
    return MultitoneDistortion(
        where=where, n_tones=len(bins), level_dbfs=power_dbfs(tones), tdn_db=ratio_db(rest, tones)
    )


def _refuse_two_clocks(
    power: NDArray[np.float64], bins: NDArray[np.int64], is_rest: NDArray[np.bool_], where: str
) -> None:
    beside = np.unique(np.concatenate([bins - 1, bins + 1]))
    beside = beside[is_rest[beside]]
    near, far = float(np.median(power[beside])), float(np.median(power[is_rest]))
    # 1e-12 of a tone: rounding of 24-bit files puts nothing systematic beside the tones.
    if near > MAX_SKIRT_RATIO * max(far, 1e-12 * float(np.median(power[bins]))):
        raise ProbeError(f"{where}: the tones run over into their neighbours; player and recorder have two clocks, "
                         "or the recording is no whole period; use the single tone")  # fmt: skip
