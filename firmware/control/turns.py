"""Whose voice a talker's microphone hears: his own, or that of somebody else at the table.

A loud neighbour may be louder in a quiet talker's microphone than he is himself, and preamps stand where they like, so
levels say little. How far a microphone is above its own noise says more: neither preamp nor trim changes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OWN_WITHIN_DB = 7.0  # of the microphone that is furthest above its noise (P): bleed is 10 dB lower and more
SPEAKING_DB = 15.0  # above its noise (P)
FALL_DB_PER_S = 50.0  # a syllable is remembered so long: its reverberation is as loud in every microphone (P)
QUIETEST_NOISE_DBFS = -85.0  # less noise is no preamp's but a file's, and says nothing (P)
NOISE_SPREAD_DB = 12.0  # a microphone's noise counts so far from the median: more is hum, and no matter of gain (P)
NOISE_RISE_DB_PER_S = 0.25  # noise is what a pause shows; while somebody speaks the floor creeps up (P)
TRIM_SETTLES_S = 2.0  # the floor's tracker follows the trim so late (P)
LOOK_TICKS, NOISE_TICKS = 3, 24  # how often voices and noise are looked at


class Turns:
    """Tells own voice from bleed among ``n_channels`` microphones that share a room.

    Attributes
    ----------
    is_own
        Where a channel hears its own source.
    is_speaking
        Where a member hears his own talker clear of the noise.
    noise_dbfs
        Noise of each channel, trim taken out; NaN before the first look.
    even_noise_dbfs
        The same, kept within ``NOISE_SPREAD_DB`` of the talkers' median.
    """

    def __init__(self, n_channels: int, tick_s: float) -> None:
        self.takes_turns = np.zeros(n_channels, bool)
        self.is_own = np.ones(n_channels, bool)
        self.is_speaking = np.zeros(n_channels, bool)
        self.noise_dbfs = np.full(n_channels, np.nan)
        self.even_noise_dbfs = np.full(n_channels, QUIETEST_NOISE_DBFS)
        self._tick_s = tick_s
        self._n_ticks = 0
        self._above_noise_db = np.zeros(n_channels)
        self._trim_db = np.zeros(n_channels)
        self._rested_s = np.full(n_channels, TRIM_SETTLES_S)

    def set_members(self, takes_turns: NDArray[np.bool_]) -> None:
        """Say which channels are talkers of one table; the others are always themselves."""
        self.takes_turns = takes_turns.copy()
        self.is_own = np.ones(len(takes_turns), bool)

    def shift(self, ch: int, by_db: float) -> None:
        """Take a source for so much louder, its noise included: the gain in front of the box was turned."""
        self.noise_dbfs[ch] += by_db
        self.even_noise_dbfs[ch] += by_db

    def hear(
        self, rms_dbfs: NDArray[np.floating], floor_dbfs: NDArray[np.floating], trim_db: NDArray[np.floating]
    ) -> None:
        """Take in one tick: level and noise floor behind the trim."""
        if self._n_ticks % NOISE_TICKS == 0:
            self._hear_noise(floor_dbfs, trim_db)
        if self._n_ticks % LOOK_TICKS == 0 and np.count_nonzero(self.takes_turns) > 1:
            fallen_db = self._above_noise_db - FALL_DB_PER_S * LOOK_TICKS * self._tick_s
            self._above_noise_db = np.maximum(rms_dbfs - trim_db - self.even_noise_dbfs, fallen_db)
            top_db = self._above_noise_db[self.takes_turns].max()
            self.is_own = ~self.takes_turns | (self._above_noise_db > top_db - OWN_WITHIN_DB)
            self.is_speaking = self.takes_turns & self.is_own & (self._above_noise_db > SPEAKING_DB)
        self._n_ticks += 1

    def _hear_noise(self, floor_dbfs: NDArray[np.floating], trim_db: NDArray[np.floating]) -> None:
        dt_s = NOISE_TICKS * self._tick_s
        self._rested_s = np.where(trim_db == self._trim_db, self._rested_s + dt_s, 0.0)
        self._trim_db = np.array(trim_db, np.float64)
        fresh_dbfs = np.maximum(floor_dbfs - trim_db, QUIETEST_NOISE_DBFS)
        followed_dbfs = np.fmin(fresh_dbfs, self.noise_dbfs + NOISE_RISE_DB_PER_S * dt_s)
        is_settled = (self._rested_s >= TRIM_SETTLES_S) | np.isnan(self.noise_dbfs)
        self.noise_dbfs = np.where(is_settled, followed_dbfs, self.noise_dbfs)
        if self.takes_turns.any():
            middle_dbfs = float(np.median(self.noise_dbfs[self.takes_turns]))
            self.even_noise_dbfs = np.clip(
                self.noise_dbfs, middle_dbfs - NOISE_SPREAD_DB, middle_dbfs + NOISE_SPREAD_DB
            )
