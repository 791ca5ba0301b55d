"""What is heard beside a tone while a parameter moves: kernels of the box with the ramps of the contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

import dsp_kernels
from dsp_kernels.native import Kernel, installed

from .measures.parameters import SECTION_TYPES

RATE_HZ, TONE_HZ, TONE_LIN = 48000, 400.0, 0.5
ABOVE_HZ = 6000.0  # a click is broad, a tone that is turned up is not
SECONDS, MOVED_AT_S = 3.0, 2.0
N_LANES = 4
STEP_DB = 6.0
RAMPS = Path(dsp_kernels.__file__).parent / "contract" / "generated" / "eh_ramps.h"


@cache
def ramps_ms() -> dict[str, float]:
    """Return the ramp of every parameter of the contract, by its name in C."""
    return {
        name: float(value)
        for name, value in re.findall(r"#define EH_(\w+)_RAMP_MS ([0-9.]+)f", RAMPS.read_text(encoding="utf-8"))
    }


def residue_dbfs(y: NDArray[np.floating]) -> float:
    """Return the peak above 6 kHz from shortly before the parameter moved, against full scale."""
    high = sosfilt(butter(8, ABOVE_HZ, "highpass", fs=RATE_HZ, output="sos"), np.asarray(y, np.float64), axis=0)
    return float(20 * np.log10(np.abs(high[int((MOVED_AT_S - 0.05) * RATE_HZ) :]).max() + 1e-12))


def residues() -> dict[str, float]:
    """Return the residue of a step of 6 dB of each kind of parameter that a decision moves."""
    ramp = ramps_ms()

    def gain(kernel: Kernel, level_db: float, ramp_ms: float) -> None:
        kernel.call("set", 0, 10 ** (level_db / 20), ramp_ms)

    def bell(kernel: Kernel, level_db: float, ramp_ms: float) -> None:
        design = kernel.ffi.new(
            "eh_section_design *", {"type": SECTION_TYPES["bell"], "freq_hz": 570.0, "gain_db": level_db, "q": 0.9}
        )
        kernel.call("set", 0, 0, design, ramp_ms)

    def threshold(kernel: Kernel, level_db: float, _ramp_ms: float) -> None:
        params = kernel.params("compressor", is_on=1, threshold_dbfs=-24.0 + level_db, ratio=4.0)
        kernel.call("set", 0, params)

    ways: dict[str, tuple[tuple[str, tuple[int, ...]], Callable[[Kernel, float, float], None], float]] = {
        "fader": (("gain", ()), gain, ramp["FADER_LEVEL_DB"]),
        "trim": (("gain", ()), gain, ramp["INPUT_TRIM_DB"]),
        "equaliser": (("eq", (N_LANES, 1)), bell, ramp["EQ_GAIN_DB"]),
        "compressor": (("compressor", (N_LANES,)), threshold, 0.0),
    }
    return {name: residue_dbfs(_moved(*kind, move, ramp_ms)) for name, (kind, move, ramp_ms) in ways.items()}


def _moved(name: str, sizes: tuple[int, ...], move: Callable[[Kernel, float, float], Any], ramp_ms: float) -> Any:
    arguments = sizes or (N_LANES,)
    kernel = Kernel(installed(), name, float(RATE_HZ), *arguments, **({"size_arguments": sizes} if sizes else {}))
    x = np.zeros((int(SECONDS * RATE_HZ), N_LANES), np.float32)
    x[:, 0] = TONE_LIN * np.sin(2 * np.pi * TONE_HZ * np.arange(len(x)) / RATE_HZ)
    first = int(MOVED_AT_S * RATE_HZ)
    move(kernel, 0.0, 0.0)
    kernel.call("reset")
    before = kernel.process(x[:first])
    move(kernel, -STEP_DB, ramp_ms)
    return np.concatenate([before, kernel.process(x[first:])])[:, 0]
