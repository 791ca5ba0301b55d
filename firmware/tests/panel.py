"""A panel of talkers as a table with open microphones would deliver it, and the whole box that mixes it.

The voices are synthetic: glottal pulses through formants, with hissed consonants; everything is seeded. They end under
8 kHz and the room's noise does not, so that noise can be heard in the mix while somebody speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyloudnorm
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, resample_poly, sosfiltfilt

from dsp_kernels.contract.layout import PARAMS_DTYPE
from firmware.control.control import Control
from firmware.engine import OUTPUT_LANES, Engine
from firmware.observation import TICK_MS, ChannelSetup

RATE_HZ = 48000
VOICE_RATE_HZ = 16000
TICK_FRAMES = RATE_HZ * TICK_MS // 1000
PILOT_HZ = (10000.0, 14000.0)  # noise is heard here, voices are not
RECORD = slice(OUTPUT_LANES.index("record_l"), OUTPUT_LANES.index("record_r") + 1)

_VOWELS_HZ = np.array([(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)])
_BANDWIDTHS_HZ = (80.0, 100.0, 140.0, 250.0)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Who speaks from when to when, in frames at ``RATE_HZ``."""

    seat: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Microphones ``(n_frames, n_seats)`` and what was said at the table."""

    mics: NDArray[np.float32]
    turns: tuple[Turn, ...]


@dataclass(frozen=True, kw_only=True)
class BoxRun:
    """What the box made of a session: ``mix`` ``(n_frames, 2)``; a snapshot and the sharing gains a tick."""

    mix: NDArray[np.float32]
    strips: NDArray[np.float32] | None
    params: NDArray[np.void]
    share_db: NDArray[np.float32]
    control: Control


def syllable(random: np.random.Generator, pitch_hz: float, tract: float) -> NDArray[np.float64]:
    """Return a consonant and a vowel at ``VOICE_RATE_HZ``, RMS near 1 in the vowel."""
    n_vowel, n_hiss = random.integers(1800, 3600), random.integers(500, 1300)
    bend = np.linspace(random.uniform(0.95, 1.15), random.uniform(0.85, 1.0), n_vowel)
    phase = np.cumsum(pitch_hz * bend / VOICE_RATE_HZ)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    source = lfilter([1.0], [1.0, -0.92], pulses) + 0.01 * random.standard_normal(n_vowel)
    for freq_hz, width_hz in zip((*(tract * random.choice(_VOWELS_HZ)), 3500.0 * tract), _BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width_hz / VOICE_RATE_HZ)
        poles = [1.0, -2.0 * radius * np.cos(2 * np.pi * freq_hz / VOICE_RATE_HZ), radius**2]
        source = lfilter([sum(poles)], poles, source)
    source = np.diff(source, prepend=0.0)
    ramp = np.minimum(np.arange(n_vowel) / 300.0, np.arange(n_vowel)[::-1] / 900.0)
    vowel = source / np.sqrt(np.mean(source**2)) * np.minimum(1.0, ramp)
    hiss = np.diff(random.standard_normal(n_hiss), prepend=0.0) * np.hanning(n_hiss) * random.uniform(0.05, 0.2)
    return np.concatenate([hiss, vowel * random.uniform(0.6, 1.2)])


def voice(seed: int, pitch_hz: float, duration_s: float) -> NDArray[np.float64]:
    """Return a talker without breath or end, active RMS 0.05, at ``RATE_HZ``; words have short gaps between them."""
    random = np.random.default_rng(seed)
    tract = 0.85 + 0.3 * (pitch_hz - 90.0) / 130.0
    parts: list[NDArray[np.float64]] = []
    n_frames = 0
    while n_frames < duration_s * VOICE_RATE_HZ:
        stress = random.uniform(0.7, 1.3)
        word = [
            stress * syllable(random, pitch_hz * random.uniform(0.9, 1.15), tract) for _ in range(random.integers(1, 4))
        ]
        parts += [*word, np.zeros(random.integers(600, 2600))]
        n_frames = sum(map(len, parts))
    x = np.concatenate(parts)
    x *= 0.1 / np.sqrt(np.mean(x[np.abs(x) > 0.0] ** 2))
    return 0.5 * soxr.resample(x, VOICE_RATE_HZ, RATE_HZ)[: round(duration_s * RATE_HZ)]


def voices(duration_s: float = 12.0) -> list[NDArray[np.float64]]:
    """Return four talkers, two low and two high."""
    return [voice(seed, pitch_hz, duration_s) for seed, pitch_hz in enumerate((105.0, 205.0, 125.0, 180.0))]


def script(duration_s: float, n_seats: int, seed: int = 7, intro_s: float = 2.2) -> tuple[Turn, ...]:
    """Return a conversation: a round of introductions within 10 s, then turns of 2 to 12 s, some that overlap."""
    random = np.random.default_rng(seed)
    turns: list[Turn] = []
    at_s, seat = 0.5, 0
    while at_s < duration_s - 3.0:
        is_intro = len(turns) < n_seats
        length_s = intro_s if is_intro else random.uniform(2.0, 12.0)
        end_s = min(at_s + length_s, duration_s - 0.5)
        turns.append(Turn(seat=seat, start=round(at_s * RATE_HZ), end=round(end_s * RATE_HZ)))
        pause_s = 0.15 if is_intro else random.choice([-0.6, 0.3, 0.8, 1.5, 2.5])
        at_s = end_s + pause_s
        seat = (seat + (1 if is_intro else random.integers(1, max(2, n_seats)))) % n_seats
    return tuple(turns)


def seat_panel(
    talkers: Sequence[NDArray[np.float64]],
    turns: Sequence[Turn],
    duration_s: float,
    *,
    level_db: Sequence[float],
    noise_dbfs: float = -74.0,
    bleed_db: float = -18.0,
    seed: int = 11,
) -> Panel:
    """Return what the microphones hear; ``noise_dbfs`` is the RMS of the room's noise in each, own for each.

    Levels are acoustic: a quiet talker's microphone has as much noise as a loud one's.
    """
    random = np.random.default_rng(seed)
    n_frames, n_seats = round(duration_s * RATE_HZ), len(talkers)
    dry = np.zeros((n_frames, n_seats))
    at = [0] * n_seats
    for turn in turns:
        want = turn.end - turn.start
        x = np.take(talkers[turn.seat], np.arange(at[turn.seat], at[turn.seat] + want), mode="wrap")
        at[turn.seat] += want
        fade = np.minimum(1.0, np.arange(want)[::-1] / 480.0)
        dry[turn.start : turn.end, turn.seat] += x * fade * 10.0 ** (level_db[turn.seat] / 20.0)
    dull = lfilter([0.45], [1.0, -0.55], dry, axis=0)
    mics = 10.0 ** (noise_dbfs / 20.0) * room_noise(random, n_frames, n_seats)
    for mic in range(n_seats):
        mics[:, mic] += dry[:, mic]
        for seat in range(n_seats):
            if seat != mic:
                delay = 140 + 60 * abs(seat - mic)
                mics[delay:, mic] += 10.0 ** (bleed_db / 20.0) * dull[:-delay, seat]
    return Panel(mics=mics.astype(np.float32), turns=tuple(turns))


def room_noise(random: np.random.Generator, n_frames: int, n_mics: int) -> NDArray[np.float64]:
    """Return noise that falls by 3 dB an octave or so up to 1 kHz, and is even above; RMS 1."""
    white = random.standard_normal((n_frames, n_mics))
    shaped = white + 0.25 * lfilter([1.0], [1.0, -0.97], white, axis=0)
    return shaped / np.sqrt(np.mean(shaped**2))


def run_box(
    x: NDArray[np.float32],
    channels: Sequence[ChannelSetup],
    *,
    target_lufs: float = -16.0,
    automix: str | None = None,
    keeps_strips: bool = False,
) -> BoxRun:
    """Return what engine and control make of ``x``, ``(n_frames, n_lanes)``, lined up with it."""
    control = Control(channels, sample_rate_hz=RATE_HZ, target_lufs=target_lufs, automix=automix)
    with Engine(sample_rate_hz=RATE_HZ, channels=channels, keep_channels=keeps_strips) as engine:
        params = control.snapshot()
        assert params is not None
        engine.publish(params)
        mix_gain = control.mix_gain_bark()
        engine.set_mix_gain_bark(mix_gain)
        out, strips, told, shares = [], [], [], []
        padded = np.concatenate([x, np.zeros((engine.latency_frames, x.shape[1]), np.float32)])
        for start in range(0, len(padded), TICK_FRAMES):
            block = padded[start : start + TICK_FRAMES]
            out.append(engine.process(block)[:, RECORD])
            if engine.channel_output is not None:
                strips.append(engine.channel_output)
            if len(block) < TICK_FRAMES:
                break
            observation = engine.observe((start + TICK_FRAMES) / RATE_HZ)
            fresh = control.tick(observation)
            if fresh is not None:
                engine.publish(fresh)
                params = fresh
            if control.mix_gain_bark() is not mix_gain:
                mix_gain = control.mix_gain_bark()
                engine.set_mix_gain_bark(mix_gain)
            told.append(params)
            shares.append(observation.channel_meters["automix_gain_db"])
        control.finish()
        mix = np.concatenate(out)[engine.latency_frames :]
        return BoxRun(
            mix=mix, strips=np.concatenate(strips) if strips else None,
            params=np.array(told, PARAMS_DTYPE), share_db=np.array(shares), control=control,
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ measuring


def solo_turns(panel: Panel, from_s: float) -> list[Turn]:
    """Return the stretches from ``from_s`` on where one talker alone speaks, at least 1 s long."""
    speaking = np.zeros((len(panel.mics), panel.mics.shape[1]), bool)
    for turn in panel.turns:
        speaking[turn.start : turn.end, turn.seat] = True
    alone = speaking.sum(axis=1) == 1
    found = []
    for turn in panel.turns:
        start = max(turn.start, round(from_s * RATE_HZ))
        inside = np.flatnonzero(alone[start : turn.end])
        if len(inside) >= RATE_HZ:
            found.append(Turn(seat=turn.seat, start=start + int(inside[0]), end=start + int(inside[-1]) + 1))
    return found


def talker_loudness_lufs(panel: Panel, mix: NDArray[np.float32], from_s: float = 10.0) -> NDArray[np.float64]:
    """Return each talker's gated loudness in the mix over the stretches where he alone speaks."""
    meter = pyloudnorm.Meter(RATE_HZ)
    parts: list[list[NDArray[np.float32]]] = [[] for _ in range(panel.mics.shape[1])]
    for turn in solo_turns(panel, from_s):
        parts[turn.seat].append(mix[turn.start : turn.end])
    return np.array([meter.integrated_loudness(np.concatenate(p)) for p in parts])


def pilot_dbfs(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the level of the noise where no voice is, in steps of 20 ms, ``(n_steps,)``, channels summed by power."""
    sos = butter(6, PILOT_HZ, "bandpass", fs=RATE_HZ, output="sos")
    power = (sosfiltfilt(sos, x.astype(np.float64), axis=0) ** 2).sum(axis=1)
    n = len(power) // TICK_FRAMES
    return 10.0 * np.log10(power[: n * TICK_FRAMES].reshape(n, TICK_FRAMES).mean(axis=1) + 1e-14)


def pauses(panel: Panel, from_s: float) -> NDArray[np.bool_]:
    """Return the 20 ms steps that lie more than 0.2 s behind the last word and 0.05 s before the next."""
    n = len(panel.mics) // TICK_FRAMES
    quiet = np.ones(n, bool)
    quiet[: round(from_s * RATE_HZ) // TICK_FRAMES] = False
    for turn in panel.turns:
        quiet[turn.start // TICK_FRAMES - 3 : turn.end // TICK_FRAMES + 11] = False
    return quiet


def under_speech(panel: Panel, from_s: float) -> NDArray[np.int_]:
    """Return who alone speaks in each 20 ms step, -1 for nobody or several; the first and last 0.2 s left out."""
    who = np.full(len(panel.mics) // TICK_FRAMES, -1)
    for turn in solo_turns(panel, from_s):
        who[turn.start // TICK_FRAMES + 10 : turn.end // TICK_FRAMES - 10] = turn.seat
    return who


def mean_db(level_db: NDArray[np.float64]) -> float:
    """Return the mean power of levels, in dB."""
    return float(10.0 * np.log10(np.mean(10.0 ** (level_db / 10.0))))


def true_peak_dbtp(x: NDArray[np.float32]) -> float:
    """Return the highest peak of ``x`` oversampled four times."""
    peak = 0.0
    for start in range(0, len(x), 60 * RATE_HZ):
        over = resample_poly(x[max(0, start - 64) : start + 60 * RATE_HZ], 4, 1, axis=0)
        peak = max(peak, float(np.abs(over).max()))
    return 20.0 * np.log10(max(peak, 1e-9))
