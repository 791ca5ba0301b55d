"""What the strip's filters do to each band, from their analogue prototypes: enough for decisions, cheap in NumPy.

The state-variable filters of the engine follow the same prototypes, bent by tan() near half the sample rate; up to
12 kHz at 48 kHz the two differ by less than 1 dB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ANALYSIS

from .mixer_state import MixerState

# Zwicker's critical bands: edges in Hz.
BARK_EDGE_HZ = np.array(
    [0, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300, 6400,
     7700, 9500, 12000, 15500], float)  # fmt: skip
BARK_HZ = np.sqrt(np.maximum(BARK_EDGE_HZ[:-1], 40.0) * BARK_EDGE_HZ[1:])


def _mel_centres_hz() -> NDArray[np.float64]:
    def mel(freq_hz: float) -> float:
        return 2595.0 * np.log10(1.0 + freq_hz / 700.0)

    points = np.linspace(mel(30.0), mel(16000.0), int(ANALYSIS["n_mel"]) + 2)
    return 700.0 * (10.0 ** (points[1:-1] / 2595.0) - 1.0)


MEL_HZ = _mel_centres_hz()
_EQ = [f"eq.{n}" for n in (1, 2, 3, 4)]
_UNMASK = ["unmask.1", "unmask.2"]


def bell_power(freq_hz: NDArray, centre_hz: NDArray, gain_db: NDArray, q: NDArray) -> NDArray[np.float64]:
    """Return |H|^2 of a bell: (s^2 + s A/Q + 1) / (s^2 + s/(A Q) + 1), A = 10^(dB/40)."""
    x2 = (freq_hz / centre_hz) ** 2
    a2 = 10.0 ** (gain_db / 20.0)
    square, slope = (1.0 - x2) ** 2, x2 / q**2
    return (square + slope * a2) / (square + slope / a2)


def shelf_power(freq_hz: NDArray, corner_hz: NDArray, gain_db: NDArray, q: NDArray, is_high: NDArray) -> NDArray:
    """Return |H|^2 of a shelf of the same family, low: A (s^2 + s sqrt(A)/Q + A) / (A s^2 + s sqrt(A)/Q + 1)."""
    ratio = np.where(is_high, freq_hz / corner_hz, corner_hz / freq_hz)
    x2, a = ratio**2, 10.0 ** (gain_db / 40.0)
    slope = a * x2 / q**2  # high shelf: A (A s^2 + ...) / (s^2 + ... + A); the low one is its mirror
    return a**2 * ((1.0 - a * x2) ** 2 + slope) / ((a - x2) ** 2 + slope)


class MixGain:
    """Gain with which each critical band of each channel reaches the mix, computed again only when something moved."""

    def __init__(self, state: MixerState, n_channels: int) -> None:
        names = ["hpf.is_on", "hpf.freq_hz", "tilt.gain_db", "tilt.freq_hz"]
        names += [f"{band}.{field}" for band in _EQ for field in ("is_on", "type", "freq_hz", "gain_db", "q")]
        self._filters = _Watched(state, n_channels, names)
        self._unmask = _Watched(state, n_channels, [f"{b}.{f}" for b in _UNMASK for f in ("freq_hz", "gain_db", "q")])
        self._fader = _Watched(state, n_channels, ["fader.level_db", "fader.is_muted"])
        shape = (n_channels, len(BARK_HZ))
        self._filter_lin, self._unmask_lin, self._own_lin = np.ones(shape), np.ones(shape), np.ones(shape)
        self._gain_lin = np.ones(shape)
        self.n_computed = 0  # times that a filter response was worked out

    def read(self) -> NDArray[np.float64]:
        """Return linear gains, shape ``(n_channels, 24)``: high-pass, EQ, tilt, unmask, fader and mute."""
        own_lin = self.without_unmask()
        if self._unmask.has_moved():
            self._unmask_lin = np.sqrt(_unmask_power(self._unmask.now))
            self.n_computed += 1
        if own_lin is not self._own_lin or self._unmask.is_fresh:
            self._gain_lin = own_lin * self._unmask_lin
            self._own_lin, self._unmask.is_fresh = own_lin, False
        return self._gain_lin

    def without_unmask(self) -> NDArray[np.float64]:
        """Return the same without the unmask bands: what a channel would do if nobody made room."""
        has_new_filters, has_new_faders = self._filters.has_moved(), self._fader.has_moved()
        if has_new_filters:
            self._filter_lin = np.sqrt(_filter_power(self._filters.now))
            self.n_computed += 1
        if has_new_filters or has_new_faders:
            level_db, is_muted = self._fader.now.values()
            fader_lin = np.where((is_muted > 0.5) | (level_db <= -90.0), 0.0, 10.0 ** (level_db / 20.0))
            self._plain_lin = self._filter_lin * fader_lin
        return self._plain_lin


class _Watched:
    """Some channel parameters, and whether they moved since they were looked at last."""

    def __init__(self, state: MixerState, n_channels: int, names: list[str]) -> None:
        self._views = {name: state.column(name, n_channels) for name in names}
        self._before = np.full((len(names), n_channels), np.nan, np.float32)
        self.is_fresh = False

    def has_moved(self) -> bool:
        now = np.stack(list(self._views.values()))
        if np.array_equal(now, self._before):
            return False
        self._before, self.is_fresh = now, True
        return True

    @property
    def now(self) -> dict[str, NDArray[np.float64]]:
        """The values as last looked at, each of shape ``(n_channels, 1)``."""
        return dict(zip(self._views, self._before.astype(np.float64)[:, :, None], strict=True))


def _filter_power(c: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    x4 = (BARK_HZ / c["hpf.freq_hz"]) ** 4
    power = np.where(c["hpf.is_on"] > 0.5, x4 / (1.0 + x4), 1.0)
    tilt = 10.0 ** (c["tilt.gain_db"] / 20.0)  # first order: 1/t far below the pivot, t far above
    x2 = (BARK_HZ / c["tilt.freq_hz"]) ** 2
    power = power * (1.0 / tilt + x2 * tilt) / (tilt + x2 / tilt)
    for band in _EQ:
        gain_db = np.where(c[f"{band}.is_on"] > 0.5, c[f"{band}.gain_db"], 0.0)
        if gain_db.any():
            freq_hz, q, kind = c[f"{band}.freq_hz"], c[f"{band}.q"], c[f"{band}.type"]
            shelf = shelf_power(BARK_HZ, freq_hz, gain_db, q, kind > 1.5)
            power = power * np.where(kind < 0.5, bell_power(BARK_HZ, freq_hz, gain_db, q), shelf)
    return power


def _unmask_power(c: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    power = np.ones((len(c["unmask.1.q"]), len(BARK_HZ)))
    for band in _UNMASK:
        if c[f"{band}.gain_db"].any():
            power = power * bell_power(BARK_HZ, c[f"{band}.freq_hz"], c[f"{band}.gain_db"], c[f"{band}.q"])
    return power
