"""Crosstalk: how much of each output is heard on inputs that are not its own, at a low, a middle and a high tone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import ProbeError
from .levels import SILENCE_DBFS, ratio_db
from .signals import PEAK_DBFS, multitone

TONES_HZ = (100.0, 1000.0, 10000.0)
_PERIOD_S = 0.25
_LEAD_S = 0.1  # until the tones stand
_BESIDE = 8  # bins on each side of a tone that say how much noise it holds
MIN_TONE_OVER_NOISE_DB = 20.0
_CHANCE_DB = 10.0  # one bin of noise in 22,000 stands higher over their mean


@dataclass(frozen=True, kw_only=True)
class Crosstalk:
    """Every output against every input.

    Parameters
    ----------
    crosstalk_db
        ``(n_outputs, n_inputs)``: the worst of the three tones, in relation to the output's own input; that is 0.
    floor_db
        The same shape: what noise alone would have shown. A figure at its floor is an upper bound.
    own_input
        Where each output is heard most.
    """

    NAME: ClassVar[str] = "crosstalk"

    crosstalk_db: NDArray[np.float64]
    floor_db: NDArray[np.float64]
    own_input: tuple[int, ...]

    def worst(self) -> tuple[int, int, float]:
        """Return output, input and dB of the worst; -200 where there is one input only."""
        others = self.crosstalk_db.copy()
        others[np.arange(len(others)), self.own_input] = SILENCE_DBFS
        out, into = np.unravel_index(int(np.argmax(others)), others.shape)
        return int(out), int(into), float(others[out, into])

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        return {"worst_crosstalk_db": self.worst()[2], "worst_floor_db": float(np.max(self.floor_db))}

    def line(self) -> str:
        """Return it in one line."""
        out, into, worst_db = self.worst()
        if worst_db <= SILENCE_DBFS:
            return "crosstalk: none at all"
        bound = "at most " if worst_db <= self.floor_db[out, into] + _CHANCE_DB else ""
        return f"crosstalk: worst {bound}{worst_db:.1f} dB, from {out} into {into}"


def crosstalk_signals(n_outputs: int, sample_rate_hz: float, *, peak_dbfs: float = PEAK_DBFS) -> NDArray[np.float64]:
    """Return ``(n_frames, n_outputs)``: three tones, on one output after the other."""
    lead, period = _lengths(sample_rate_hz)
    # Tones on whole bins: any stretch of a period's length will do, once they stand.
    turn = np.resize(multitone(period, _tone_bins(period, sample_rate_hz), peak_dbfs=peak_dbfs), lead + period)
    frames = np.zeros((n_outputs * (lead + period), n_outputs))
    for ch in range(n_outputs):
        frames[ch * len(turn) : (ch + 1) * len(turn), ch] = turn
    return frames


def measure_crosstalk(
    recorded: NDArray[np.floating], n_outputs: int, sample_rate_hz: float, *, latency_frames: int
) -> Crosstalk:
    """Read a recording of `crosstalk_signals`.

    Parameters
    ----------
    recorded
        ``(n_frames, n_inputs)``; it goes on for the latency after what was played.
    latency_frames
        Of the path; as exact as a tenth of a second.

    Raises
    ------
    ProbeError
        When the recording is too short, or an output is heard nowhere.
    """
    lead, period = _lengths(sample_rate_hz)
    needed = n_outputs * (lead + period) + latency_frames
    if recorded.ndim != 2 or len(recorded) < needed:
        raise ProbeError(f"crosstalk of {n_outputs} outputs needs {needed} frames of every input, "
                         f"not an array of shape {recorded.shape}")  # fmt: skip
    bins = _tone_bins(period, sample_rate_hz)
    tones, noise = [], []
    for ch in range(n_outputs):
        start = ch * (lead + period) + lead + latency_frames
        power = np.square(np.abs(np.fft.rfft(recorded[start : start + period].astype(np.float64), axis=0)))
        tones.append(power[bins])
        noise.append(np.stack([np.median(_around(power, b), axis=0) / np.log(2.0) for b in bins]))
    return _matrix(np.array(tones), np.array(noise))


def _matrix(tones: NDArray[np.float64], noise: NDArray[np.float64]) -> Crosstalk:
    """Return the matrix from powers, ``(n_outputs, n_tones, n_inputs)``."""
    own = tuple(int(np.argmax(np.min(t, axis=0))) for t in tones)
    crosstalk_db, floor_db = (np.zeros((len(tones), tones.shape[2])) for _ in range(2))
    for out, into in enumerate(own):
        reference = tones[out, :, into]
        over_db = min(
            ratio_db(float(t), max(float(n), 1e-30)) for t, n in zip(reference, noise[out, :, into], strict=True)
        )
        if over_db < MIN_TONE_OVER_NOISE_DB:
            raise ProbeError(f"output {out} came back on no input; check its cable, mute and level")
        for ch in range(tones.shape[2]):
            pairs = list(zip(tones[out, :, ch], noise[out, :, ch], reference, strict=True))
            crosstalk_db[out, ch] = max(ratio_db(float(t), float(r)) for t, _, r in pairs)
            floor_db[out, ch] = max(ratio_db(float(n), float(r)) for _, n, r in pairs)
    return Crosstalk(crosstalk_db=crosstalk_db, floor_db=floor_db, own_input=own)


def _lengths(sample_rate_hz: float) -> tuple[int, int]:
    return round(_LEAD_S * sample_rate_hz), 2 * round(_PERIOD_S * sample_rate_hz / 2)


def _tone_bins(period: int, sample_rate_hz: float) -> NDArray[np.int64]:
    return np.rint(np.array(TONES_HZ) * period / sample_rate_hz).astype(np.int64)


def _around(power: NDArray[np.float64], at_bin: int) -> NDArray[np.float64]:
    return np.concatenate([power[at_bin - _BESIDE : at_bin - 1], power[at_bin + 2 : at_bin + 1 + _BESIDE]])
