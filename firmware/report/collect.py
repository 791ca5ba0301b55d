"""What the report needs to remember of a render: bounded, however long the session is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firmware.observation import ChannelSetup, Observation

from .masking import N_BARK, masked_fraction

MAX_POINTS = 1600  # of a curve over time; a wide screen has about as many columns
N_FFT = 8192
SPECTRA_AT_MOST = 600  # windows averaged, spread over the session
IS_HEARD_DBFS = -60.0  # input level above which a channel's masking is counted


class Collector:
    """Fills up while the mix runs: ``see`` or ``miss`` once a tick, ``hear`` once a block.

    Curves have ``n_points`` entries, one each ``point_s``; ``wave`` holds the lowest and highest sample of the mix
    between two points, spectra the mean power ``(n, N_FFT // 2 + 1)`` before and after.
    """

    def __init__(self, channels: Sequence[ChannelSetup], n_frames: int, sample_rate_hz: int, tick_s: float) -> None:
        self.channels = list(channels)
        self.sample_rate_hz = sample_rate_hz
        self.duration_s = n_frames / sample_rate_hz
        n_ticks = max(1, int(self.duration_s / tick_s))
        self._ticks_per_point = -(-n_ticks // MAX_POINTS)
        self.point_s = tick_s * self._ticks_per_point
        n_points = -(-n_ticks // self._ticks_per_point)
        n_channels = len(self.channels)
        self.n_points = 0
        self.momentary_lufs = np.full(n_points, np.nan, np.float32)
        self.short_term_lufs = np.full(n_points, np.nan, np.float32)
        self.fader_db = np.full((n_points, n_channels), np.nan, np.float32)
        self.sharing_db = np.full((n_points, n_channels), np.nan, np.float32)
        self.level_dbfs = np.full((n_points, n_channels), -100.0, np.float32)
        self.limiter_db = np.zeros(n_points, np.float32)
        self.breaks_s: list[tuple[float, float]] = []  # from when to when sound is missing
        self._n_ticks = 0
        self._masked = np.zeros((3, n_channels))  # sums without control, with it, and how many
        self._point_frames = max(1, round(self.point_s * sample_rate_hz))
        self.wave = np.zeros((-(-n_frames // self._point_frames), 2), np.float32)
        self._n_heard = 0
        self._lanes = _lanes_of(self.channels)
        self._window = np.hanning(N_FFT)
        self._spectrum_every = max(1, int(self.duration_s / SPECTRA_AT_MOST))
        self._n_blocks = 0
        self.before = np.zeros((n_channels + 1, N_FFT // 2 + 1))  # the last row is the mix
        self.after = np.zeros((n_channels + 1, N_FFT // 2 + 1))

    def see(self, observation: Observation, params: NDArray[np.void], mix_gain_bark: NDArray[np.floating]) -> None:
        """Take the state of the mixer at a tick."""
        self._n_ticks += 1
        if (self._n_ticks - 1) % self._ticks_per_point or self.n_points == len(self.momentary_lufs):
            return
        point, n_channels = self.n_points, len(self.channels)
        self.n_points += 1
        self.momentary_lufs[point] = observation.loudness.momentary_lufs
        self.short_term_lufs[point] = observation.loudness.short_term_lufs
        strips, meters = params["channel"][:n_channels], observation.channel_meters
        self.fader_db[point] = np.where(strips["fader.is_muted"] > 0.5, -90.0, strips["fader.level_db"])
        self.sharing_db[point] = meters["automix_gain_db"] + meters["duck_gain_db"]
        self.level_dbfs[point] = meters["output_rms_dbfs"]
        self.limiter_db[point] = observation.bus_meters["limiter_gain_db"][2:4].min()
        bark_dbfs = observation.features["bark_dbfs"]
        is_heard = observation.features["rms_dbfs"] > IS_HEARD_DBFS
        for row, gain_lin in enumerate((np.ones((n_channels, N_BARK), np.float32), mix_gain_bark)):
            self._masked[row] += masked_fraction(bark_dbfs, gain_lin) * is_heard
        self._masked[2] += is_heard

    def miss(self) -> None:
        """Let a tick pass of which nothing is known."""
        self._n_ticks += 1
        if (self._n_ticks - 1) % self._ticks_per_point == 0 and self.n_points < len(self.momentary_lufs):
            self.n_points += 1

    def hear(self, block: NDArray[np.float32], strips: NDArray[np.float32], mixed: NDArray[np.float32]) -> None:
        """Take the session ``(n, n_lanes)``, the strips ``(n, 2 * n_channels)`` and the mix ``(n, 2)`` of a block."""
        self._hear_wave(mixed)
        if self._n_blocks % self._spectrum_every == 0:
            middle = slice(max(0, (len(block) - N_FFT) // 2), max(0, (len(block) - N_FFT) // 2) + N_FFT)
            block = np.nan_to_num(block[middle], nan=0.0, posinf=0.0, neginf=0.0)
            strips, mixed = strips[middle], mixed[middle]
            for index, lanes in enumerate(self._lanes):
                self.before[index] += self._power(block[:, lanes])
                self.after[index] += self._power(strips[:, 2 * index : 2 * index + 2])
            self.before[-1] += self._power(block.sum(axis=1, keepdims=True))
            self.after[-1] += self._power(mixed)
        self._n_blocks += 1

    def masking(self) -> NDArray[np.float64]:
        """Return the mean masked fraction, shape ``(2, n_channels)``: without control, with it; NaN if never heard."""
        n_heard = np.where(self._masked[2] > 0, self._masked[2], np.nan)
        return self._masked[:2] / n_heard

    def times_s(self) -> NDArray[np.float64]:
        """Return the time of each point."""
        return (np.arange(self.n_points) * self._ticks_per_point + 1) * self.point_s / self._ticks_per_point

    def _hear_wave(self, mixed: NDArray[np.float32]) -> None:
        low, high = np.minimum(*mixed.T), np.maximum(*mixed.T)
        first = self._n_heard // self._point_frames
        to_next = self._point_frames - self._n_heard % self._point_frames
        starts = np.concatenate([[0], np.arange(to_next, len(mixed), self._point_frames)])
        columns = slice(first, first + len(starts))
        self.wave[columns, 0] = np.minimum(self.wave[columns, 0], np.minimum.reduceat(low, starts))
        self.wave[columns, 1] = np.maximum(self.wave[columns, 1], np.maximum.reduceat(high, starts))
        self._n_heard += len(mixed)

    def _power(self, audio: NDArray[np.float32]) -> NDArray[np.float64]:
        spectrum = np.fft.rfft(audio.T * self._window[: len(audio)], N_FFT)
        return (spectrum.real**2 + spectrum.imag**2).sum(axis=0)


def _lanes_of(channels: Sequence[ChannelSetup]) -> list[slice]:
    lanes, lane = [], 0
    for channel in channels:
        width = 2 if channel.is_stereo else 1
        lanes.append(slice(lane, lane + width))
        lane += width
    return lanes
