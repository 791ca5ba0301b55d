"""Effects that players, pedals and producers put on a source; each takes ``(n_frames, n_channels)`` and gives the same.

None of them makes sound out of silence, and none but :func:`delayed` and :func:`reverberant` rings on for long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
SR = SAMPLE_RATE_HZ
SEAM_S = 0.004  # over which one reading of a sound gives way to the next
HIGHEST_HZ = 20000.0
BLOCK = 64  # frames of one step of an envelope


def peak_of(audio: Audio) -> float:
    """Largest magnitude, never zero."""
    return float(np.abs(audio).max(initial=0.0)) + 1e-9


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a positive number, each octave as likely as another."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def filtered(audio: Audio, kind: str, hz: float | tuple[float, float], order: int = 2) -> Audio:
    """Butterworth ``lowpass``, ``highpass`` or ``bandpass``."""
    corner = np.clip(hz, 15.0, HIGHEST_HZ)
    return sosfilt(butter(order, corner, kind, fs=SR, output="sos"), audio, axis=0).astype(np.float32)


def resonant(audio: Audio, hz: float, q: float) -> Audio:
    """Low-pass of 12 dB an octave with a peak of ``q`` at its corner."""
    w = 2 * np.pi * min(hz, HIGHEST_HZ) / SR
    alpha, c = np.sin(w) / (2 * q), np.cos(w)
    b = np.array([(1 - c) / 2, 1 - c, (1 - c) / 2]) / (1 + alpha)
    return lfilter(b, [1.0, -2 * c / (1 + alpha), (1 - alpha) / (1 + alpha)], audio, axis=0).astype(np.float32)


def swept(audio: Audio, place: NDArray[np.float64], low_hz: float, high_hz: float, q: float, kind: str) -> Audio:
    """Filter that moves: ``place`` 0 to 1 says where between two corners; five filters crossfaded.

    ``kind`` is ``lowpass`` or ``bandpass``, as a wah is.
    """
    corners = np.geomspace(low_hz, min(high_hz, HIGHEST_HZ), 5)
    at = np.clip(place, 0.0, 1.0) * (len(corners) - 1)
    out = np.zeros_like(audio)
    for i, corner in enumerate(corners):
        width = 1 / (2 * q)
        one = (
            resonant(audio, float(corner), q)
            if kind == "lowpass"
            else filtered(audio, "bandpass", (corner * (1 - width), corner * (1 + width)), 1)
        )
        out += one * np.maximum(0.0, 1 - np.abs(at - i)).astype(np.float32)[:, None]
    return out


def envelope(audio: Audio, release_s: float) -> NDArray[np.float64]:
    """Loudness contour: peaks of blocks, falling no faster than ``release_s``; one value a frame."""
    n_blocks = -(-len(audio) // BLOCK)
    peaks = np.zeros(n_blocks * BLOCK)
    peaks[: len(audio)] = np.abs(audio).max(axis=1)
    level = peaks.reshape(n_blocks, BLOCK).max(axis=1)
    width = max(1, round(0.01 * SR / BLOCK))
    level = maximum_filter1d(level, width)
    fall = float(np.exp(-BLOCK / SR / release_s))
    held, last = np.empty(n_blocks), 0.0
    for i, value in enumerate(level.tolist()):
        last = max(value, last * fall)
        held[i] = last
    return np.interp(np.arange(len(audio)), np.arange(n_blocks) * BLOCK + BLOCK / 2, held)


def compressed(audio: Audio, threshold_db: float, ratio: float, release_s: float) -> Audio:
    """Compress whatever is above ``threshold_db`` under the peak; the gain is smooth, so the attack pokes out."""
    level_db = 20 * np.log10(envelope(audio, release_s) / peak_of(audio) + 1e-6)
    gain_db = -np.maximum(0.0, level_db - threshold_db) * (1 - 1 / ratio)
    smooth = lfilter([1 - np.exp(-1 / (0.008 * SR))], [1, -np.exp(-1 / (0.008 * SR))], gain_db)
    return (audio * (10 ** (smooth / 20)).astype(np.float32)[:, None]).astype(np.float32)


def driven(rng: np.random.Generator, audio: Audio, gain: float) -> Audio:
    """Soft, hard, lopsided or folded clipping; ``gain`` 1 hardly, 30 fuzz. Peak as before."""
    peak = peak_of(audio)
    hot = audio * np.float32(gain / peak)
    style = int(rng.integers(4))
    if style == 0:
        bent = np.tanh(hot)
    elif style == 1:
        bent = np.clip(hot, -1.0, 1.0)
    elif style == 2:
        bent = np.where(hot > 0, np.tanh(hot), 0.6 * np.tanh(hot / 0.6 * 1.5))
    else:
        bent = np.sin(np.clip(hot, -2.2, 2.2))
    bent = bent - bent.mean(axis=0) * (np.abs(audio) > 0)
    return (bent * (peak / peak_of(bent))).astype(np.float32)


def crushed(audio: Audio, bits: int, hold: int) -> Audio:
    """Fewer bits, and each ``hold``-th frame held, as early samplers did."""
    step = np.float32(peak_of(audio) / 2 ** (bits - 1))
    held = np.repeat(audio[::hold], hold, axis=0)[: len(audio)]
    return (np.round(held / step) * step).astype(np.float32)


def trembling(rng: np.random.Generator, audio: Audio, depth: float, rate_hz: float) -> Audio:
    """Tremolo, round or square."""
    wave = np.sin(2 * np.pi * (rate_hz * np.arange(len(audio)) / SR + rng.random()))
    if rng.random() < 0.3:
        wave = np.tanh(6 * wave)
    return (audio * (1 - depth * (0.5 + 0.5 * wave)).astype(np.float32)[:, None]).astype(np.float32)


def wavering(rng: np.random.Generator, audio: Audio, depth_s: float, rate_hz: float) -> Audio:
    """Vibrato of a worn tape or a whammy: time itself moves."""
    n = np.arange(len(audio))
    moved = n - SR * depth_s * (1 + np.sin(2 * np.pi * (rate_hz * n / SR + rng.random())))
    return _at(audio, moved)


def bent(audio: Audio, semitones: NDArray[np.float64], begins: NDArray[np.int64]) -> Audio:
    """Move the pitch along ``semitones (n_frames,)``; at each of ``begins`` time is set right again.

    What slides down to its pitch comes as much later as it takes, so that nothing of the next note is heard before it.
    """
    edges = np.unique([0, *begins.tolist(), len(audio)])
    fades = np.append(np.minimum(np.diff(edges, prepend=edges[0])[:-1], round(SEAM_S * SR)), 0)
    out = np.zeros_like(audio)
    for k, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        ahead = np.cumsum(2.0 ** (semitones[begin:end] / 12.0) - 1.0)
        ahead -= max(0.0, float(ahead.max()))
        n_in, n_out = int(fades[k]), int(fades[k + 1])
        part = _at(audio, np.arange(begin - n_in, end) + np.concatenate([np.full(n_in, ahead[0]), ahead]))
        part[:n_in] *= _rise(n_in)
        part[len(part) - n_out :] *= 1.0 - _rise(n_out)
        out[begin - n_in : end] += part
    return out


def _rise(n: int) -> Audio:
    return ((np.arange(n) + 0.5) / max(n, 1)).astype(np.float32)[:, None]


def chorused(rng: np.random.Generator, audio: Audio, wet: float) -> Audio:
    """Chorus or flanger: one copy that swings in time, for each channel its own."""
    n = np.arange(len(audio))
    centre, rate_hz = rng.uniform(0.001, 0.02), log_uniform(rng, 0.1, 5.0)
    sides = []
    for ch in range(audio.shape[1]):
        swing = 1 + 0.5 * np.sin(2 * np.pi * (rate_hz * n / SR + rng.random()))
        sides.append(_at(audio[:, ch : ch + 1], n - SR * centre * swing))
    return ((1 - wet / 2) * audio + wet * np.concatenate(sides, axis=1)).astype(np.float32)


def delayed(rng: np.random.Generator, audio: Audio, time_s: float, wet: float) -> Audio:
    """Echoes that get duller."""
    out, echo = audio.copy(), audio
    step, keep, top_hz = round(time_s * SR), rng.uniform(0.2, 0.65), log_uniform(rng, 1500.0, 9000.0)
    level = wet
    for i in range(1, 5):
        if i * step >= len(audio) or level < 0.02:
            break
        echo = filtered(echo, "lowpass", top_hz, 1)
        out[i * step :] += np.float32(level) * echo[: len(audio) - i * step]
        level *= keep
    return out


def reverberant(
    rng: np.random.Generator, audio: Audio, decay_s: float, wet: float, *, is_spring: bool = False
) -> Audio:
    """Room, plate or spring: noise that dies away, darker with time; a spring chirps."""
    n = max(256, int(min(2.5, decay_s) * SR))
    t = np.arange(n) / SR
    tail = rng.normal(size=(n, audio.shape[1])) * np.exp(-6.9 * t / decay_s)[:, None]
    if is_spring:
        turn = 0.035 * rng.uniform(0.7, 1.3)
        chirp = np.cos(2 * np.pi * 4200.0 * turn * (1 - np.exp(-(t % turn) * 3 / turn)))
        tail = 0.3 * tail + (chirp * np.exp(-6.9 * t / decay_s))[:, None]
    tail = filtered(tail.astype(np.float32), "bandpass", (rng.uniform(80, 400), log_uniform(rng, 2500, 12000)), 1)
    late = round(rng.uniform(0.0, 0.03) * SR)
    room = oaconvolve(audio, tail / np.float32(np.sqrt(np.sum(tail**2, axis=0).max()) + 1e-9), axes=0)
    out = audio.copy()
    out[late:] += np.float32(wet) * room[: len(audio) - late].astype(np.float32)
    return out


def gated(rng: np.random.Generator, audio: Audio, step_s: float) -> Audio:
    """Chop by a pattern of eight steps, at least half of them open."""
    pattern = rng.random(8) < rng.uniform(0.55, 0.85)
    pattern[rng.permutation(8)[:4]] = True
    steps = pattern[(np.arange(len(audio)) / (step_s * SR)).astype(int) % 8].astype(float)
    k = np.exp(-1 / (0.004 * SR))
    return (audio * lfilter([1 - k], [1, -k], steps).astype(np.float32)[:, None]).astype(np.float32)


def rung(audio: Audio, hz: float, wet: float) -> Audio:
    """Ring modulation."""
    wave = np.sin(2 * np.pi * hz * np.arange(len(audio)) / SR).astype(np.float32)[:, None]
    return ((1 - wet) * audio + wet * audio * wave).astype(np.float32)


def dusty(rng: np.random.Generator, audio: Audio, level_db: float) -> Audio:
    """Hiss of a tape or an amplifier that opens with the sound, as behind a noise gate."""
    hiss = filtered(rng.normal(size=(len(audio), 1)).astype(np.float32), "bandpass", (200.0, 9000.0), 1)
    open_to = np.minimum(1.0, envelope(audio, 0.6) / (0.05 * peak_of(audio)))
    level = np.float32(10 ** (level_db / 20) * peak_of(audio))
    return (audio + level * hiss * open_to.astype(np.float32)[:, None]).astype(np.float32)


def transient_shaped(audio: Audio, amount: float) -> Audio:
    """Raise (``amount`` above 0) or soften attacks: the faster contour against the slower one."""
    fast, slow = envelope(audio, 0.015), envelope(audio, 0.25)
    share = fast / (slow + 1e-6 * peak_of(audio) + 1e-12)
    gain = np.clip(share, 0.02, 1.0) ** amount
    return (audio * gain.astype(np.float32)[:, None]).astype(np.float32)


def _at(audio: Audio, place: NDArray[np.float64]) -> Audio:
    low = np.clip(place.astype(np.int64), 0, len(audio) - 2)
    share = np.clip(place - low, 0.0, 1.0).astype(np.float32)[:, None]
    return audio[low] * (1 - share) + audio[low + 1] * share
