"""A mixer without sound: turns parameters and source levels into what the engine would show, for closed loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import BUS_METERS_DTYPE, CHANNEL_METERS_DTYPE, FEATURES_DTYPE, MIX_FEATURES_DTYPE
from firmware.control.control import TICK_S, Control
from firmware.control.responses import BARK_HZ, MEL_HZ
from firmware.observation import ChannelSetup, Loudness, Observation

SILENCE_DB = -100.0
MOMENTARY_TICKS, SHORT_TICKS, METER_TICKS = 20, 150, 15
BLOCK_TICKS = 5  # a gating block begins each 100 ms


def setups(*names: str, stereo: Sequence[str] = ()) -> list[ChannelSetup]:
    """Return mono strips of these names."""
    return [ChannelSetup(name=name, is_stereo=name in stereo) for name in names]


def level(power: NDArray | float) -> NDArray:
    """Return 10 log10, not under silence."""
    return 10.0 * np.log10(np.maximum(power, 1e-10))


class Source:
    """What stands in front of a channel.

    Parameters
    ----------
    level_dbfs
        RMS at the input, trim 0, as a number or a function of time in seconds; -inf is silence.
    centre_hz, width_octaves
        Where its spectrum lies.
    """

    def __init__(
        self, level_dbfs: float | Callable[[float], float] = -30.0, *,
        crest_db: float = 12.0, floor_dbfs: float = -75.0,
        centre_hz: float = 700.0, width_octaves: float = 2.0, features: dict[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.level_at = level_dbfs if callable(level_dbfs) else (lambda _t: level_dbfs)
        self.crest_db, self.floor_dbfs, self.features = crest_db, floor_dbfs, features or {}
        self.mel_shape_db = -6.0 * np.abs(np.log2(MEL_HZ / centre_hz) / width_octaves) ** 2 - 10.0
        self.bark_shape_db = -6.0 * np.abs(np.log2(BARK_HZ / centre_hz) / width_octaves) ** 2 - 8.0


class Plant:
    """Sources, a mixer and its control, tick by tick."""

    def __init__(self, control: Control, sources: Sequence[Source]) -> None:
        self.control, self.sources = control, list(sources)
        self.n = len(self.sources)
        self.params = control.snapshot()
        self.time_s = 0.0
        self.strip = np.zeros((SHORT_TICKS, self.n))  # power behind the strip, newest last
        self.mix: list[float] = []  # power of the record bus, per tick
        self.history: dict[str, list[NDArray]] = {"fader": [], "trim": [], "ride": []}
        self._blocks: list[float] = []
        self.integrated_lufs = SILENCE_DB

    def run(self, seconds: float) -> Plant:
        """Go on for so long."""
        for _ in range(round(seconds / TICK_S)):
            self.step()
        return self

    def step(self) -> None:
        """One tick."""
        snapshot = self.control.tick(self.observe())
        if snapshot is not None:
            self.params = snapshot
        self.history["fader"].append(self.value("fader.level_db").copy())
        self.history["trim"].append(self.value("input.trim_db").copy())
        self.history["ride"].append(self.params["record"]["ride.gain_db"][0])

    def value(self, name: str) -> NDArray:
        """Return a channel parameter as the engine has it."""
        return self.params["channel"][name][: self.n]

    def observe(self) -> Observation:
        """Return what the engine shows at the end of this tick."""
        self.time_s += TICK_S
        trim = self.value("input.trim_db").astype(float)
        source_db = np.array([s.level_at(self.time_s) for s in self.sources])
        is_active = source_db > -90.0
        floor_db = np.array([s.floor_dbfs for s in self.sources])
        rms = np.maximum(np.maximum(source_db, floor_db) + trim, SILENCE_DB)
        self.strip = np.vstack([self.strip[1:], 10.0 ** (rms / 10.0)])
        momentary = level(self.strip[-MOMENTARY_TICKS:].mean(axis=0))
        self._mix(rms)
        features = np.zeros(self.n, FEATURES_DTYPE)
        for ch, source in enumerate(self.sources):
            for name, value in source.features.items():
                features[name][ch] = value
            features["log_mel_db"][ch] = source.mel_shape_db + rms[ch]
            features["bark_dbfs"][ch] = source.bark_shape_db + rms[ch]
        features["rms_dbfs"], features["is_active"], features["masked_fraction"] = rms, is_active, 0.5
        features["crest_db"] = [s.crest_db for s in self.sources]
        features["noise_floor_dbfs"] = np.maximum(floor_db + trim, SILENCE_DB)
        features["strip_loudness_momentary_lufs"] = features["loudness_momentary_lufs"] = momentary
        meters = np.zeros(self.n, CHANNEL_METERS_DTYPE)
        meters["input_rms_dbfs"] = level(self.strip[-METER_TICKS:].mean(axis=0))
        meters["input_peak_dbfs"] = np.where(is_active, rms + [s.crest_db for s in self.sources], rms)
        return Observation(
            time_s=self.time_s, features=features, mix_features=np.zeros((), MIX_FEATURES_DTYPE), channel_meters=meters,
            bus_meters=np.zeros(12, BUS_METERS_DTYPE), loudness=self._loudness(),
        )  # fmt: skip

    def _mix(self, rms: NDArray) -> None:
        gain_db = self.value("fader.level_db") + float(self.params["record"]["ride.gain_db"][0])
        self.mix.append(float((10.0 ** ((rms + gain_db) / 10.0)).sum()))
        if len(self.mix) >= MOMENTARY_TICKS and len(self.mix) % BLOCK_TICKS == 0:
            self._blocks.append(float(np.mean(self.mix[-MOMENTARY_TICKS:])))
            blocks = np.array(self._blocks)
            loud = blocks[blocks > 10.0**-7]
            if loud.size:
                self.integrated_lufs = float(level(loud[loud > 0.1 * loud.mean()].mean()))

    def _loudness(self) -> Loudness:
        enough = len(self.mix) >= MOMENTARY_TICKS
        return Loudness(
            momentary_lufs=float(level(float(np.mean(self.mix[-MOMENTARY_TICKS:])))) if enough else SILENCE_DB,
            short_term_lufs=float(level(float(np.mean(self.mix[-SHORT_TICKS:])))) if enough else SILENCE_DB,
            integrated_lufs=self.integrated_lufs, loudness_range_lu=0.0, sample_peak_dbfs=-6.0, true_peak_dbtp=-6.0,
        )  # fmt: skip

    def track(self, name: str) -> NDArray:
        """Return what was recorded of ``fader``, ``trim`` or ``ride``, a row a tick."""
        return np.array(self.history[name])


def tuned(control: Control, *sources: Source) -> Plant:
    """Return a plant."""
    return Plant(control, sources)
