"""The look-ahead limiter: no sample above the ceiling, no true peak either, 48 frames late and otherwise untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import limiter as reference
from dsp_kernels.tests import ebur128
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0
CEILING_DBFS = -1.2
CEILING_LIN = 10 ** (CEILING_DBFS / 20)
LATE = reference.LOOKAHEAD_FRAMES
TRUE_PEAK_SLACK_DB = 0.002  # float rounding of the interpolator; no margin stands between gain and ceiling
Audio = NDArray[np.float32]


def make(
    library: Library,
    n_lanes: int = 4,
    *,
    is_true_peak: int = 0,
    linked: tuple[int, ...] = (),
    ceiling_dbfs: float = CEILING_DBFS,
    release_ms: float = 80.0,
    rate_hz: float = RATE_HZ,
) -> Kernel:
    kernel = Kernel(library, "limiter", rate_hz, n_lanes, size_arguments=(n_lanes,))
    params = kernel.params("limiter", ceiling_dbfs=ceiling_dbfs, release_ms=release_ms, is_true_peak=is_true_peak)
    for lane in range(n_lanes):
        kernel.call("set", lane, params)
    for lane in linked:
        kernel.call("link", lane, 1)
    kernel.call("reset")
    return kernel


def late(x: Audio) -> Audio:
    return np.concatenate([np.zeros((LATE, x.shape[1]), np.float32), x])[: len(x)]


def tones(freqs_hz: list[float], n_frames: int, shape: str = "sine") -> Audio:
    angle = 2 * np.pi * np.outer(np.arange(n_frames), freqs_hz) / RATE_HZ + 0.7
    wave = np.sin(angle) if shape == "sine" else np.sign(np.sin(angle))
    return wave.astype(np.float32)


def bursts(x: Audio, period: int, quiet_db: float = -26.0) -> Audio:
    is_loud = (np.arange(len(x)) // period) % 2 == 1
    return (x * np.where(is_loud, 1.0, 10 ** (quiet_db / 20))[:, None]).astype(np.float32)


def hard_signals(n_frames: int = 24000) -> dict[str, Audio]:
    """Return what goes 20 dB and more over the ceiling, four lanes each."""
    rng = np.random.default_rng(7)
    squares = 10 * tones([100.0, 997.0, 3001.0, 7919.0], n_frames, "square")
    between = 10 * tones([12000.0, 8000.0, 21600.0, 23520.0], n_frames)
    clicks = rng.standard_normal((n_frames, 4)) * 10 * (rng.random((n_frames, 4)) < 0.01)
    sweep_hz = np.linspace(20, 23900, n_frames)
    sweep = np.sin(2 * np.pi * np.cumsum(sweep_hz) / RATE_HZ)[:, None] * [1.0, 2.0, 8.0, 10.0]
    return {
        "noise": white_noise(n_frames, 4, level_rms_dbfs=14.0),
        "noise in bursts": bursts(white_noise(n_frames, 4, level_rms_dbfs=20.0), 977),
        "squares": squares,
        "squares in bursts": bursts(squares, 3000),
        "peaks between samples": between,
        "peaks between samples in bursts": bursts(between, 500),
        "clicks": clicks.astype(np.float32),
        "clicks in pairs": (clicks - np.roll(clicks, 1, axis=0)).astype(np.float32),
        "random signs": np.sign(rng.standard_normal((n_frames, 4))).astype(np.float32) * 10,
        "sweep": sweep.astype(np.float32),
    }


@pytest.mark.parametrize("is_true_peak", [0, 1])
def test_limiter_keeps_the_bank_promises(library: Library, is_true_peak: int) -> None:
    x = bursts(white_noise(3000, 12, level_rms_dbfs=6.0), 400, quiet_db=-40.0)
    assert_keeps_the_bank_promises(lambda: make(library, 12, is_true_peak=is_true_peak, linked=(0, 2, 10)), x)


@pytest.mark.parametrize("release_ms", [10.0, 80.0])
@pytest.mark.parametrize("name", hard_signals(1))
def test_no_sample_and_no_true_peak_passes_the_ceiling(library: Library, name: str, release_ms: float) -> None:
    x = hard_signals()[name]
    plain = make(library, release_ms=release_ms).process(x, 64)
    assert np.abs(plain).max() <= np.float32(CEILING_LIN)
    y = make(library, is_true_peak=1, release_ms=release_ms).process(x, 64)
    assert np.abs(y).max() <= np.float32(CEILING_LIN)
    for lane in range(4):
        true_peak_dbtp = ebur128.measure(y[:, lane : lane + 1], RATE_HZ).true_peak_dbtp
        assert true_peak_dbtp <= CEILING_DBFS + TRUE_PEAK_SLACK_DB, f"lane {lane}"


def test_a_record_bus_at_its_defaults_stays_under_minus_1_dbtp_at_44100_hz(library: Library) -> None:
    for x in hard_signals().values():
        y = make(library, is_true_peak=1, linked=(0, 2), rate_hz=44100.0).process(x, 64)
        assert ebur128.measure(y[:, :2], 44100).true_peak_dbtp <= -1.0
        assert ebur128.measure(y[:, 2:], 44100).true_peak_dbtp <= -1.0


def test_at_96000_hz_what_an_ear_can_hear_stays_under_minus_1_dbtp(library: Library) -> None:
    # Above 24 kHz the 12 taps see less than longer interpolators do: full-band noise may read up to 1.8 dB higher.
    for x in hard_signals(12000).values():
        audible = resample_poly(x, 2, 1, axis=0).astype(np.float32)
        y = make(library, is_true_peak=1, rate_hz=96000.0).process(audible, 64)
        assert ebur128.measure(y[:, :2], 96000).true_peak_dbtp <= -1.0
        assert ebur128.measure(y[:, 2:], 96000).true_peak_dbtp <= -1.0


@pytest.mark.parametrize("is_true_peak", [0, 1])
def test_what_stays_below_the_ceiling_passes_bit_for_bit(library: Library, is_true_peak: int) -> None:
    x = np.clip(white_noise(5000, 4, level_rms_dbfs=-14.0), -0.46, 0.46).astype(np.float32)
    assert_bit_equal(make(library, is_true_peak=is_true_peak).process(x, 64), late(x), "changed what needed no change")


def test_after_a_peak_the_sound_returns_to_itself_bit_for_bit(library: Library) -> None:
    x = white_noise(60000, 4, level_rms_dbfs=-30.0)
    x[500] = 8.0
    y = make(library, release_ms=20.0).process(x, 64)
    assert_bit_equal(y[-20000:], late(x)[-20000:], "did not return to unity")


@pytest.mark.parametrize("settings", [{}, {"is_true_peak": 1}, {"release_ms": 1000.0}, {"ceiling_dbfs": -20.0}])
def test_delay_is_48_frames_whatever_the_settings(library: Library, settings: dict[str, Any]) -> None:
    x = np.zeros((200, 4), np.float32)
    x[20] = 1.0
    assert list(np.flatnonzero(make(library, **settings).process(x)[:, 0])) == [20 + LATE]


@pytest.mark.parametrize("is_true_peak", [False, True])
def test_gain_matches_its_float64_reference(library: Library, is_true_peak: bool) -> None:
    x = bursts(white_noise(9000, 4, level_rms_dbfs=6.0), 700, quiet_db=-30.0)
    gain = reference.gain(
        x, RATE_HZ, ceiling_lin=CEILING_LIN, release_ms=80.0, is_true_peak=is_true_peak, is_linked=True
    )
    y = make(library, is_true_peak=int(is_true_peak), linked=(0, 2)).process(x, 64)
    assert error_db(y, reference.limited(x, gain)) < -90
    heard = np.abs(late(x)) > 1e-3
    deviation_db = 20 * np.log10(y[heard] / (late(x) * gain)[heard])
    assert np.abs(deviation_db).max() < 0.01


def test_linked_lanes_share_one_gain_and_others_do_not(library: Library) -> None:
    x = np.full((1000, 4), 0.1, np.float32)
    x[300, 0] = 5.0
    y = make(library, linked=(0,)).process(x)
    assert np.array_equal(y[349:, 1], y[349:, 0])
    assert y[340, 1] < 0.03
    assert_bit_equal(y[:, 2:], late(x)[:, 2:], "the other pair moved")
    alone = make(library).process(x)
    assert_bit_equal(alone[:, 1:], late(x)[:, 1:], "an unlinked lane moved")


def test_true_peak_is_measured_only_where_asked(library: Library) -> None:
    x = tones([12000.0] * 4, 2000) * np.float32(CEILING_LIN / np.sin(np.pi / 4 + 0.05))
    kernel = make(library, is_true_peak=1)
    kernel.call("set", 0, kernel.params("limiter", ceiling_dbfs=CEILING_DBFS, is_true_peak=0))
    plain, kept = make(library).process(x, 64), kernel.process(x, 64)
    assert_bit_equal(kept[:, :1], plain[:, :1], "lane 0")
    assert np.abs(kept[500:, 1]).max() < 0.99 * np.abs(plain[500:, 1]).max()


def test_the_first_ceiling_holds_from_the_first_sample(library: Library) -> None:
    kernel = Kernel(library, "limiter", RATE_HZ, 4, size_arguments=(4,))
    for lane in range(4):
        kernel.call("set", lane, kernel.params("limiter", ceiling_dbfs=-12.0))
    y = kernel.process(white_noise(2000, 4, level_rms_dbfs=6.0), 64)
    assert np.abs(y).max() <= np.float32(10 ** (-12 / 20))


def test_a_new_ceiling_ramps_and_holds_on_the_way(library: Library) -> None:
    x = white_noise(6000, 4, level_rms_dbfs=10.0)
    whole = None
    for block in (1, 7, 64):
        kernel = make(library, ceiling_dbfs=0.0)
        first = kernel.process(x[:2100], block)
        for lane in range(4):
            kernel.call("set", lane, kernel.params("limiter", ceiling_dbfs=-12.0))
        second = kernel.process(x[2100:], block)
        y = np.concatenate([first, second])
        whole = y if whole is None else whole
        assert_bit_equal(y, whole, f"blocks of {block} frames")
    # A straight line over 20 ms; a sample obeys the ceiling of the moment it came in.
    line = np.interp(np.arange(len(y)), [2099 + LATE, 2099 + LATE + 960], [1.0, 10 ** (-12 / 20)])[:, None]
    assert (np.abs(y) <= line * (1 + 1e-6)).all()
    assert np.abs(y[2300:2400]).max() > 0.6


def test_release_covers_most_of_the_way_in_its_time_constant_and_is_smooth(library: Library) -> None:
    x = np.full((20000, 4), 0.1, np.float32)
    x[100] = 10 ** (4.8 / 20)  # 6 dB over the ceiling
    gain_db = 20 * np.log10(make(library, release_ms=80.0).process(x)[:, 0] / 0.1 + 1e-9)
    gain_db[100 + LATE] = gain_db[99 + LATE]
    assert gain_db[110 + LATE] == pytest.approx(-6.0, abs=0.1)
    assert gain_db[110 + LATE + 3840] == pytest.approx(-6.0 / np.e, abs=0.8)
    assert np.abs(np.diff(gain_db[60 + LATE :])).max() < 0.6


def test_gain_reading_is_the_lowest_since_the_last(library: Library) -> None:
    kernel, x = make(library), np.full((1000, 4), 0.1, np.float32)
    x[300, 2] = 10 ** (18.8 / 20)
    kernel.process(x, 64)
    assert kernel.call("read_gain_db", 2) == pytest.approx(-20.0, abs=0.01)
    assert kernel.call("read_gain_db", 2) == 0.0
    assert kernel.call("read_gain_db", 1) == 0.0


@pytest.mark.parametrize("hostile", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_no_number_never_leaves_and_never_spreads(library: Library, hostile: float) -> None:
    x = bursts(white_noise(4000, 4, level_rms_dbfs=6.0), 500)
    hurt = x.copy()
    hurt[1000:1010, 1] = hostile
    y, clean = (make(library, is_true_peak=1).process(v, 64) for v in (hurt, x))
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= np.float32(CEILING_LIN)
    assert_bit_equal(y[:, [0, 2, 3]], clean[:, [0, 2, 3]], "another lane heard it")


def test_reset_lane_forgets_one_lane_only(library: Library) -> None:
    x, kernel, kept = white_noise(3000, 4, level_rms_dbfs=6.0), make(library), make(library)
    kernel.process(x, 64)
    kept.process(x, 64)
    kernel.call("reset_lane", 1)
    y, untouched = kernel.process(x, 64), kept.process(x, 64)
    assert_bit_equal(y[:, [0, 2, 3]], untouched[:, [0, 2, 3]], "another lane was reset")
    assert_bit_equal(y[:, 1:2], make(library).process(x, 64)[:, 1:2], "lane 1 remembers")


@pytest.mark.parametrize(("rate_hz", "n_lanes", "reason"), [(100.0, 8, "sample rate"), (48000.0, 6, "lanes")])
def test_limiter_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_lanes: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        Kernel(library, "limiter", rate_hz, n_lanes, size_arguments=(8,))
