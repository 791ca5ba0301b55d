"""The drift loop: finds the other clock, keeps the fill, and holds the pitch still while wake-ups come late."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.build_ffi import SOURCE_DIR, build_library
from dsp_kernels.native import Kernel, KernelError, Library, opened
from dsp_kernels.reference import drift as reference

RATE_HZ = 48000.0
PPM = 1e-6
CENT = 2 ** (1 / 1200) - 1
PERIODS = [16, 32, 64, 128]


def make(library: Library, rate_hz: float = RATE_HZ) -> Kernel:
    return Kernel(library, "drift", rate_hz)


@dataclass
class Run:
    """What happened at each measurement."""

    t_s: NDArray[np.float64]
    error_frames: NDArray[np.float64]  # true, not as measured
    answer: NDArray[np.float64]
    is_locked: NDArray[np.bool_]

    def after(self, start_s: float, end_s: float = np.inf) -> Run:
        part = (self.t_s >= start_s) & (self.t_s < end_s)
        return Run(self.t_s[part], self.error_frames[part], self.answer[part], self.is_locked[part])


def late_wake_ups(n: int, period: int, seed: int) -> NDArray[np.float64]:
    """Return measurement errors of two threads: 40 us on average, and one wake-up in a hundred up to a period late."""
    rng = np.random.default_rng(seed)

    def late() -> NDArray[np.float64]:
        usual = rng.exponential(2.0, n)
        return np.where(rng.random(n) < 0.01, rng.uniform(0, period, n), usual)

    return late() - late()


def follow(
    kernel: Kernel,
    drift: float | NDArray[np.float64],
    duration_s: float,
    *,
    period: int = 64,
    jitter: bool = True,
    error_frames: float = 0.0,
    rate_hz: float = RATE_HZ,
    seed: int = 1,
) -> Run:
    """Let the loop steer a ring whose other clock is ``drift`` fast, measured once a period."""
    n = int(duration_s * rate_hz / period)
    drifts = np.broadcast_to(drift, n)
    noise = late_wake_ups(n, period, seed) if jitter else np.zeros(n)
    errors, answers, locked = np.zeros(n), np.zeros(n), np.zeros(n, bool)
    process, is_locked = kernel.lib.eh_drift_process, kernel.lib.eh_drift_is_locked
    for i in range(n):
        errors[i] = error_frames
        answers[i] = process(kernel.struct, error_frames + noise[i], period)
        locked[i] = is_locked(kernel.struct)
        error_frames += period * (drifts[i] - answers[i])
    return Run((np.arange(n) + 1) * period / rate_hz, errors, answers, locked)


@pytest.mark.parametrize("drift_ppm", [-200, 0, 200])
@pytest.mark.parametrize("period", PERIODS)
def test_it_settles_within_10_s_and_then_holds_fill_and_pitch(library: Library, period: int, drift_ppm: int) -> None:
    run = follow(make(library), drift_ppm * PPM, 80, period=period)
    assert np.abs(run.error_frames).max() < 8
    assert run.after(10).is_locked.all()
    settled = run.after(10).answer - drift_ppm * PPM
    assert np.abs(settled.mean()) < 0.3 * PPM
    assert np.abs(settled).max() < 0.02 * CENT
    assert run.after(20).answer.std() < 1 * PPM


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
@pytest.mark.parametrize("period", PERIODS)
def test_nothing_oscillates_when_nothing_disturbs(library: Library, rate_hz: float, period: int) -> None:
    # A gain 47 times too high once swung by 470 ppm: the mean was right all the time.
    run = follow(make(library, rate_hz), 150 * PPM, 150, period=period, jitter=False, rate_hz=rate_hz)
    late = run.after(140)
    assert np.ptp(late.answer) < 1e-3 * PPM
    assert np.ptp(late.error_frames) < 1e-3
    assert run.answer.max() < 1.2 * 150 * PPM


@pytest.mark.parametrize("period", [512, 2048])
def test_it_is_stable_even_when_measured_seldom(library: Library, period: int) -> None:
    run = follow(make(library), 150 * PPM, 150, period=period, jitter=False)
    assert np.ptp(run.after(140).answer) < 0.01 * PPM
    assert np.abs(run.error_frames).max() < 16


def test_the_wide_loop_is_critically_damped_at_a_quarter_hertz(library: Library) -> None:
    run = follow(make(library), 200 * PPM, 5.9, jitter=False)
    expected = reference.fill_after_drift_step(run.t_s, 200 * PPM, RATE_HZ)
    # The smoothing and the sampling cost a little damping.
    assert np.abs(run.error_frames - expected).max() < 0.15 * expected.max()


def test_it_matches_its_reference(library: Library) -> None:
    kernel, twin, rng = make(library), reference.Loop(RATE_HZ), np.random.default_rng(3)
    errors = np.concatenate([rng.normal(0, 3, 6000), rng.normal(200, 30, 2000), rng.normal(0, 3, 12000)])
    answers = np.array([[kernel.call("process", e, 64), twin.process(e, 64)] for e in errors])
    assert np.abs(answers[:, 0] - answers[:, 1]).max() < 1e-12
    assert np.abs(answers).max() == 1000 * PPM  # far enough to meet the limit on the way


@pytest.mark.parametrize("drift_ppm", [-1500, 1500])
def test_a_clock_out_of_reach_is_never_called_locked_and_winds_nothing_up(library: Library, drift_ppm: int) -> None:
    kernel = make(library)
    run = follow(kernel, drift_ppm * PPM, 20)
    assert np.abs(run.answer).max() == 1000 * PPM
    assert not run.after(2).is_locked.any()
    kernel.call("recentre")
    back = follow(kernel, 0.0, 20)
    worst_frames = 1000 * PPM * RATE_HZ / (np.e * 2 * np.pi * reference.WIDE_HZ)  # if it had learned all of 1000 ppm
    assert np.abs(back.error_frames).max() < worst_frames
    assert np.abs(back.after(15).answer).max() < 5 * PPM


def test_the_narrowing_of_the_loop_is_not_heard(library: Library) -> None:
    run = follow(make(library), 200 * PPM, 8, jitter=False)
    assert np.abs(np.diff(run.after(5, 7).answer)).max() < 0.01 * PPM


def test_a_step_of_the_fill_is_taken_back_and_locked_again(library: Library) -> None:
    kernel = make(library)
    follow(kernel, 100 * PPM, 30)
    run = follow(kernel, 100 * PPM, 30, error_frames=60.0, seed=2)
    assert not run.after(2, 5).is_locked.any()
    assert np.abs(run.answer).max() <= 1000 * PPM
    settled = run.after(20)
    assert settled.is_locked.all()
    assert np.abs(settled.error_frames).max() < 16
    assert (settled.answer - 100 * PPM).std() < 1 * PPM


def test_recentring_keeps_what_was_learned(library: Library) -> None:
    kernel = make(library)
    before = follow(kernel, -170 * PPM, 30)
    kernel.call("recentre")
    run = follow(kernel, -170 * PPM, 20, seed=2)
    assert np.abs(run.answer - before.answer[-1]).max() < 100 * PPM  # the wide loop hears the jitter
    assert not run.after(0, 6).is_locked.any()
    assert run.after(10).is_locked.all()
    assert np.abs(run.error_frames).max() < 8


def test_reset_forgets_the_other_clock(library: Library) -> None:
    kernel = make(library)
    follow(kernel, 170 * PPM, 10)
    kernel.call("reset")
    fresh, again = (follow(k, 50 * PPM, 10).answer for k in (make(library), kernel))
    assert np.array_equal(fresh, again)


def test_one_late_wake_up_hardly_moves_the_pitch(library: Library) -> None:
    for n_frames in (128.0, 2400.0):
        kernel = make(library)
        before = follow(kernel, 0.0, 20, jitter=False).answer[-1]
        kernel.call("process", n_frames, 64)
        assert kernel.struct.answer - before < 1 * PPM


def test_a_clock_that_warms_up_is_followed(library: Library) -> None:
    n = int(600 * RATE_HZ / 128)
    warming = np.linspace(0, 20 * PPM, n)  # 2 ppm a minute
    run = follow(make(library), warming, 600, period=128)
    assert np.abs(run.error_frames).max() < 16
    assert run.after(10).is_locked.all()
    assert (run.answer - warming)[n // 2 :].std() < 1 * PPM


@pytest.mark.parametrize("rate_hz", [0.0, float("nan"), 1e6])
def test_it_refuses_a_wrong_rate(library: Library, rate_hz: float) -> None:
    with pytest.raises(KernelError, match="sample rate"):
        make(library, rate_hz)


def test_gcc_and_clang_build_the_same_loop_to_the_bit(tmp_path: Path) -> None:
    answers = []
    for compiler in ("gcc", "clang"):
        built = build_library(tmp_path / f"{compiler}.so", compiler=compiler, sources=[SOURCE_DIR / "drift.c"])
        answers.append(follow(make(opened(built)), 123 * PPM, 20).answer)
    assert np.array_equal(answers[0], answers[1])
