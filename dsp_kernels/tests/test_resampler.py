"""The resampler: transparent, exactly late, smooth while its ratio moves, and exact about what it needs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.build_ffi import SOURCE_DIR, build_library
from dsp_kernels.native import Kernel, KernelError, Library, opened
from dsp_kernels.reference import resampler as reference
from dsp_kernels.tests.measures import assert_bit_equal, error_db, white_noise

RATE_HZ = 48000.0
RATIOS = [0.9, 44100 / 48000, 0.9998, 1.0, 1.0002, 48000 / 44100, 1.1]
BUFFER_FRAMES = 1024
Audio = NDArray[np.float32]


def make(library: Library, n_lanes: int = 4, ratio: float = 1.0) -> Kernel:
    return Kernel(library, "resampler", n_lanes, ratio, size_arguments=(n_lanes,))


def push(kernel: Kernel, x: Audio) -> int:
    x = np.ascontiguousarray(x)
    return int(kernel.call("push", kernel.pointer(x), len(x)))


def pull(kernel: Kernel, n_frames: int) -> Audio:
    out = np.full((n_frames + 1, kernel.struct.n_lanes), 7.0, np.float32)
    n = kernel.call("pull", kernel.pointer(out), n_frames)
    assert (out[n:] == 7.0).all(), "wrote behind what it gave"
    return out[:n]


def render(kernel: Kernel, x: Audio, pushes: Iterable[int] = (64,), pulls: Iterable[int] = (64,)) -> Audio:
    """Run ``x`` through, cutting input and output as told, until nothing more comes."""
    parts, at, sizes, wanted = [], 0, cycle(pushes), cycle(pulls)
    while True:
        at += push(kernel, x[at : at + next(sizes)])
        parts.append(pull(kernel, next(wanted)))
        if at == len(x) and len(parts[-1]) == 0:
            return np.concatenate(parts)


def tone(freq_hz: float, n_frames: int, n_lanes: int = 4) -> Audio:
    x = 0.9 * np.sin(2 * np.pi * freq_hz / RATE_HZ * np.arange(n_frames))
    return np.repeat(x[:, None], n_lanes, axis=1).astype(np.float32)


def fitted(y: NDArray[np.floating], freq_hz: float, where: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return THD+N in dB, gain in dB and delay in frames of a tone that was sampled at ``where``."""
    angle = 2 * np.pi * freq_hz / RATE_HZ * where
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    (a, b), *_ = np.linalg.lstsq(basis, y.astype(np.float64), rcond=None)
    heard = basis @ np.array([a, b])
    delay = -np.arctan2(b, a) / (2 * np.pi * freq_hz / RATE_HZ)
    return error_db(y, heard), float(20 * np.log10(np.hypot(a, b) / 0.9)), float(delay)


@pytest.mark.parametrize("n_lanes", [4, 8, 12])
def test_at_ratio_one_the_output_is_the_input_24_frames_later_bit_for_bit(library: Library, n_lanes: int) -> None:
    x = white_noise(5000, n_lanes)
    y = render(make(library, n_lanes), x)
    assert len(y) == len(x)
    assert not y[: reference.DELAY_FRAMES].any()
    assert_bit_equal(y[reference.DELAY_FRAMES :], x[: -reference.DELAY_FRAMES], "not the input")


@pytest.mark.parametrize("ratio", RATIOS)
def test_output_matches_the_float64_reference(library: Library, ratio: float) -> None:
    x = white_noise(20000, 12)
    y = render(make(library, 12, ratio), x)
    expected = reference.resample(x, np.arange(len(y)) * ratio)
    assert error_db(y, expected) < -130  # 48 float32 products spend 14 of 144 dB


def test_a_moving_ratio_matches_the_float64_reference(library: Library) -> None:
    kernel, x = make(library, 4, 1.0), white_noise(20000, 4)
    kernel.call("set", 1.001, 3000)
    y = render(kernel, x)
    where = reference.places(reference.ratios(1.0, 1.001, 3000, len(y) - 1))
    assert error_db(y, reference.resample(x, where)) < -130
    assert kernel.call("ratio") == pytest.approx(1.001, abs=1e-12)


@pytest.mark.parametrize("ratio", [44100 / 48000, 0.9998, 1.0002, 1.01234, 48000 / 44100])
@pytest.mark.parametrize(
    ("freq_hz", "thd_n_db"), [(997, -120), (10000, -115), (18000, -106), (20000, -104)], ids=lambda v: str(v)
)
def test_a_tone_stays_a_tone(library: Library, ratio: float, freq_hz: float, thd_n_db: float) -> None:
    # -95 dB is what 20 kHz has to keep. From 10 kHz on the line between two phases is the largest error.
    y = render(make(library, 4, ratio), tone(freq_hz, 60000))[1000:, 0]
    measured, gain_db, delay = fitted(y, freq_hz, (np.arange(len(y)) + 1000) * ratio)
    assert measured < thd_n_db
    assert abs(gain_db) < 0.001
    beat = RATE_HZ / freq_hz  # the delay of a tone is known up to its period
    assert (delay - reference.DELAY_FRAMES + beat / 2) % beat - beat / 2 == pytest.approx(0, abs=1e-5)


def test_the_passband_is_flat_to_20_khz(library: Library) -> None:
    for freq_hz in (20, 100, 5000, 12000, 16000, 19000, 20000):
        y = render(make(library, 4, 1.0002), tone(freq_hz, 30000))[1000:, 0]
        assert abs(fitted(y, freq_hz, (np.arange(len(y)) + 1000) * 1.0002)[1]) < 0.001


@pytest.mark.parametrize("n_lanes", [4, 8, 20])
def test_output_depends_neither_on_pushes_nor_on_pulls_while_the_ratio_moves(library: Library, n_lanes: int) -> None:
    x = white_noise(9000, n_lanes)

    def moving(pushes: list[int], pulls: list[int]) -> Audio:
        kernel = make(library, n_lanes, 0.95)
        kernel.call("set", 1.07, 5001)
        return render(kernel, x, pushes, pulls)

    whole = moving([480], [480])
    for pushes, pulls in (([1], [1]), ([7], [64]), ([1000], [3]), ([64, 1, 0, 300], [31, 500, 0, 1])):
        assert_bit_equal(moving(pushes, pulls), whole, f"pushes of {pushes}, pulls of {pulls}")


def test_a_lane_does_not_notice_how_many_others_there_are(library: Library) -> None:
    x = white_noise(3000, 64)
    whole = render(make(library, 64, 1.0003), x)
    for n_lanes in (4, 8, 12, 16):
        first = render(make(library, n_lanes, 1.0003), x[:, :n_lanes].copy())
        assert_bit_equal(first, whole[:, :n_lanes].copy(), f"in a bank of {n_lanes} lanes")
    last = render(make(library, 4, 1.0003), x[:, 36:40].copy())
    assert_bit_equal(last, whole[:, 36:40].copy(), "as the only four")


def test_it_needs_exactly_what_it_says(library: Library) -> None:
    rng = np.random.default_rng(5)
    kernel = make(library, 4, 0.93)
    for _ in range(2000):
        if rng.random() < 0.2:
            kernel.call("set", rng.uniform(0.9, 1.1), int(rng.integers(0, 300)))
        n_frames = int(rng.integers(0, 400))
        needed = kernel.call("needed_frames", n_frames)
        x = white_noise(needed, 4)
        if needed > 0:
            assert push(kernel, x[:-1]) == needed - 1
            assert kernel.call("needed_frames", n_frames) == 1
            given = len(pull(kernel, n_frames))
            assert given < n_frames
            assert push(kernel, x[-1:]) == 1
            n_frames -= given
        assert len(pull(kernel, n_frames)) == n_frames


def test_the_backlog_is_the_input_less_the_ratio_of_each_frame(library: Library) -> None:
    kernel = make(library, 4, 1.0002)
    pushed = pulled = 0
    for n_frames in (100, 7, 300, 512, 1, 64):
        pushed += push(kernel, white_noise(n_frames, 4))
        pulled += len(pull(kernel, n_frames // 2))
        assert kernel.call("backlog_frames") == pytest.approx(pushed - 1.0002 * pulled, abs=1e-9)


def test_a_full_buffer_takes_what_fits_and_loses_nothing(library: Library) -> None:
    kernel, x = make(library, 8), white_noise(5000, 8)
    assert push(kernel, x) == BUFFER_FRAMES - reference.TAPS + 1
    assert push(kernel, x) == 0
    assert_bit_equal(render(make(library, 8), x, [5000], [100]), render(make(library, 8), x), "pushed too much")


def test_it_takes_900_frames_whenever_all_is_pulled(library: Library) -> None:
    for ratio in RATIOS:
        kernel = make(library, 4, ratio)
        for _ in range(100):
            assert push(kernel, white_noise(900, 4)) == 900
            assert len(pull(kernel, 2000)) < 2000


def test_a_change_of_ratio_does_not_click(library: Library) -> None:
    # A click is broad: watch what is left when the tone of the moving place is taken away.
    kernel, freq_hz = make(library, 4, 0.999), 400.0
    x = tone(freq_hz, 30000)
    kernel.call("set", 1.001, 64)
    y = render(kernel, x)[:, 0]
    where = reference.places(reference.ratios(0.999, 1.001, 64, len(y) - 1))
    assert fitted(y[100:], freq_hz, where[100:])[0] < -120


def test_reset_equals_fresh(library: Library) -> None:
    x, used = white_noise(3000, 12), make(library, 12, 1.02)
    used.call("set", 0.97, 5000)
    render(used, x[::-1].copy())
    used.call("reset")
    assert_bit_equal(render(used, x), render(make(library, 12, 0.97), x), "reset differs from fresh")


@pytest.mark.parametrize("hostile", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_forgotten_after_48_frames(library: Library, hostile: float) -> None:
    x = white_noise(3000, 8)
    clean = render(make(library, 8, 1.0002), x)
    x[1000, 3] = hostile
    y = render(make(library, 8, 1.0002), x)
    assert not np.isfinite(y[1000:1047, 3]).any()
    y[999:1048, 3] = clean[999:1048, 3]
    assert_bit_equal(y, clean, "it was heard elsewhere")


def test_silence_stays_silence_and_finite_stays_finite(library: Library) -> None:
    zeros = np.zeros((2000, 4), np.float32)
    assert not render(make(library, 4, 1.05), zeros).any()
    squares = np.where(np.arange(2000) // 50 % 2, 1.0, -1.0)[:, None] * np.ones((1, 4))
    for hostile in (np.full_like(zeros, 1e-40), squares.astype(np.float32)):
        y = render(make(library, 4, 1.05), hostile)
        assert np.isfinite(y).all()
        assert np.abs(y).max() < 1.3  # Gibbs


def test_the_ratio_is_kept_inside_its_range(library: Library) -> None:
    kernel = make(library)
    for asked, kept in ((0.2, 0.9), (5.0, 1.1), (float("nan"), 0.9)):
        kernel.call("set", asked, 0)
        render(kernel, white_noise(100, 4))
        assert kernel.call("ratio") == pytest.approx(kept, abs=1e-12)


@pytest.mark.parametrize(("n_lanes", "ratio", "says"), [(3, 1.0, "lanes"), (4, 0.5, "range"), (4, np.nan, "range")])
def test_it_refuses_what_it_cannot_do(library: Library, n_lanes: int, ratio: float, says: str) -> None:
    with pytest.raises(KernelError, match=says):
        make(library, n_lanes, ratio)


def test_gcc_and_clang_build_the_same_resampler_to_the_bit(tmp_path: Path) -> None:
    x, heard = white_noise(5000, 12), []
    for compiler in ("gcc", "clang"):
        out = tmp_path / f"{compiler}.so"
        kernel = make(opened(build_library(out, compiler=compiler, sources=[SOURCE_DIR / "resampler.c"])), 12, 1.0002)
        kernel.call("set", 0.98, 700)
        heard.append(render(kernel, x))
    assert_bit_equal(heard[1], heard[0], "clang differs from gcc")
