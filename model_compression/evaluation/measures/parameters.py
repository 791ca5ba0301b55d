"""Errors of console settings in units that one hears: the response of an equaliser, the curve of a compressor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import TONE_REGIONS_HZ
from dsp_kernels.native import installed
from dsp_kernels.reference.compressor import reduction_db

from .framing import Array

SECTION_TYPES = {"bell": 1, "low_shelf": 2, "high_shelf": 3, "high_pass": 4, "tilt": 5, "unmask": 1}
RATE_HZ = 48000.0
LOG_BANDS_HZ = np.geomspace(20.0, 20000.0, 64)
TONE_Q = 0.9
KNEE_DB = 6.0
SLOW_LOUDNESS_DBFS = -20.0  # where a threshold relative to a channel's own loudness is put on the scale
SEND_FLOOR_DB = -60.0
DEGREES_A_SIDE = 45.0


@dataclass(frozen=True, kw_only=True)
class Band:
    """One section of an equaliser; ``kind`` is a key of ``SECTION_TYPES``."""

    kind: str
    freq_hz: float
    gain_db: float = 0.0
    q: float = 0.7071


def response_db(bands: Sequence[Band], freq_hz: Array = LOG_BANDS_HZ, rate_hz: float = RATE_HZ) -> Array:
    """Return the gain of all bands together at ``freq_hz``, as the kernel filters."""
    library = installed()
    at = np.ascontiguousarray(freq_hz, np.float32)
    total, one = np.zeros(len(at)), np.zeros(len(at), np.float32)
    for band in bands:
        design = library.ffi.new(
            "eh_section_design *",
            {"type": SECTION_TYPES[band.kind], "freq_hz": band.freq_hz, "gain_db": band.gain_db, "q": band.q},
        )
        floats = [library.ffi.cast("float *", array.ctypes.data) for array in (at, one)]
        library.lib.eh_section_response_db(design, rate_hz, *floats, len(at))
        total += one
    return total


def tone_bands(tone_db: NDArray[np.floating]) -> list[Band]:
    """Return the bells of the tone regions, ``tone_db`` of shape ``(4,)``."""
    return [
        Band(kind="bell", freq_hz=hz, gain_db=float(gain), q=TONE_Q)
        for hz, gain in zip(TONE_REGIONS_HZ, tone_db, strict=True)
    ]


def eq_error_db(mine: Sequence[Band], truth: Sequence[Band]) -> float:
    """Return the RMS of the difference of two responses over 64 log-spaced frequencies: equal sound is 0."""
    return float(np.sqrt(np.mean((response_db(mine) - response_db(truth)) ** 2)))


def tone_error_db(mine: NDArray[np.floating], truth: NDArray[np.floating]) -> Array:
    """Return ``eq_error_db`` of each row of tone gains ``(n, 4)``.

    The bells barely overlap at these gains: the response is taken as linear in dB gain, from a bell of 6 dB each.
    """
    unit = np.stack([response_db([Band(kind="bell", freq_hz=hz, gain_db=6.0, q=TONE_Q)]) for hz in TONE_REGIONS_HZ])
    return np.sqrt(np.mean(((np.asarray(mine) - np.asarray(truth)) @ (unit / 6.0)) ** 2, axis=1))


def compressor_error_db(mine: tuple[float, float], truth: tuple[float, float], *, knee_db: float = KNEE_DB) -> float:
    """Return the RMS difference of two static curves from -60 to 0 dBFS; each ``(threshold_dbfs, ratio)``."""
    levels = np.arange(-60.0, 0.5, 1.0)
    curves = [
        [reduction_db(level, threshold, max(ratio, 1.0), knee_db) for level in levels]
        for threshold, ratio in (mine, truth)
    ]
    return float(np.sqrt(np.mean(np.diff(curves, axis=0) ** 2)))


def relative_compressor_error_db(mine: NDArray[np.floating], truth: NDArray[np.floating]) -> Array:
    """Return ``compressor_error_db`` of rows ``(threshold re slow loudness dB, ratio)`` at a slow loudness of -20."""
    return np.array(
        [
            compressor_error_db(
                (SLOW_LOUDNESS_DBFS + float(a[0]), float(a[1])), (SLOW_LOUDNESS_DBFS + float(b[0]), float(b[1]))
            )
            for a, b in zip(mine, truth, strict=True)
        ]
    )


def time_error_octaves(mine_ms: float, truth_ms: float) -> float:
    """Return the error of an attack or release time."""
    return float(abs(np.log2(mine_ms / truth_ms)))


def send_error_db(mine_db: NDArray[np.floating], truth_db: NDArray[np.floating]) -> Array:
    """Return the difference of two send levels; under -60 dB all levels are one."""
    return np.abs(np.maximum(mine_db, SEND_FLOOR_DB) - np.maximum(truth_db, SEND_FLOOR_DB))


def pan_error_degrees(mine: NDArray[np.floating], truth: NDArray[np.floating]) -> Array:
    """Return the difference of two positions -1 to 1 as the angle of the constant-power law, 45 degrees a side."""
    return DEGREES_A_SIDE * np.abs(np.asarray(mine) - np.asarray(truth))
