"""The law by which open microphones share gain: how far each is lowered while N of them hear the same level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import ProbeError, checked
from .levels import ratio_db

PEAK_DBFS = -30.0  # a sine each: far over the law's own floor, far under any limiter with 32 of them
PERIOD_S = 0.5
LEAD_S = 1.5  # ramps of the mode, and the release of its smoothing
_FIRST_HZ, _STEP_HZ = 500.0, 40.0  # 32 of them lie within the band that the detectors hear
MIN_TONE_OVER_NOISE_DB = 20.0


@dataclass(frozen=True, kw_only=True)
class AutomixLaw:
    """Gain of open microphones.

    Parameters
    ----------
    n_open
        How many were open, ``(n_steps,)``.
    gain_db
        Of each one on the mean, in relation to one alone, ``(n_steps,)``.
    spread_db
        Between the one that is lowered least and the one that is lowered most, ``(n_steps,)``.
    """

    NAME: ClassVar[str] = "automix"

    n_open: tuple[int, ...]
    gain_db: tuple[float, ...]
    spread_db: tuple[float, ...]

    @property
    def law_db(self) -> tuple[float, ...]:
        """Return what sharing by power gives: 3 dB a doubling, so that N microphones are as loud as one."""
        return tuple(-10.0 * float(np.log10(n)) for n in self.n_open)

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        errors = [abs(gain - law) for gain, law in zip(self.gain_db, self.law_db, strict=True)]
        return {
            "worst_error_db": max(errors),
            "worst_spread_db": max(self.spread_db),
            **{f"gain_of_{n}_open_db": gain for n, gain in zip(self.n_open, self.gain_db, strict=True)},
        }

    def line(self) -> str:
        """Return it in one line."""
        steps = ", ".join(f"{n}: {gain:+z.2f} dB" for n, gain in zip(self.n_open, self.gain_db, strict=True))
        return f"open microphones: {steps} each; by power it were {', '.join(f'{g:+z.2f}' for g in self.law_db)} dB"


def law_signals(n_inputs: int, n_open: int, sample_rate_hz: float) -> NDArray[np.float64]:
    """Return ``(n_frames, n_inputs)``: a sine of its own on each of the first microphones, all as loud."""
    n_frames = round(LEAD_S * sample_rate_hz) + _period(sample_rate_hz)
    frames = np.zeros((n_frames, n_inputs))
    phase = 2 * np.pi * np.outer(np.arange(n_frames), _bins(n_open, sample_rate_hz)) / _period(sample_rate_hz)
    frames[:, :n_open] = 10.0 ** (PEAK_DBFS / 20.0) * np.sin(phase)
    return frames


def tone_levels_dbfs(
    recorded: NDArray[np.floating], n_open: int, sample_rate_hz: float, *, where: str = "output"
) -> NDArray[np.float64]:
    """Return how loud each microphone's sine is at the end of a recording of `law_signals`, ``(n_open,)``.

    Parameters
    ----------
    recorded
        ``(n_frames,)``; it ends where the signal does, or up to a latency after the sines began.

    Raises
    ------
    ProbeError
        When one of them is not there.
    """
    period = _period(sample_rate_hz)
    frames = checked(recorded, where, min_frames=period)[-period:]
    power = np.square(np.abs(np.fft.rfft(frames))) * 2.0 / period**2
    bins = _bins(n_open, sample_rate_hz)
    tones = power[bins]
    noise = float(np.median(power[bins[0] : bins[-1] + 10]))
    for ch, tone in enumerate(tones):
        if ratio_db(float(tone), max(noise, 1e-30)) < MIN_TONE_OVER_NOISE_DB:
            raise ProbeError(f"microphone {ch + 1} is not heard on {where} while {n_open} are open; check its strip")
    return np.asarray(10.0 * np.log10(tones / 0.5))


def automix_law(levels_dbfs: dict[int, NDArray[np.float64]]) -> AutomixLaw:
    """Return the law from what `tone_levels_dbfs` gave for each number of open microphones, 1 among them."""
    alone_dbfs = float(levels_dbfs[1][0])
    steps = sorted(levels_dbfs)
    return AutomixLaw(
        n_open=tuple(steps),
        gain_db=tuple(float(np.mean(levels_dbfs[n])) - alone_dbfs for n in steps),
        spread_db=tuple(float(np.ptp(levels_dbfs[n])) for n in steps),
    )


def _period(sample_rate_hz: float) -> int:
    return 2 * round(PERIOD_S * sample_rate_hz / 2)


def _bins(n_open: int, sample_rate_hz: float) -> NDArray[np.int64]:
    hz = _FIRST_HZ + _STEP_HZ * np.arange(n_open)
    return np.rint(hz * _period(sample_rate_hz) / sample_rate_hz).astype(np.int64)
