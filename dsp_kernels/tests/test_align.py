"""Alignment delays: whole frames, faded, and nothing at all where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import align as reference_align
from dsp_kernels.reference.align import Move
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0
FRAME_MS = 1000 / RATE_HZ


def empty(library: Library, n_lanes: int = 8, rate_hz: float = RATE_HZ) -> Kernel:
    return Kernel(library, "align", rate_hz, n_lanes, size_arguments=(rate_hz, n_lanes))


def make(library: Library) -> Kernel:
    align = empty(library)
    align.call("set", 1, 3.0, 20.0)
    align.call("set", 6, 20.0, 5.0)
    align.call("set", 6, 1.0, 7.0)  # waits
    return align


def run_with_sets(align: Kernel, x: NDArray[np.float32], lane: int, moves: list[Move]) -> NDArray[np.float32]:
    """Process ``x`` while each move is set in its time."""
    parts, done = [], 0
    for move in moves:
        parts.append(align.process(x[done : move.at_frame]))
        align.call("set", lane, move.delay_frames * FRAME_MS, move.n_fade * FRAME_MS)
        done = move.at_frame
    return np.concatenate([*parts, align.process(x[done:])])


def test_align_keeps_the_bank_promises(library: Library) -> None:
    assert_keeps_the_bank_promises(lambda: make(library), white_noise(3000, 8))


def test_without_delay_each_bit_passes_at_once(library: Library) -> None:
    x = white_noise(300, 8)
    x[7:11, :] = np.array([np.nan, -0.0, 1e-42, np.inf], np.float32)[:, None]
    assert_bit_equal(empty(library).process(x, 64), x, "no lane delayed")
    align = empty(library)
    align.call("set", 5, 2.0, 1.0)
    others = [0, 1, 2, 3, 4, 6, 7]
    assert_bit_equal(align.process(x, 64)[:, others].copy(), x[:, others].copy(), "beside a delayed lane")


@pytest.mark.parametrize("rate_hz", [8000.0, 44100.0, 48000.0, 96000.0, 192000.0])
def test_each_delay_is_exact_to_the_frame(library: Library, rate_hz: float) -> None:
    n_longest = round(0.020 * rate_hz)
    for n in (1, 3, 63, 64, 65, n_longest - 1, n_longest):
        align, x = empty(library, 4, rate_hz), white_noise(3 * n_longest + 200, 4)
        align.call("set", 2, n * 1000 / rate_hz, 0.0)
        align.call("reset")
        y = align.process(x, 100)
        assert_bit_equal(y[n:, 2].copy(), x[: len(x) - n, 2].copy(), f"{n} frames at {rate_hz:.0f} Hz")
        assert not y[:n, 2].any()


def test_align_fades_as_its_float64_reference(library: Library) -> None:
    x = white_noise(12000, 8)
    moves = [Move(1000, 144, 480), Move(3000, 960, 96), Move(3050, 17, 960), Move(5000, 0, 1), Move(9000, 1, 300)]
    y = run_with_sets(empty(library), x, 3, moves)
    assert error_db(y[:, 3], reference_align.run(x[:, 3], moves)) < -120


def test_a_delay_finds_the_past_it_needs(library: Library) -> None:
    # Set after the sound went through undelayed: the first delayed frame is already the right one.
    x = white_noise(4000, 4)
    y = run_with_sets(empty(library, 4), x, 0, [Move(2000, 900, 1)])
    assert_bit_equal(y[2000:, 0].copy(), x[1100:3100, 0].copy(), "from the frame of the set")


def test_in_a_fade_the_last_set_counts(library: Library) -> None:
    x = white_noise(6000, 4)
    waiting = [Move(100, 50, 480), Move(200, 300, 480), Move(300, 200, 240)]
    y = run_with_sets(empty(library, 4), x, 0, waiting)
    assert error_db(y[:, 0], reference_align.run(x[:, 0], [waiting[0], waiting[2]])) < -120
    taken_back = [Move(100, 50, 480), Move(200, 300, 480), Move(300, 50, 240)]
    y = run_with_sets(empty(library, 4), x, 0, taken_back)
    assert error_db(y[:, 0], reference_align.run(x[:, 0], taken_back[:1])) < -120


@pytest.mark.parametrize(("delay_ms", "n_frames"), [(-5.0, 0), (np.nan, 0), (1e9, 960), (np.inf, 960)])
def test_delays_outside_the_range_are_clamped(library: Library, delay_ms: float, n_frames: int) -> None:
    align, x = empty(library, 4), white_noise(3000, 4)
    align.call("set", 0, delay_ms, 0.0)
    align.call("reset")
    assert_bit_equal(align.process(x)[n_frames:, 0].copy(), x[: 3000 - n_frames, 0].copy(), "clamped")


def test_nan_stays_in_its_lane_and_reset_lane_forgets_it(library: Library) -> None:
    align, x = make(library), white_noise(3000, 8)
    x[2990:, 1] = np.nan
    y = align.process(x)
    assert np.isfinite(y[:, [0, 2, 3, 4, 5, 6, 7]]).all()
    align.call("reset_lane", 1)
    assert np.isfinite(align.process(white_noise(3000, 8))).all()


@pytest.mark.parametrize(("rate_hz", "n_lanes"), [(100.0, 8), (48000.0, 6)])
def test_align_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_lanes: int) -> None:
    with pytest.raises(KernelError):
        Kernel(library, "align", rate_hz, n_lanes, size_arguments=(48000.0, 8))
