"""Voices taken apart and put together again with WORLD (Morise et al. 2016): pitch, envelope, breath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyworld
import soxr
from numpy.typing import NDArray
from scipy.fft import idct
from scipy.signal import butter, sosfilt, sosfiltfilt
from scipy.special import logsumexp

from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
VOICE_RATE_HZ = 16000
FRAME_MS = 5.0
N_FFT = 1024
N_CODED = 48
SILENCE_DB = -120.0
NEPER = 2.0  # of level, in the first coefficient of the coded envelope
TILT_PER_DB = 1 / 12.3  # between the lowest and the highest band, in the second


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """An utterance in frames of 5 ms.

    Attributes
    ----------
    f0_hz
        ``(n,)``, 0 where unvoiced.
    envelope
        ``(n, 48)`` coded spectral envelope.
    breath
        ``(n, 1)`` coded aperiodicity.
    """

    f0_hz: NDArray[np.float64]
    envelope: NDArray[np.float64]
    breath: NDArray[np.float64]


def analyse(audio: NDArray[np.float64]) -> Analysis:
    """Take apart ``(n_frames,)`` sampled at 16 kHz; silence at both ends is cut off."""
    begin, end = sounding(audio)
    audio = np.ascontiguousarray(audio[begin:end], dtype=np.float64)
    f0, t = pyworld.dio(audio, VOICE_RATE_HZ, f0_floor=60.0, f0_ceil=500.0, frame_period=FRAME_MS)
    f0 = pyworld.stonemask(audio, f0, t, VOICE_RATE_HZ)
    envelope = pyworld.cheaptrick(audio, f0, t, VOICE_RATE_HZ, fft_size=N_FFT)
    breath = pyworld.d4c(audio, f0, t, VOICE_RATE_HZ, fft_size=N_FFT)
    return Analysis(
        f0_hz=f0,
        envelope=pyworld.code_spectral_envelope(envelope, VOICE_RATE_HZ, N_CODED),
        breath=pyworld.code_aperiodicity(breath, VOICE_RATE_HZ),
    )


def sounding(audio: NDArray[np.float64]) -> tuple[int, int]:
    """Say from where to where ``(n_frames,)`` sampled at 16 kHz isn't silent, with 10 ms before and 30 ms after it."""
    level = np.abs(audio)
    loud = np.flatnonzero(level > 0.01 * level.max())
    return max(0, int(loud[0]) - 160), int(loud[-1]) + 480


def synthesise(
    rng: np.random.Generator,
    f0_hz: NDArray[np.float64],
    envelope: NDArray[np.float64],
    breath: NDArray[np.float64],
    *,
    size: float,
    air_db: float,
) -> Audio:
    """Put a voice together.

    Parameters
    ----------
    size
        Factor on the formants: above 1 a smaller head.
    air_db
        Level of what lies above 8 kHz, made of noise that follows the sibilants, relative to the band below it.

    Returns
    -------
    ``(n_frames,)`` float32 at 48 kHz.
    """
    spectrum = pyworld.decode_spectral_envelope(np.ascontiguousarray(envelope), VOICE_RATE_HZ, N_FFT)
    aperiodic = pyworld.decode_aperiodicity(np.ascontiguousarray(breath), VOICE_RATE_HZ, N_FFT)
    k = np.clip(np.arange(N_FFT // 2 + 1) / size, 0, N_FFT // 2)
    low = np.minimum(k.astype(int), N_FFT // 2 - 1)
    share = k - low
    spectrum = spectrum[:, low] * (1 - share) + spectrum[:, low + 1] * share
    sound = pyworld.synthesize(
        np.ascontiguousarray(f0_hz), np.ascontiguousarray(spectrum), aperiodic, VOICE_RATE_HZ, FRAME_MS
    )
    full = sosfilt(_CHEST, soxr.resample(sound, VOICE_RATE_HZ, SAMPLE_RATE_HZ, quality="MQ"))
    band = sosfilt(_SIBILANCE, full)
    follow = sosfiltfilt(_SLOW, np.abs(band))
    air = sosfilt(_AIR, rng.normal(size=len(full))) * np.maximum(follow, 0.0)
    return (full + 10 ** (air_db / 20) * air).astype(np.float32)


_CHEST = butter(2, 65, "highpass", fs=SAMPLE_RATE_HZ, output="sos")  # nothing that sounds in a throat is lower
_SIBILANCE = butter(2, [4500, 7600], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
_AIR = butter(2, [7400, 15000], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
_SLOW = butter(1, 60, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")


def level_of(envelope: NDArray[np.float64]) -> NDArray[np.float64]:
    """Level of each coded frame in nepers, over bands of equal width in mel.

    The code is c_0 + sqrt(2) sum c_k cos(pi k (j + 1/2) / 48), in nepers of power.
    """
    bands = np.sqrt(N_CODED) * idct(envelope, norm="ortho", axis=1)
    return 0.5 * (logsumexp(bands, axis=1) - np.log(N_CODED))
