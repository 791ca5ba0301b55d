"""An exact offline console: equaliser, compressor, gain, pan and reverb send of each channel, by the box's kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, installed

from .measures.loudness import SILENCE_LUFS, measure
from .measures.parameters import KNEE_DB, SECTION_TYPES, Band

SEND_OFF_DB = -40.0  # a send that is off, in data sets and models
N_LANES = 4  # of a kernel bank; a channel uses one or two of them


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a channel gets.

    Attributes
    ----------
    gain_track_db
        ``(n_ticks,)`` gain over time on top of ``gain_db``, a straight line from tick to tick; None for none.
    compressor
        Threshold in dBFS and ratio; its make-up gives the strip the loudness back that it had before.
    send_track_db
        ``(n_ticks,)`` level of the send behind gain and pan; None for none. At ``SEND_OFF_DB`` it is off.
    """

    gain_db: float = 0.0
    pan: float = 0.0
    bands: tuple[Band, ...] = ()
    gain_track_db: NDArray[np.floating] | None = None
    track_tick_s: float = 0.05
    compressor: tuple[float, float] | None = None
    send_track_db: NDArray[np.floating] | None = None


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A mix ``(n_frames, 2)`` and the channels that sum up to it, but for the reverb."""

    mix: NDArray[np.float32]
    strips: list[NDArray[np.float32]]


def render(stems: Sequence[NDArray[np.floating]], settings: Sequence[Setting], rate_hz: float) -> Mixed:
    """Mix stems ``(n_frames, 1 or 2)``; the mix is as long as the longest."""
    n_frames = max(len(stem) for stem in stems)
    strips, mix, sent = [], np.zeros((n_frames, 2)), np.zeros((n_frames, 1), np.float32)
    for stem, setting in zip(stems, settings, strict=True):
        strip = np.zeros((n_frames, 2), np.float32)
        strip[: len(stem)] = _strip(np.asarray(stem, np.float32), setting, rate_hz)
        strips.append(strip)
        mix += strip
        if setting.send_track_db is not None:
            sent += strip.mean(axis=1, keepdims=True) * _line_lin(setting.send_track_db, setting, n_frames, rate_hz)
    if sent.any():
        mix += _reverberated(sent, rate_hz)
    return Mixed(mix=mix.astype(np.float32), strips=strips)


def _strip(stem: NDArray[np.float32], setting: Setting, rate_hz: float) -> NDArray[np.float32]:
    n_lanes = stem.shape[1]
    lanes = np.zeros((len(stem), N_LANES), np.float32)
    lanes[:, :n_lanes] = stem
    if setting.bands:
        lanes = _equalised(lanes, n_lanes, setting.bands, rate_hz)
    if setting.compressor is not None and setting.compressor[1] > 1.0:
        lanes = _compressed(lanes, n_lanes, setting.compressor, rate_hz)
    if setting.gain_track_db is not None:
        lanes *= _line_lin(setting.gain_track_db, setting, len(stem), rate_hz)
    gain_lin = 10 ** (setting.gain_db / 20)
    return np.asarray((lanes[:, :n_lanes] @ (pan_matrix(setting.pan, n_lanes) * gain_lin)).astype(np.float32))


def _line_lin(track_db: NDArray[np.floating], setting: Setting, n_frames: int, rate_hz: float) -> NDArray[np.float32]:
    """Return a gain over frames, ``(n_frames, 1)``; at ``SEND_OFF_DB`` and below none."""
    ticks_s = np.arange(len(track_db)) * setting.track_tick_s
    line_db = np.interp(np.arange(n_frames) / rate_hz, ticks_s, track_db)
    return np.where(line_db > SEND_OFF_DB, 10 ** (line_db / 20), 0.0).astype(np.float32)[:, None]


def _compressed(
    lanes: NDArray[np.float32], n_used: int, threshold_and_ratio: tuple[float, float], rate_hz: float
) -> NDArray[np.float32]:
    compressor = Kernel(installed(), "compressor", float(rate_hz), N_LANES, size_arguments=(N_LANES,))
    threshold_dbfs, ratio = threshold_and_ratio
    for lane in range(n_used):
        params = compressor.params("compressor", is_on=1, threshold_dbfs=threshold_dbfs, ratio=ratio, knee_db=KNEE_DB)
        compressor.call("set", lane, params)
    if n_used == 2:
        compressor.call("link", 0, 1)
    compressor.call("reset")
    out = compressor.process(lanes)
    before, after = (measure(x[:, :n_used], rate_hz).integrated_lufs for x in (lanes, out))
    return out * np.float32(10 ** ((before - after) / 20)) if min(before, after) > SILENCE_LUFS else out


def _reverberated(sent: NDArray[np.float32], rate_hz: float) -> NDArray[np.float32]:
    reverb = Kernel(installed(), "reverb", float(rate_hz), size_arguments=(float(rate_hz),))
    reverb.call("set", reverb.params("reverb"))
    reverb.call("reset")
    return reverb.process(sent, out_lanes=2)


def pan_matrix(position: float, n_lanes: int) -> NDArray[np.float64]:
    """Return the gains from one or two lanes into left and right, ``(n_lanes, 2)``."""
    library = installed()
    if n_lanes == 1:
        gains = library.ffi.new("float[2]")
        library.lib.eh_pan_mono(position, gains)
        return np.array([list(gains)])
    pairs = library.ffi.new("float[2][2]")
    library.lib.eh_pan_stereo(position, 1.0, pairs)
    return np.array([list(pairs[0]), list(pairs[1])])


def _equalised(lanes: NDArray[np.float32], n_used: int, bands: Sequence[Band], rate_hz: float) -> NDArray[np.float32]:
    n_sections = len(bands)
    eq = Kernel(installed(), "eq", float(rate_hz), N_LANES, n_sections, size_arguments=(N_LANES, n_sections))
    for k, band in enumerate(bands):
        design = eq.ffi.new(
            "eh_section_design *",
            {"type": SECTION_TYPES[band.kind], "freq_hz": band.freq_hz, "gain_db": band.gain_db, "q": band.q},
        )
        for lane in range(n_used):
            eq.call("set", lane, k, design, 0.0)
    eq.call("reset")
    return eq.process(lanes)


def gain_shared(stems: Sequence[NDArray[np.floating]], rate_hz: float) -> list[NDArray[np.float32]]:
    """Return mono stems behind Dugan's gain sharing with NOM, as the kernel does it for speech."""
    n_frames = max(len(stem) for stem in stems)
    n_lanes = -(-len(stems) // 4) * 4
    lanes = np.zeros((n_frames, n_lanes), np.float32)
    for k, stem in enumerate(stems):
        lanes[: len(stem), k] = np.asarray(stem, np.float32).mean(axis=1)
    automix = Kernel(installed(), "automix", float(rate_hz), n_lanes, size_arguments=(n_lanes,))
    speech = {"mode": 1, "is_last_hold_on": 1}
    automix.call("set_group", 0, automix.params("share", **speech))
    for k in range(n_lanes):
        automix.call("map_lane", k, k if k < len(stems) else -1)
    for k in range(len(stems)):
        automix.call("set_channel", k, automix.params("automix", group=1), 1.0)
    automix.call("reset")
    shared = automix.process(lanes)
    return [shared[:, k : k + 1] for k in range(len(stems))]
