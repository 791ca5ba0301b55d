"""A card's clock: a straight line through stamps that are late, very late, or of another beginning."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from firmware.tests.secondary_rig import library

RATE_HZ, PERIOD = 48000.0, 64
START_NS = 1e12
FRAME_NS = 1e9 / RATE_HZ


class Clock:
    def __init__(self) -> None:
        self.ffi, self.lib = library()
        self.clock = self.ffi.new("eh_card_clock *")
        self.lib.eh_card_clock_init(self.clock, RATE_HZ)
        self.line = self.ffi.addressof(self.clock, "line")
        self.frames = 0

    def run(self, late_us: Iterable[float], drift: float = 0.0, offset_ns: float = 0.0) -> list[float]:
        """Stamp a period per lateness; return by how much the line was off at each, in us."""
        off = []
        for late in late_us:
            self.frames += PERIOD
            true_ns = START_NS + offset_ns + self.frames * FRAME_NS / (1 + drift)
            self.lib.eh_card_clock_stamp(self.clock, self.frames, true_ns + 1e3 * late)
            off.append((self.line.ns - true_ns) / 1e3)
        return off

    @property
    def is_ready(self) -> bool:
        return bool(self.lib.eh_clock_line_is_ready(self.line))


def jitter(seconds: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).exponential(40.0, int(seconds * RATE_HZ / PERIOD))


@pytest.mark.parametrize("drift_ppm", [-200, 0, 200])
def test_jitter_is_averaged_out_and_drift_is_not_taken_for_lateness(drift_ppm: float) -> None:
    clock = Clock()
    off = np.array(clock.run(jitter(30), drift_ppm * 1e-6)) - 40  # on average they are late
    assert np.abs(off[750:]).max() < 20  # a frame, after a second
    assert np.abs(off[7500:]).max() < 15
    assert np.abs(off[15000:]).max() < 4
    slope_ppm = (FRAME_NS / clock.line.ns_per_frame - 1) * 1e6
    assert slope_ppm == pytest.approx(drift_ppm, abs=3)


def test_a_stall_leaves_no_trace() -> None:
    clock = Clock()
    clock.run(jitter(20))
    stalled = np.maximum(50_000 - np.arange(38) * 1333.3, 0)  # 50 ms late, then one period after the other
    off = np.array(clock.run([*stalled, *jitter(1)])) - 40
    assert np.abs(off).max() < 4


def test_lost_frames_are_believed_after_a_quarter_second() -> None:
    clock = Clock()
    clock.run(jitter(20))
    off = np.array(clock.run(jitter(1), offset_ns=30e6))
    assert np.abs(off[:150] + 30_000).max() < 100  # not yet, after 200 ms
    assert np.abs(off[250:] - 40).max() < 40


def test_an_early_stamp_is_believed_at_once() -> None:
    clock = Clock()
    clock.run(jitter(20))
    off = np.array(clock.run(jitter(0.5), offset_ns=-30e6))
    assert np.abs(off).max() < 400
    assert np.abs(off[75:] - 40).max() < 40


def test_a_late_first_stamp_is_forgotten_when_the_clock_is_ready() -> None:
    clock = Clock()
    off, was_ready = [], []
    for late in (900.0, *jitter(1)):
        off += clock.run([late])
        was_ready.append(clock.is_ready)
    assert was_ready.index(True) == pytest.approx(0.1 * RATE_HZ / PERIOD, abs=2)
    assert np.abs(np.array(off)[was_ready] - 40).max() < 150


def test_restart_keeps_the_slope_but_not_the_place() -> None:
    clock = Clock()
    clock.run(jitter(20), 150e-6)
    slope = clock.line.ns_per_frame
    clock.lib.eh_card_clock_restart(clock.clock)
    assert not clock.is_ready
    assert clock.run([0.0], 150e-6, offset_ns=77e6) == [0.0]
    assert clock.line.ns_per_frame == slope


def test_a_stamp_without_frames_says_nothing() -> None:
    clock = Clock()
    clock.run(jitter(1))
    before = clock.line.ns
    clock.lib.eh_card_clock_stamp(clock.clock, clock.frames, before + 5e6)
    assert clock.line.ns == before
