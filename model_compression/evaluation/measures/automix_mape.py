"""Error of a mix against a reference in four groups of features, as the automatic-mixing field reports it.

Three numbers a member: ``mape_percent``, the parity mode (FxNorm and automix-toolkit; only comparable with figures
computed the same way); ``absolute``, the same error in its own unit; and ``fixed_percent``, the absolute error as a
share of a stated scale. The parity mode has traps by definition: digital zeros count as -600 dB in the spread, the
crest factor is a quotient of decibels, a mono target has no panning to divide by, and 1 LU means more per cent on a
loud mix. The absolute twin drops silent frames, floors at -100 dBFS, takes the crest as a difference and frequencies in
octaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

from dsp_kernels.reference.loudness import k_sections

from .framing import Array, as_stereo, at_rate, frames_of, magnitudes

RATE_HZ = 44100.0
N_FRAME, N_HOP = 4096, 1024
LOUDNESS_FRAME_S, LOUDNESS_HOP_S = 0.4, 0.2
SMOOTH_FRAMES = 40
TRIM_DB = 45.0
EPS, TINY = 1e-10, 1e-30
FLOOR_LIN, SILENT_DBFS = 1e-5, -70.0
PEAK_LIN = 10 ** (-1 / 20)
PAN_EDGES_HZ = ((0.0, 1e9), (0.0, 250.0), (250.0, 2500.0), (2500.0, 1e9))
CONTRAST_EDGES_HZ = (0.0, 250.0, 500.0, 1000.0, 2000.0, 1e9)
GROUPS = {
    "loudness": ("lufs", "peak"),
    "spectral": ("centroid", "bandwidth", "contrast", "rolloff", "flatness"),
    "panning": ("pan_all", "pan_low", "pan_mid", "pan_high"),
    "dynamic": ("rms", "spread", "crest"),
}
# Unit of the absolute twin, and how much of it counts as 100 % in the fixed variant.
SCALES = {
    "lufs": ("LU", 10.0), "peak": ("dB", 10.0), "centroid": ("octaves", 1.0), "bandwidth": ("octaves", 1.0),
    "contrast": ("dB", 10.0), "rolloff": ("octaves", 1.0), "flatness": ("dB", 10.0), "pan_all": ("ratio", 0.5),
    "pan_low": ("ratio", 0.5), "pan_mid": ("ratio", 0.5), "pan_high": ("ratio", 0.5), "rms": ("dB", 10.0),
    "spread": ("dB", 10.0), "crest": ("dB", 10.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FeatureError:
    """Error of one member; ``nan`` where the reference has nothing to compare with."""

    mape_percent: float
    absolute: float
    unit: str
    fixed_percent: float


@dataclass(frozen=True, kw_only=True)
class Series:
    """One feature over time for both modes, each ``(n,)`` or ``(n, k)`` with ``k`` averaged at the end."""

    parity: Array
    fixed: Array


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reference mix, trimmed and measured once for many comparisons."""

    span: slice
    series: dict[str, Series]
    is_heard: dict[str, NDArray[np.bool_]]  # by frames of 0.4 s, and of the spectra


def target_of(reference: NDArray[np.floating], rate_hz: float) -> Target:
    """Return what ``compare`` needs of a mix ``(n_frames, 1 or 2)``."""
    x = at_rate(as_stereo(reference), rate_hz, RATE_HZ)
    span = sounding_span(x)
    return Target(
        span=span,
        series=features(x[span]),
        is_heard={
            "loudness": _is_heard(_loudness_frames(x[span])),
            "other": _is_heard(frames_of(x[span], N_FRAME, N_HOP)),
        },
    )


def compare(target: Target, mix: NDArray[np.floating], rate_hz: float) -> dict[str, dict[str, FeatureError]]:
    """Return the error of each member of each group; ``mix``, ``(n_frames, 1 or 2)``, is as long as the reference."""
    of_mix = features(at_rate(as_stereo(mix), rate_hz, RATE_HZ)[target.span])
    return {
        group: {
            name: _error(
                name, target.series[name], of_mix[name], target.is_heard["loudness" if group == "loudness" else "other"]
            )
            for name in names
        }
        for group, names in GROUPS.items()
    }


def group_means(errors: dict[str, dict[str, FeatureError]], field: str = "mape_percent") -> dict[str, float]:
    """Return the plain mean of each group over the members that have a value."""
    return {
        group: float(np.mean(values)) if (values := _finite(members, field)) else float("nan")
        for group, members in errors.items()
    }


def _finite(members: dict[str, FeatureError], field: str) -> list[float]:
    return [value for member in members.values() if np.isfinite(value := getattr(member, field))]


def sounding_span(x: Array) -> slice:
    """Return the frames between the first and the last that are within 45 dB of the loudest."""
    half = N_FRAME // 2
    power = np.mean(frames_of(np.pad(x, ((half, half), (0, 0))), N_FRAME, N_HOP) ** 2, axis=1).max(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-TRIM_DB / 10))
    return slice(int(loud[0]) * N_HOP, (int(loud[-1]) + 1) * N_HOP) if len(loud) else slice(0, len(x))


def features(x: Array) -> dict[str, Series]:
    """Return every series of a stereo mix at 44.1 kHz."""
    normal = x * PEAK_LIN / max(float(np.abs(x).max()), EPS)
    left, right = (magnitudes(normal[:, ch], N_FRAME, N_HOP, is_root=True) for ch in (0, 1))
    return _loudness(x) | _spectral(left, right) | _panning(left, right) | _dynamic(normal)


def _is_heard(framed: Array) -> NDArray[np.bool_]:
    power = np.array([np.mean(frame**2) for frame in framed])
    return power > 10 ** (SILENT_DBFS / 10)


def _loudness_frames(x: Array) -> Array:
    return frames_of(x, int(LOUDNESS_FRAME_S * RATE_HZ), int(LOUDNESS_HOP_S * RATE_HZ))


def _loudness(x: Array) -> dict[str, Series]:
    sections = k_sections(RATE_HZ)
    framed = _loudness_frames(x)
    # Every frame is a programme of its own, with its filters at rest.
    power = np.array([np.sum(np.mean(sosfilt(sections, frame, axis=0) ** 2, axis=0)) for frame in framed])
    lufs = 10 * np.log10(np.maximum(power, 10 ** ((-70 + 0.691) / 10))) - 0.691
    peak = np.array([np.abs(frame).max() for frame in framed])
    return {
        "lufs": Series(parity=lufs, fixed=lufs),
        "peak": Series(parity=20 * np.log10(peak + EPS), fixed=20 * np.log10(np.maximum(peak, FLOOR_LIN))),
    }


def _spectral(left: Array, right: Array) -> dict[str, Series]:
    of_sides = [_spectral_of(side) for side in (left, right)]
    mean = {name: np.mean([side[name] for side in of_sides], axis=0) for name in of_sides[0]}
    series = {
        name: Series(parity=mean[name], fixed=np.log2(np.maximum(mean[name], 20.0)))
        for name in ("centroid", "bandwidth", "rolloff")
    }
    flatness_db = 20 * np.log10(np.maximum(mean["flatness"], EPS))
    series["flatness"] = Series(parity=1 - flatness_db, fixed=np.maximum(flatness_db, -100.0))
    series["contrast"] = Series(parity=mean["contrast"], fixed=mean["contrast"])
    return series


def _spectral_of(magnitude: Array) -> dict[str, Array]:
    freq_hz = np.fft.rfftfreq(N_FRAME, 1 / RATE_HZ)
    share = magnitude / np.maximum(magnitude.sum(axis=1, keepdims=True), EPS)
    centroid = share @ freq_hz
    bandwidth = np.sqrt(np.sum(share * (freq_hz - centroid[:, None]) ** 2, axis=1))
    rolloff = freq_hz[np.minimum((np.cumsum(share, axis=1) < 0.85).sum(axis=1), len(freq_hz) - 1)]
    power = np.maximum(magnitude**2, EPS)
    flatness = np.exp(np.mean(np.log(power), axis=1)) / power.mean(axis=1)
    bands = [
        _contrast_db(magnitude[:, (freq_hz >= low) & (freq_hz < high)]) for low, high in pairwise(CONTRAST_EDGES_HZ)
    ]
    contrast = np.stack([bands[0], np.mean(bands[1:4], axis=0), bands[4]], axis=1)
    return {
        "centroid": centroid,
        "bandwidth": bandwidth,
        "rolloff": rolloff,
        "flatness": flatness,
        "contrast": contrast,
    }


def _contrast_db(band: Array) -> Array:
    n = max(1, round(0.02 * band.shape[1]))
    ordered = np.partition(band, (n - 1, band.shape[1] - n), axis=1)
    peak, valley = ordered[:, -n:].mean(axis=1), ordered[:, :n].mean(axis=1)
    return 10 * np.log10(np.maximum(peak, EPS)) - 10 * np.log10(np.maximum(valley, EPS))


def _panning(left: Array, right: Array) -> dict[str, Series]:
    similarity = 2 * left * right / np.maximum(left**2 + right**2, EPS**2)
    position = (1 - similarity) * np.sign(right - left)
    freq_hz = np.fft.rfftfreq(N_FRAME, 1 / RATE_HZ)
    series = {}
    for name, (low, high) in zip(GROUPS["panning"], PAN_EDGES_HZ, strict=True):
        rms = np.sqrt(np.mean(position[:, (freq_hz >= low) & (freq_hz < high)] ** 2, axis=1))
        series[name] = Series(parity=rms, fixed=rms)
    return series


def _dynamic(x: Array) -> dict[str, Series]:
    size = np.abs(x)
    peak = _over_frames(size, np.max)
    rms = np.sqrt(_over_frames(x**2, np.mean))
    mean_db = _over_frames(20 * np.log10(size + TINY), np.mean)
    mean_floored_db = _over_frames(20 * np.log10(np.maximum(size, FLOOR_LIN)), np.mean)
    rms_db, rms_floored_db = 20 * np.log10(rms + TINY), 20 * np.log10(np.maximum(rms, FLOOR_LIN))
    peak_db, peak_floored_db = 20 * np.log10(peak + TINY), 20 * np.log10(np.maximum(peak, FLOOR_LIN))
    quotient = peak_db / np.where(np.abs(rms_db) < EPS, EPS, rms_db)
    return {
        "rms": Series(parity=1 - rms_db.mean(axis=1), fixed=rms_floored_db.mean(axis=1)),
        "spread": Series(
            parity=1 - (mean_db - rms_db).mean(axis=1), fixed=(mean_floored_db - rms_floored_db).mean(axis=1)
        ),
        "crest": Series(parity=quotient.mean(axis=1), fixed=(peak_floored_db - rms_floored_db).mean(axis=1)),
    }


def _over_frames(x: Array, fold: Callable[..., Any]) -> Array:
    """Return mean or maximum of each whole frame of ``x (n_frames, 2)``, by way of its hops."""
    if len(x) < N_FRAME:
        return np.asarray(fold(frames_of(x, N_FRAME, N_HOP), axis=1))
    hops = fold(x[: len(x) // N_HOP * N_HOP].reshape(-1, N_HOP, x.shape[1]), axis=1)
    n_hops = N_FRAME // N_HOP
    return np.asarray(fold([hops[k : len(hops) - n_hops + 1 + k] for k in range(n_hops)], axis=0))


def _smooth(x: Array) -> Array:
    if len(x) < SMOOTH_FRAMES:
        return x.mean(axis=0, keepdims=True)
    total = np.cumsum(np.concatenate([np.zeros((1, *x.shape[1:])), x]), axis=0)
    return (total[SMOOTH_FRAMES:] - total[:-SMOOTH_FRAMES]) / SMOOTH_FRAMES


def _error(name: str, target: Series, output: Series, is_heard: NDArray[np.bool_]) -> FeatureError:
    unit, scale = SCALES[name]
    n = min(len(target.parity), len(output.parity))
    t, o = _smooth(target.parity[:n]), _smooth(output.parity[:n])
    if name.startswith("pan_"):
        # A running sum leaves rounding errors where the target is mono: those frames count as zero.
        t, o = t[t > 1e-9], o[t > 1e-9]
    mape = 100 * float(np.mean(np.abs(t - o) / np.maximum(np.abs(t), EPS))) if t.size else float("nan")
    is_heard = is_heard[:n]
    if not is_heard.any():
        return FeatureError(mape_percent=mape, absolute=float("nan"), unit=unit, fixed_percent=float("nan"))
    absolute = float(np.mean(np.abs(_smooth(target.fixed[:n][is_heard]) - _smooth(output.fixed[:n][is_heard]))))
    return FeatureError(mape_percent=mape, absolute=absolute, unit=unit, fixed_percent=100 * absolute / scale)
