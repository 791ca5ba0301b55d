"""Records a performance: stems through microphones in a room, faults and all, with the truth about every channel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from .capture import N_BINS, convolve, path_matrix
from .faults import (
    Faults,
    Noise,
    circle,
    drift_lin,
    drop_out,
    hum,
    limited_response,
    response,
    sample_faults,
)
from .microphones import Microphone, Paths, Setup, path_spectra, paths, sample_setup
from .performance import SAMPLE_RATE_HZ, Performance, Stem
from .rooms import N_TAILS, sample_room, tail_power, tails
from .stem_truth import TICK_FRAMES, StemTruth, gated_lufs, k_power, k_weight, stem_truth

WORKING_LUFS = -23.0  # of every source behind a preamp that is set right
PEAK_LIN = 0.98
NONE_DB = -100.0
HEARD_UNDER_OWN_DB, HEARD_OVER_HISS_DB = -42.0, 6.0  # bleed that is softer counts for nothing
_STEREO_SHARE = 0.7  # of stereo stems that get two tracks
_LIMITED_ROLES = ("speech", "vocal_lead", "vocal_backing", "playback")
_MAINS_HZ = (50, 60)


@dataclass(frozen=True, kw_only=True)
class RecordedSession:
    """Channels as the box gets them, and what is true about them.

    Attributes
    ----------
    channels
        One ``(n_frames, 1 or 2)`` float32 each, at ``SAMPLE_RATE_HZ``.
    stems
        Those that were recorded, brought to a loudness of ``WORKING_LUFS``.
    truths
        Of ``stems``.
    microphones, faults
        One for each channel.
    is_active, is_bleed
        ``(n_ticks, n_channels)`` bool: its own source sounds; only others' sound is in it.
    bleed_db
        ``(n_channels, n_channels)``: loudness of the source of channel j in channel i relative to i's own, over all
        paths and the tail; -100 for none, 0 on the diagonal and where both hear the same source.
    gain_fault_db
        ``(n_channels,)``: own source's loudness before tone faults, relative to ``WORKING_LUFS``.
    eq_fault_db
        ``(n_channels, 4)``.
    """

    performance: Performance
    difficulty: str
    channels: tuple[NDArray[np.float32], ...]
    stems: tuple[Stem, ...]
    truths: tuple[StemTruth, ...]
    microphones: tuple[Microphone, ...]
    faults: tuple[Faults, ...]
    is_active: NDArray[np.bool_]
    is_bleed: NDArray[np.bool_]
    bleed_db: NDArray[np.float64]
    gain_fault_db: NDArray[np.float64]
    eq_fault_db: NDArray[np.float64]

    @property
    def n_ticks(self) -> int:
        """Whole ticks of 20 ms."""
        return len(self.is_active)


def record(
    rng: np.random.Generator,
    performance: Performance,
    split: str,
    difficulty: str,
    *,
    is_whole: bool = False,
    doubled_share: float | None = None,
) -> RecordedSession:
    """Record ``performance`` once.

    Parameters
    ----------
    split
        ``train``, ``valid`` or ``test``: the test split has rooms of its own.
    difficulty
        ``clean`` (every source for itself, mild faults), ``bleed`` or ``hard``.
    is_whole
        Whether all stems must be there; else somebody stays at home now and then.
    doubled_share
        Of the sources, that have a second microphone unless recorded alone; None for the usual share of each role.
    """
    chosen = list(performance.stems) if is_whole else _chosen(rng, performance, difficulty)
    stems = tuple(_as_tracked(stem, rng) for stem in chosen)
    is_music = performance.genre is not None
    space = "stage" if is_music and rng.random() < 0.6 else "studio"
    setup = sample_setup(
        rng,
        [stem.role for stem in stems],
        [stem.audio.shape[1] == 2 for stem in stems],
        sample_room(rng, split, space),
        genre=performance.genre,
        is_isolated=difficulty == "clean",
        doubled_share=doubled_share,
    )
    hum_hz = int(rng.choice(_MAINS_HZ))
    faults = tuple(
        sample_faults(
            rng,
            difficulty,
            duration_s=performance.duration_s,
            hum_hz=hum_hz,
            can_be_limited=mic.role in _LIMITED_ROLES,
        )
        for mic in setup.microphones
    )
    return recorded(rng, performance, difficulty, stems, setup, faults)


def _chosen(rng: np.random.Generator, performance: Performance, difficulty: str) -> list[Stem]:
    """Return the stems of this take: now and then somebody who does not lead stays at home."""
    stems = list(performance.stems)
    if difficulty == "clean" or len(stems) < 4 or rng.random() < 0.6:
        return stems
    stays = rng.random(len(stems)) > rng.uniform(0.05, 0.35)
    return [stem for stem, keep in zip(stems, stays, strict=True) if keep or stem.lead_spans_s] or stems


def _as_tracked(stem: Stem, rng: np.random.Generator) -> Stem:
    """Return a stereo stem as it is or, now and then, as one track."""
    if stem.audio.shape[1] == 1 or rng.random() < _STEREO_SHARE:
        return stem
    return replace(stem, audio=stem.audio.mean(axis=1, keepdims=True))


def _leveled(stems: tuple[Stem, ...]) -> tuple[tuple[Stem, ...], tuple[StemTruth, ...]]:
    """Return the stems at ``WORKING_LUFS``, and what they say about themselves there."""
    leveled, truths = [], []
    for stem in stems:
        truth = stem_truth(stem.audio)
        gain_db = WORKING_LUFS - truth.loudness_lufs if truth.loudness_lufs > NONE_DB else 0.0
        leveled.append(replace(stem, audio=stem.audio * np.float32(10.0 ** (gain_db / 20.0))))
        truths.append(truth.louder(gain_db))
    return tuple(leveled), tuple(truths)


def recorded(
    rng: np.random.Generator,
    performance: Performance,
    difficulty: str,
    stems: tuple[Stem, ...],
    setup: Setup,
    faults: tuple[Faults, ...],
) -> RecordedSession:
    """Record ``stems`` of ``performance`` in a given setup; each channel has its fault."""
    stems, truths = _leveled(stems)
    mics = setup.microphones
    p = paths(rng, setup)
    source_of = np.repeat(np.arange(len(stems)), [stem.audio.shape[1] for stem in stems])
    channel_of = np.repeat(np.arange(len(mics)), [1 + mic.is_stereo for mic in mics])
    spectra = _lane_spectra(rng, p, setup, faults, source_of, channel_of)
    sources = np.concatenate([stem.audio.T for stem in stems])
    tail = tails(rng, setup.room) if p.tail_lin.any() else None
    if tail is not None:
        fields = _diffuse_fields(setup, sources, source_of, tail)
        bent = np.array([response(f, circle(N_BINS)) for f in faults])
        tail_spectra = np.stack([p.tail_lin[k, channel_of, None] * bent[channel_of] for k in range(N_TAILS)])
        sound, power = convolve(np.concatenate([sources, fields]), np.concatenate([spectra, tail_spectra]))
    else:
        sound, power = convolve(sources, spectra)
    heard = _heard_power(power[: len(sources)], spectra, source_of, channel_of, len(stems), len(mics))
    weighted = power[: len(sources)] * k_weight(N_BINS)
    raw = np.bincount(source_of, weighted.sum(axis=1), len(stems))
    if tail is not None:
        reverberant = np.zeros((len(stems), N_TAILS))
        np.add.at(reverberant, source_of, weighted @ tail_power(tail, N_BINS).T)
        heard += (reverberant * 10.0 ** (setup.level_db[:, None] / 10.0)) @ p.tail_lin**2
    noise = Noise(rng, max(sources.shape[1], SAMPLE_RATE_HZ))
    channels, gain_fault_db = [], np.zeros(len(mics))
    for ch, (mic, fault) in enumerate(zip(mics, faults, strict=True)):
        audio = np.ascontiguousarray(sound[channel_of == ch].T)
        spoiled, gain_fault_db[ch] = _spoiled(rng, audio, mic, fault, noise)
        channels.append(spoiled)
    is_active, is_bleed = _activity(mics, truths, faults, heard / np.maximum(raw[:, None], 1e-30))
    return RecordedSession(
        performance=performance,
        difficulty=difficulty,
        channels=tuple(channels),
        stems=stems,
        truths=truths,
        microphones=mics,
        faults=faults,
        is_active=is_active,
        is_bleed=is_bleed,
        bleed_db=_bleed_matrix(mics, truths, heard),
        gain_fault_db=gain_fault_db,
        eq_fault_db=np.array([f.tone_db for f in faults]),
    )


def _lane_spectra(
    rng: np.random.Generator,
    p: Paths,
    setup: Setup,
    faults: tuple[Faults, ...],
    source_of: NDArray[np.int64],
    channel_of: NDArray[np.int64],
) -> NDArray[np.complex64]:
    """Return the spectra from every lane of a stem to every lane of a channel, linear faults included."""
    z = circle(N_BINS)
    spectra = path_matrix(p.taps).astype(np.complex128) * path_spectra(p, z)
    for ch, (mic, fault) in enumerate(zip(setup.microphones, faults, strict=True)):
        spectra[:, ch] *= response(fault, z)
        if fault.limited_hz is not None and mic.stem is not None:
            spectra[mic.stem, ch] *= limited_response(fault.limited_hz, z)
    lanes = spectra[source_of][:, channel_of]
    source_lane = _lane_numbers(source_of)
    channel_lane = _lane_numbers(channel_of)
    for column, ch in enumerate(channel_of.tolist()):
        mic = setup.microphones[ch]
        is_own = source_of == (-1 if mic.stem is None else mic.stem)
        if mic.is_stereo:
            lanes[is_own & (source_lane != channel_lane[column]), column] = 0.0
            # The two halves of a pair stand apart: what comes from elsewhere reaches one of them later.
            later = np.exp(-2j * np.pi * rng.integers(0, 40) * np.arange(N_BINS) / (2 * (N_BINS - 1)))
            lanes[~is_own, column] *= np.sqrt(0.5) * later
    return lanes.astype(np.complex64)


def _lane_numbers(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], (owner[1:] == owner[:-1]).astype(np.int64)])


def _diffuse_fields(
    setup: Setup, sources: NDArray[np.float32], source_of: NDArray[np.int64], tail: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the sum of all sources at their acoustic levels behind each tail."""
    weights = (10.0 ** (setup.level_db / 20.0)).astype(np.float32)[source_of]
    everything = weights @ sources
    return np.stack([scipy.signal.oaconvolve(everything, one)[: sources.shape[1]] for one in tail])


def _heard_power(
    power: NDArray[np.float64],
    spectra: NDArray[np.complex64],
    source_of: NDArray[np.int64],
    channel_of: NDArray[np.int64],
    n_stems: int,
    n_mics: int,
) -> NDArray[np.float64]:
    """Return the K-weighted power of every stem in every channel, ``(n_stems, n_channels)``."""
    weighted = (power * k_weight(N_BINS)).astype(np.float32)
    lanes = np.einsum("sf,scf->sc", weighted, spectra.real**2) + np.einsum("sf,scf->sc", weighted, spectra.imag**2)
    heard = np.zeros((n_stems, n_mics))
    np.add.at(heard, (source_of[:, None], channel_of[None, :]), lanes)
    return heard


def _spoiled(
    rng: np.random.Generator, audio: NDArray[np.float32], mic: Microphone, fault: Faults, noise: Noise
) -> tuple[NDArray[np.float32], float]:
    """Return the channel with its gain, noise, clipping and dropouts, and the gain fault that it really has."""
    n_frames = len(audio)
    if mic.is_dead:
        audio = np.zeros_like(audio)
    elif mic.stem is None:
        loudness = gated_lufs(k_power(audio))
        audio = audio * np.float32(10.0 ** ((WORKING_LUFS - loudness) / 20.0) if loudness > NONE_DB else 1.0)
    hiss_lin = np.float32(10.0 ** ((WORKING_LUFS - fault.hiss_db) / 20.0))
    for lane in range(audio.shape[1]):
        audio[:, lane] += hiss_lin * noise.take(rng)[:n_frames]
    if fault.clip_db > 0.0:
        end = float(np.abs(audio).max()) * 10.0 ** (-fault.clip_db / 20.0)
        audio = np.clip(audio, -end, end)
    audio *= np.float32(10.0 ** (fault.gain_db / 20.0))
    if fault.drift_db > 0.0:
        audio *= drift_lin(n_frames, fault.drift_db, rng)[:, None]
    if fault.hum_dbfs is not None:
        audio += np.float32(10.0 ** (fault.hum_dbfs / 20.0)) * hum(n_frames, fault.hum_hz, rng)[:, None]
    peak = float(np.abs(audio).max(initial=0.0))
    less_lin = min(1.0, PEAK_LIN / max(peak, 1e-9))
    audio *= np.float32(less_lin)
    drop_out(audio, fault.dropouts_s)
    return audio, fault.gain_db + 20.0 * float(np.log10(less_lin))


def _bleed_matrix(
    mics: tuple[Microphone, ...], truths: tuple[StemTruth, ...], heard: NDArray[np.float64]
) -> NDArray[np.float64]:
    share = np.array([max(float(t.is_active.mean()), 1e-3) if len(t.is_active) else 1.0 for t in truths])
    level = heard / share[:, None]  # while it sounds
    matrix = np.full((len(mics), len(mics)), NONE_DB)
    for i, mic in enumerate(mics):
        own = 0.0 if mic.stem is None else level[mic.stem, i]
        own = own or level[:, i].sum()  # nothing of its own: relative to all it hears
        for j, other in enumerate(mics):
            if i == j or (mic.stem is not None and mic.stem == other.stem):
                matrix[i, j] = 0.0
            elif other.stem is not None and not mic.is_dead:
                matrix[i, j] = max(NONE_DB, 10.0 * np.log10((level[other.stem, i] + 1e-30) / (own + 1e-30)))
    return matrix


def _activity(
    mics: tuple[Microphone, ...],
    truths: tuple[StemTruth, ...],
    faults: tuple[Faults, ...],
    gain_power: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where each channel's own source sounds, and where only others do."""
    powers = np.stack([t.k_power for t in truths], axis=1)
    sounding = np.stack([t.is_active for t in truths], axis=1)
    n_ticks = len(powers)
    is_active = np.zeros((n_ticks, len(mics)), bool)
    is_bleed = np.zeros((n_ticks, len(mics)), bool)
    working = 10.0 ** ((WORKING_LUFS + 0.691) / 10.0)
    for ch, (mic, fault) in enumerate(zip(mics, faults, strict=True)):
        if mic.is_dead:
            continue
        gains = gain_power[:, ch].copy()
        if mic.stem is not None:
            is_active[:, ch] = sounding[:, mic.stem]
            gains[mic.stem] = 0.0
        others = powers @ gains
        if mic.stem is None:  # brought to the working level as a whole
            others *= working / max(float(others[others > others.max() * 1e-3].mean()), 1e-30)
        floor = 10.0 ** (max(HEARD_UNDER_OWN_DB, HEARD_OVER_HISS_DB - fault.hiss_db) / 10.0)
        is_heard = np.convolve(others, np.full(3, 1.0 / 3.0), "same") > working * floor
        if mic.role == "ambience" and mic.stem is None:
            is_active[:, ch] = is_heard
        else:
            is_bleed[:, ch] = is_heard & ~is_active[:, ch]
        for begin_s, end_s in fault.dropouts_s:
            gone = slice(
                int(np.ceil(begin_s * SAMPLE_RATE_HZ / TICK_FRAMES)), int(end_s * SAMPLE_RATE_HZ / TICK_FRAMES)
            )
            is_active[gone, ch] = is_bleed[gone, ch] = False
    return is_active, is_bleed
