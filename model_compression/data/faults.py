"""What goes wrong on the way from a source to its channel: wrong gain, bent tone, hum, hiss, clipping, dropouts.

Linear faults become factors of a spectrum (``response``); the others are done to the sound (``spoil``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import TONE_REGIONS_HZ

from .performance import SAMPLE_RATE_HZ

BELL_Q = 0.9  # of the tone regions, in the console as well: what bends here is undone by the same bell
TONE_FAULT_DB = 8.0
CLEAN_DB = 50.0  # hiss of a channel without fault lies so far under its source, or farther

DIFFICULTIES = ("clean", "bleed", "hard")
# gain_db: largest. The rest: how probable a fault is.
_BY_DIFFICULTY = {
    "clean": {"gain_db": 8.0, "tone": 0.15, "tilt": 0.1, "drift": 0.0, "hum": 0.02, "hiss": 0.05, "clip": 0.0,
              "dropout": 0.0, "flip": 0.05, "limited": 0.05},
    "bleed": {"gain_db": 12.0, "tone": 0.4, "tilt": 0.3, "drift": 0.1, "hum": 0.1, "hiss": 0.2, "clip": 0.03,
              "dropout": 0.02, "flip": 0.1, "limited": 0.1},
    "hard": {"gain_db": 15.0, "tone": 0.65, "tilt": 0.5, "drift": 0.2, "hum": 0.25, "hiss": 0.4, "clip": 0.15,
             "dropout": 0.12, "flip": 0.15, "limited": 0.15},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Of one channel.

    Attributes
    ----------
    gain_db
        Of its preamp, relative to the right one.
    tone_db
        Bells at ``TONE_REGIONS_HZ``, q 0.9.
    tilt_db
        What the top gains and the bottom loses around 1 kHz; not among the faults that truth undoes one by one.
    drift_db
        Gain wanders by as much to either side over the session.
    hum_dbfs, hum_hz
        Mains, with overtones; None without.
    hiss_db
        Under the source's own loudness.
    clip_db
        How far peaks pass the end of the preamp; 0 without.
    dropouts_s
        ``((begin_s, end_s), ...)``.
    polarity
        1 or -1.
    limited_hz
        Where a narrow-band source ends; None without.
    """

    gain_db: float = 0.0
    tone_db: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    tilt_db: float = 0.0
    drift_db: float = 0.0
    hum_dbfs: float | None = None
    hum_hz: int = 50
    hiss_db: float = 70.0
    clip_db: float = 0.0
    dropouts_s: tuple[tuple[float, float], ...] = ()
    polarity: int = 1
    limited_hz: float | None = None


def sample_faults(
    rng: np.random.Generator, difficulty: str, *, duration_s: float, hum_hz: int, can_be_limited: bool
) -> Faults:
    """Return what is wrong with a channel of a session of ``difficulty``.

    Parameters
    ----------
    hum_hz
        Of the mains where the session takes place.
    can_be_limited
        Whether the source may come over a narrow line, as voices do.
    """
    odds = _BY_DIFFICULTY[difficulty]
    happens = {name: rng.random() < odds[name] for name in odds if name != "gain_db"}
    tone = rng.uniform(-TONE_FAULT_DB, TONE_FAULT_DB, 4) * (rng.random(4) < 0.5) * happens["tone"]
    drops = np.sort(rng.uniform(0.0, max(duration_s - 0.5, 0.0), rng.integers(1, 4)))
    lengths_s = rng.uniform(0.02, 0.4, len(drops))
    return Faults(
        gain_db=float(rng.uniform(-odds["gain_db"], odds["gain_db"])),
        tone_db=(float(tone[0]), float(tone[1]), float(tone[2]), float(tone[3])),
        tilt_db=float(rng.uniform(-3.0, 3.0) * happens["tilt"]),
        drift_db=float(rng.uniform(0.5, 3.0) * happens["drift"]),
        hum_dbfs=float(rng.uniform(-75.0, -48.0)) if happens["hum"] else None,
        hum_hz=hum_hz,
        hiss_db=float(rng.uniform(25.0, 45.0) if happens["hiss"] else rng.uniform(CLEAN_DB, 80.0)),
        clip_db=float(rng.uniform(2.0, 10.0) * happens["clip"]),
        dropouts_s=tuple(zip(drops.tolist(), (drops + lengths_s).tolist(), strict=True)) if happens["dropout"] else (),
        polarity=-1 if happens["flip"] else 1,
        limited_hz=float(rng.choice([3400.0, 3800.0, 7600.0, 7800.0]))
        if happens["limited"] and can_be_limited
        else None,
    )


def bell_sos(freq_hz: float, gain_db: float, q: float = BELL_Q) -> NDArray[np.float64]:
    """Return one biquad section of a peaking bell: Bristow-Johnson's cookbook, the shape of the console's bell."""
    amplitude = 10.0 ** (gain_db / 40.0)
    omega = 2.0 * np.pi * freq_hz / SAMPLE_RATE_HZ
    alpha = np.sin(omega) / (2.0 * q)
    b = [1.0 + alpha * amplitude, -2.0 * np.cos(omega), 1.0 - alpha * amplitude]
    a = [1.0 + alpha / amplitude, -2.0 * np.cos(omega), 1.0 - alpha / amplitude]
    return np.array([b + a]) / a[0]


def one_pole_response(z: NDArray[np.complex128], corner_hz: float) -> NDArray[np.complex128]:
    """Return a first-order low-pass at the unit-circle points ``z``; 1 at 0 Hz."""
    pole = np.exp(-2.0 * np.pi * corner_hz / SAMPLE_RATE_HZ)
    return (1.0 - pole) / (1.0 - pole / z)


def circle(n_bins: int) -> NDArray[np.complex128]:
    """Return the points of the unit circle that a real FFT of ``2 (n_bins - 1)`` frames reads."""
    return np.exp(1j * np.pi * np.arange(n_bins) / (n_bins - 1))


def response(faults: Faults, z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return tone, tilt and polarity of a channel as a spectrum at the points ``z``."""
    spectrum = np.full(len(z), complex(faults.polarity))
    for freq_hz, gain_db in zip(TONE_REGIONS_HZ, faults.tone_db, strict=True):
        if gain_db != 0.0:
            spectrum *= _section(bell_sos(freq_hz, gain_db)[0], z)
    if faults.tilt_db != 0.0:
        low = one_pole_response(z, 1000.0)
        spectrum *= low * 10.0 ** (-faults.tilt_db / 20.0) + (1.0 - low) * 10.0 ** (faults.tilt_db / 20.0)
    return spectrum


def limited_response(limited_hz: float, z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return what a narrow line leaves of its source."""
    spectrum = np.ones(len(z), complex)
    for section in scipy.signal.butter(8, limited_hz, fs=SAMPLE_RATE_HZ, output="sos"):
        spectrum *= _section(section, z)
    return spectrum


def _section(sos: NDArray[np.float64], z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    b, a = sos[:3], sos[3:]
    return (b[0] + b[1] / z + b[2] / z**2) / (a[0] + a[1] / z + a[2] / z**2)


class Noise:
    """Hiss for many channels from one long draw: each takes another stretch, seconds apart from the others'."""

    def __init__(self, rng: np.random.Generator, n_frames: int) -> None:
        white = rng.standard_normal(n_frames, dtype=np.float32)
        # Preamps and rooms hiss with a little more at the bottom: white, plus its own running mean.
        self._noise = white + np.convolve(white, np.full(16, 0.12, np.float32), "same")
        self._noise /= float(np.sqrt(np.mean(self._noise**2)))

    def take(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return noise of RMS 1."""
        return np.roll(self._noise, int(rng.integers(len(self._noise))))


def hum(n_frames: int, freq_hz: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return mains hum of RMS 1: the fundamental and overtones that fall by 4 to 10 dB, odd ones stronger."""
    period = SAMPLE_RATE_HZ // freq_hz
    phase = 2.0 * np.pi * np.arange(period) / period
    fall_db = rng.uniform(4.0, 10.0)
    wave = np.zeros(period)
    for n in range(1, 9):
        level_db = -fall_db * (n - 1) / 2.0 - (6.0 if n % 2 == 0 else 0.0)
        wave += 10.0 ** (level_db / 20.0) * np.sin(n * phase + rng.uniform(0.0, 2.0 * np.pi))
    wave /= np.sqrt(np.mean(wave**2))
    return np.resize(wave.astype(np.float32), n_frames)


def drift_lin(n_frames: int, drift_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a gain that wanders by ``drift_db`` to either side, two or three turns in all, 0 dB on average."""
    t = np.linspace(0.0, 1.0, n_frames, dtype=np.float32)
    turns, phase = rng.uniform(0.7, 2.5), rng.uniform(0.0, 2.0 * np.pi)
    curve = np.sin(2.0 * np.pi * np.float32(turns) * t + np.float32(phase))
    curve -= curve.mean()
    return np.power(np.float32(10.0), np.float32(drift_db / 20.0) * curve)


def drop_out(audio: NDArray[np.float32], dropouts_s: tuple[tuple[float, float], ...]) -> None:
    """Silence stretches of ``(n_frames, n_lanes)`` in place, over ramps of 1 ms as digital links mute."""
    ramp = SAMPLE_RATE_HZ // 1000
    for begin_s, end_s in dropouts_s:
        begin, end = int(begin_s * SAMPLE_RATE_HZ), min(int(end_s * SAMPLE_RATE_HZ), len(audio))
        if end - begin > 2 * ramp:
            fade = np.linspace(1.0, 0.0, ramp, dtype=np.float32)[:, None]
            audio[begin : begin + ramp] *= fade
            audio[begin + ramp : end - ramp] = 0.0
            audio[end - ramp : end] *= fade[::-1]
