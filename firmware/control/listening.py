"""What was heard on each channel, gathered over its active time: the evidence that rules stand on.

All levels are kept with the trim taken out, as they come from the source, so that moving the trim does not look like a
change of the source.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.entries import FeatureEntry
from dsp_kernels.contract.generated.contract import ANALYSIS, CHANNEL_METERS, FEATURES
from firmware.observation import Observation

from .turns import Turns

SILENCE_DB = float(ANALYSIS["silence_dbfs"])
LOUDNESS_TICKS, SPECTRUM_TICKS = 5, 10  # loudness is taken at 10 Hz, spectra and descriptors at 5 Hz
LEVEL_MEMORY_S = 12.0  # of the level that gain staging sees, in seconds of activity (P)
SPECTRUM_MEMORY_S = 20.0  # of spectra and descriptors (P)
MASKING_MEMORY_S = 2.0  # of the spectrum that unmasking sees: live-dsp 2.8
GATE_LU = 10.0  # momentary loudness so far under its mean does not count, as in BS.1770
TAIL_DB = 20.0  # so far under its usual level a channel only rings out (P)
DROPPED_S = 6.0  # of activity under that gate: the source has become quieter for good (P)
FLOOR_RISE_DB_PER_S, FLOOR_S = 0.5, 0.5  # a long sentence is no noise; before so much was heard any reading will do (P)
PRESENT_S = 2.0  # a shorter pause belongs to the playing
PEAK_FALL_DB_PER_S = 0.05  # a peak is remembered for minutes: levels rise in the show (P)

DESCRIPTORS = (
    "centroid_hz", "rolloff_hz", "flux", "flatness", "crest_db", "attack_ms", "decay_db_per_s", "brightness",
    "roughness", "syllabic_modulation",
)  # fmt: skip


def columns_of(entries: tuple[FeatureEntry, ...]) -> dict[str, slice]:
    """Return where each entry lies in a record seen as a row of floats."""
    columns, start = {}, 0
    for entry in entries:
        columns[entry.name] = slice(start, start + entry.count)
        start += entry.count
    return columns


_FEATURE = columns_of(FEATURES)
_METER = columns_of(CHANNEL_METERS)
_AT = {name: place.start for name, place in _FEATURE.items()}
_DESCRIPTOR_COLUMNS = np.array([_AT[name] for name in DESCRIPTORS])
_RMS, _ACTIVE, _ONSET, _FLOOR = _AT["rms_dbfs"], _AT["is_active"], _AT["onset"], _AT["noise_floor_dbfs"]
_MASKED = _AT["masked_fraction"]
_STRIP_MOMENTARY = _AT["strip_loudness_momentary_lufs"]
_INPUT_PEAK = _METER["input_peak_dbfs"].start
_DB_TO_LOG_POWER = np.log(10.0) / 10.0


def power_of(level_db: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 10^(dB/10)."""
    return np.exp(np.multiply(level_db, _DB_TO_LOG_POWER, dtype=np.float64))


def level_of(power: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 10 log10, not under silence."""
    return np.log(np.maximum(power, 1e-10)) / _DB_TO_LOG_POWER


class Listening:
    """Running evidence of ``n_channels`` channels; each array has that many rows."""

    def __init__(self, n_channels: int, tick_s: float) -> None:
        self.n_channels, self.tick_s, self.tick = n_channels, tick_s, 0
        self.features = np.zeros((n_channels, sum(e.count for e in FEATURES)), np.float32)
        for entry in FEATURES:
            if entry.unit in ("dBFS", "LUFS"):
                self.features[:, _FEATURE[entry.name]] = SILENCE_DB
        self.meters = np.zeros((n_channels, sum(e.count for e in CHANNEL_METERS)), np.float32)
        self.turns = Turns(n_channels, tick_s)
        self.is_active = np.zeros(n_channels, bool)  # and not with somebody else's voice
        self.active_s = np.zeros(n_channels)
        self.quiet_s = np.full(n_channels, 1e6)  # since it was active last
        self.present_s = np.zeros(n_channels)  # active, or between two sounds
        self.source_power = np.zeros(n_channels)  # mean square while active, trim taken out
        self.source_peak_dbfs = np.full(n_channels, SILENCE_DB)
        self.source_floor_dbfs = np.full(n_channels, SILENCE_DB)
        self.n_onsets = np.zeros(n_channels)
        self.strip_power = np.zeros(n_channels)  # K-weighted behind the strip, trim taken out, gated
        self.strip_s = np.zeros(n_channels)  # seconds that strip_power stands on
        self.mel_power = np.zeros((n_channels, _FEATURE["log_mel_db"].stop))  # mean while active, trim taken out
        self.bark_power = np.zeros((n_channels, int(ANALYSIS["n_bark"])))  # behind the trim, last 2 s
        self.masked_fraction = np.zeros(n_channels)  # last 2 s
        self.descriptor = {name: np.zeros(n_channels) for name in DESCRIPTORS}
        self._descriptors = np.zeros((n_channels, len(DESCRIPTORS)))
        self._spectrum_s = np.zeros(n_channels)
        self._below_s = np.zeros(n_channels)  # active, but under the loudness gate
        self._loudness_memory_s = np.full(n_channels, LEVEL_MEMORY_S)

    def feature(self, name: str) -> NDArray[np.float32]:
        """Return the newest value of a feature, ``(n_channels,)`` or ``(n_channels, count)``."""
        place = _FEATURE[name]
        return self.features[:, place.start] if place.stop == place.start + 1 else self.features[:, place]

    def meter(self, name: str) -> NDArray[np.float32]:
        """Return the newest value of a channel meter."""
        return self.meters[:, _METER[name].start]

    def set_loudness_memory(self, memory_s: NDArray[np.floating]) -> None:
        """Say over how many seconds of activity each channel's strip loudness is judged."""
        self._loudness_memory_s = np.asarray(memory_s, np.float64)

    def shift(self, ch: int, by_db: float) -> None:
        """Take a source for so much louder, its noise included: the gain in front of the box was turned."""
        factor = 10.0 ** (by_db / 10.0)
        for power in (self.source_power, self.strip_power, self.mel_power):
            power[ch] *= factor
        self.source_peak_dbfs[ch] += by_db
        self.source_floor_dbfs[ch] = max(self.source_floor_dbfs[ch] + by_db, SILENCE_DB)
        self.turns.shift(ch, by_db)

    def hear(self, observation: Observation, trim_db: NDArray[np.float32]) -> None:
        """Take in one tick."""
        n = self.n_channels
        before = self.features
        self.features = features = np.frombuffer(observation.features, np.float32).reshape(n, -1)
        if not math.isfinite(features.sum()):  # the kernels promise numbers; a broken one must not stay in a mean
            is_bad = ~np.isfinite(features).all(axis=1)
            self.features = features = np.where(is_bad[:, None], before, features)
        self.meters = meters = np.frombuffer(observation.channel_meters, np.float32).reshape(n, -1)
        self.turns.hear(features[:, _RMS], features[:, _FLOOR], trim_db)
        # Levels say who bleeds into whom, and preamps make levels: among talkers the distance from the noise decides.
        self.is_active = active = (features[:, _ACTIVE] > 0.5) & self.turns.is_own | self.turns.is_speaking
        active_s = active * self.tick_s
        self.active_s += active_s
        weight = active_s / np.minimum(self.active_s + 1e-9, LEVEL_MEMORY_S)
        self.source_power += weight * (power_of(features[:, _RMS] - trim_db) - self.source_power)
        peak_dbfs = np.where(active, meters[:, _INPUT_PEAK] - trim_db, SILENCE_DB)
        self.source_peak_dbfs = np.maximum(self.source_peak_dbfs - PEAK_FALL_DB_PER_S * self.tick_s, peak_dbfs)
        self.n_onsets += features[:, _ONSET] * active
        if self.tick % LOUDNESS_TICKS == 0:
            self._hear_loudness(trim_db, self.tick_s * LOUDNESS_TICKS)
        elif self.tick % SPECTRUM_TICKS == 3:
            self._hear_spectra(trim_db, self.tick_s * SPECTRUM_TICKS)
        self.tick += 1

    def _hear_spectra(self, trim_db: NDArray[np.float32], dt_s: float) -> None:
        features, active = self.features, self.is_active
        self._spectrum_s += active * dt_s
        weight = active * (dt_s / np.minimum(self._spectrum_s + 1e-9, SPECTRUM_MEMORY_S))
        mel_power = power_of(features[:, _FEATURE["log_mel_db"]] - trim_db[:, None])
        self.mel_power += weight[:, None] * (mel_power - self.mel_power)
        self.masked_fraction += (dt_s / MASKING_MEMORY_S) * (features[:, _MASKED] - self.masked_fraction)
        self._descriptors += weight[:, None] * (features[:, _DESCRIPTOR_COLUMNS] - self._descriptors)
        self.descriptor = dict(zip(DESCRIPTORS, self._descriptors.T, strict=True))
        bark = power_of(features[:, _FEATURE["bark_dbfs"]]) * active[:, None]
        self.bark_power += (dt_s / MASKING_MEMORY_S) * (bark - self.bark_power)

    def _hear_loudness(self, trim_db: NDArray[np.float32], dt_s: float) -> None:
        self.quiet_s = np.where(self.is_active, 0.0, self.quiet_s + dt_s)
        self.present_s += (self.quiet_s < PRESENT_S) * dt_s
        floor_dbfs = np.maximum(self.features[:, _FLOOR] - trim_db, SILENCE_DB)
        risen_dbfs = self.source_floor_dbfs + FLOOR_RISE_DB_PER_S * dt_s
        self.source_floor_dbfs = np.where(self.active_s < FLOOR_S, floor_dbfs, np.minimum(floor_dbfs, risen_dbfs))
        momentary = power_of(self.features[:, _STRIP_MOMENTARY] - trim_db)
        floor = np.maximum(self.strip_power * 10.0 ** (-GATE_LU / 10.0), self.source_power * 10.0 ** (-TAIL_DB / 10.0))
        counts = self.is_active & (momentary > floor) & (momentary > 1e-7)
        self.strip_s += counts * dt_s
        weight = counts * (dt_s / np.minimum(self.strip_s + 1e-9, self._loudness_memory_s))
        self.strip_power += weight * (momentary - self.strip_power)
        self._below_s = np.where(counts, 0.0, self._below_s + self.is_active * dt_s)
        has_dropped = self._below_s > DROPPED_S  # not a pause but another level: begin again
        if has_dropped.any():
            self.strip_power[has_dropped] = self.strip_s[has_dropped] = self._below_s[has_dropped] = 0.0

    # ---------------------------------------------------------------------------------------------- readings

    @property
    def source_rms_dbfs(self) -> NDArray[np.float64]:
        """RMS while active, trim taken out."""
        return level_of(self.source_power)

    @property
    def mel_db(self) -> NDArray[np.float64]:
        """Mean mel spectrum while active, trim taken out, dB."""
        return level_of(self.mel_power)

    @property
    def strip_loudness_lufs(self) -> NDArray[np.float64]:
        """Gated loudness behind the strip's processing, before sharing and fader, trim taken out."""
        return level_of(self.strip_power)

    @property
    def onset_rate_hz(self) -> NDArray[np.float64]:
        """Onsets per second while it plays or speaks."""
        return self.n_onsets / np.maximum(self.present_s, 1.0)
