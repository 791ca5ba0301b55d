"""The compressor: what the header promises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import compressor as reference
from dsp_kernels.reference.compressor import Compressor
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0
BY_HAND = [
    Compressor(),
    Compressor(ratio=20, threshold_dbfs=-60, knee_db=0, attack_ms=0.1, release_ms=5),
    Compressor(ratio=20, threshold_dbfs=-50, attack_ms=200, release_ms=3000, makeup_db=10),
    Compressor(mix_percent=40, makeup_db=6, knee_db=24),
]
AUTOMATIC = [
    Compressor(is_automatic=True),
    Compressor(is_automatic=True, ratio=20, threshold_dbfs=-50, attack_ms=50, release_ms=1000, makeup_db=3),
    Compressor(is_automatic=True, attack_ms=0.1, release_ms=5),
    Compressor(is_automatic=True, threshold_dbfs=-40, attack_ms=200, release_ms=3000),
]


def make(library: Library, settings: list[Compressor], rate_hz: float = RATE_HZ) -> Kernel:
    kernel = Kernel(library, "compressor", rate_hz, 8, size_arguments=(8,))
    for lane, one in enumerate(settings):
        kernel.call("set", lane, kernel.params("compressor", is_on=1, **vars(one)))
    kernel.call("reset")  # all ramps at their end
    return kernel


def swelling_noise(n_frames: int) -> NDArray[np.float32]:
    """Return noise that rises and falls between -90 and -6 dBFS, shape ``(n_frames, 8)``."""
    knots = [-80, -10, -30, -60, -70, -20, -20, -40, -90, -15, -6, -50, -80]
    level_db = np.interp(np.arange(n_frames), np.linspace(0, n_frames, len(knots)), knots)
    return (white_noise(n_frames, 8, 0.0) * 10 ** (level_db[:, None] / 20)).astype(np.float32)


def square(level_dbfs: float, n_frames: int) -> NDArray[np.float32]:
    """Return a 1 kHz square wave on eight lanes: peak equals RMS."""
    sign = np.where(np.arange(n_frames) // 24 % 2, -1.0, 1.0)
    return np.repeat((sign * 10 ** (level_dbfs / 20))[:, None], 8, axis=1).astype(np.float32)


def gain_db(y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float64]:
    return 20 * np.log10(np.abs(y.astype(np.float64) / x))


def test_compressor_keeps_the_bank_promises(library: Library) -> None:
    for settings in (BY_HAND, BY_HAND + AUTOMATIC, BY_HAND[:3] + AUTOMATIC[:2]):

        def linked(settings: list[Compressor] = settings) -> Kernel:
            kernel = make(library, settings)
            kernel.call("link", 4, 1)
            return kernel

        assert_keeps_the_bank_promises(linked, swelling_noise(3001))


@pytest.mark.parametrize("rate_hz", [8000.0, 44100.0, 48000.0, 96000.0])
def test_compressor_matches_its_float64_reference(library: Library, rate_hz: float) -> None:
    x = swelling_noise(24000)
    settings = BY_HAND + AUTOMATIC
    if rate_hz < 44100:  # a time constant of half a gain computation is none
        settings = [one for one in settings if one.attack_ms > 0.1]
    y = make(library, settings, rate_hz).process(x, 64)
    for lane, one in enumerate(settings):
        expected = reference.gain_lin(x[:, lane], one, rate_hz)
        heard = x[:, lane] != 0
        off_db = gain_db(y[heard, lane], x[heard, lane]) - 20 * np.log10(expected[heard])
        assert np.abs(off_db).max() < 0.01, f"lane {lane}"
        assert error_db(y[:, lane], x[:, lane] * expected) < -90, f"lane {lane}"


@pytest.mark.parametrize(("level_dbfs", "lost_db"), [(-30, 0), (-21, 0), (-18, 0.5), (-15, 2), (-6, 8), (0, 12)])
def test_compressor_settles_on_its_static_curve(library: Library, level_dbfs: float, lost_db: float) -> None:
    x = square(level_dbfs, 48000)
    kernel = make(library, [Compressor()])
    assert gain_db(kernel.process(x), x)[-1, 0] == pytest.approx(-lost_db, abs=0.01)
    assert kernel.call("gain_db", 0) == pytest.approx(-lost_db, abs=0.01)


def test_attack_and_release_are_time_constants(library: Library) -> None:
    settings = Compressor(knee_db=0, attack_ms=20, release_ms=300)
    x = np.concatenate([square(-40, 4800), square(0, 48000), square(-40, 48000)])
    gains = gain_db(make(library, [settings]).process(x), x)[:, 0]
    attack_ms = (np.argmax(gains < -12 * (1 - np.exp(-1))) - 4800) * 1000 / RATE_HZ
    assert attack_ms == pytest.approx(20, abs=0.2)
    # Decoupled: the attack's one-pole follows the release's, and adds its own time.
    release_ms = (np.argmax(gains[52800:] > -12 * np.exp(-1))) * 1000 / RATE_HZ
    assert release_ms == pytest.approx(320, rel=0.02)


def test_linked_compressors_reduce_alike(library: Library) -> None:
    x = square(0, 9600)
    x[:, 1::2] *= 0.1
    kernel = make(library, [Compressor(is_automatic=lane >= 4) for lane in range(8)])
    kernel.call("link", 2, 1)
    kernel.call("link", 6, 1)
    gains = gain_db(kernel.process(x), x)[-1]
    assert gains[1] - gains[0] > 5
    assert gains[3] == pytest.approx(gains[2], abs=1e-4)
    assert gains[7] == pytest.approx(gains[6], abs=1e-4)


def test_compressor_off_passes_every_bit(library: Library) -> None:
    x = swelling_noise(3000)
    x[::7] = -0.0
    fresh = Kernel(library, "compressor", RATE_HZ, 8, size_arguments=(8,))
    assert_bit_equal(fresh.process(x, 7), x, "off from the start")
    kernel = make(library, (BY_HAND + AUTOMATIC))
    kernel.process(x)
    for lane in range(8):
        kernel.call("set", lane, kernel.params("compressor", is_on=0))
    kernel.process(x[:1000])
    assert_bit_equal(kernel.process(x), x, "after switching off")


@pytest.mark.parametrize(
    ("change", "most_db_per_frame"),
    [
        ({"is_on": 0.0}, 0.01),
        ({"makeup_db": 24.0}, 0.01),
        ({"mix_percent": 0.0}, 0.01),
        ({"is_automatic": 1.0}, 0.01),
        ({"threshold_dbfs": -60.0}, 0.06),  # 27 dB with an attack of 10 ms
    ],
)
def test_no_change_of_a_parameter_clicks(library: Library, change: dict[str, float], most_db_per_frame: float) -> None:
    x = square(-20, 9600)
    kernel = make(library, [Compressor(makeup_db=6)] * 8)
    before = kernel.process(x[:4800])
    for lane in range(8):
        kernel.call("set", lane, kernel.params("compressor", **({"is_on": 1, "makeup_db": 6.0} | change)))
    gains = gain_db(np.concatenate([before, kernel.process(x[4800:])]), x)[4000:, 0]
    assert np.abs(np.diff(gains)).max() < most_db_per_frame
    assert abs(gains[-1] - gains[0]) > 1, "the change did nothing"


def test_ramps_last_as_the_contract_says(library: Library) -> None:
    kernel = make(library, [Compressor(threshold_dbfs=0)] * 8)
    x = square(-20, 9600)
    kernel.process(x)
    kernel.call("set", 0, kernel.params("compressor", is_on=1, threshold_dbfs=0.0, makeup_db=20.0))
    kernel.call("set", 1, kernel.params("compressor", is_on=1, threshold_dbfs=0.0, mix_percent=30.0))
    gains = gain_db(kernel.process(x), x)
    n_ramp = int(0.050 * RATE_HZ)
    assert gains[n_ramp // 2, 0] == pytest.approx(10, abs=0.1)
    assert gains[n_ramp - 50, 0] < 19.9
    assert gains[n_ramp + 8, 0] == pytest.approx(20, abs=0.001)


def test_parameters_set_at_any_frame_do_not_depend_on_block_size(library: Library) -> None:
    def run(block: int) -> NDArray[np.float32]:
        kernel, x, out = make(library, BY_HAND + AUTOMATIC[:2]), swelling_noise(9003), []
        for start in range(0, 9003, 3001):
            out.append(kernel.process(x[start : start + 3001], block))
            for lane in range(8):
                values = {"is_on": float(start > 0), "is_automatic": float(lane % 3 == 0), "makeup_db": 2.0 * lane}
                kernel.call("set", lane, kernel.params("compressor", **values))
        return np.concatenate(out)

    for block in (1, 7, 64):
        assert_bit_equal(run(block), run(3001), f"blocks of {block} frames")


def test_automatic_make_up_starts_at_half_the_reduction_of_full_scale_and_is_bounded(library: Library) -> None:
    kernel = make(library, [Compressor(is_automatic=True), Compressor(is_automatic=True, threshold_dbfs=-60, ratio=20)])
    quiet = square(-70, 4)
    gains = gain_db(kernel.process(quiet), quiet)
    assert gains[0, 0] == pytest.approx(18 / 2 * (1 - 1 / 3), abs=0.001)
    assert gains[0, 1] == pytest.approx(12, abs=0.001)


def test_automatic_make_up_follows_the_average_reduction(library: Library) -> None:
    x = square(0, 48000 * 10)
    kernel = make(library, [Compressor(is_automatic=True, threshold_dbfs=-12, ratio=3)])
    settled = gain_db(kernel.process(x), x)[-1, 0]
    # 12 dB over the threshold loses 8 dB, and gains them back: the make-up is the average reduction.
    assert settled == pytest.approx(0, abs=0.1)


def test_automatic_times_are_shorter_for_peaky_signals(library: Library) -> None:
    settings = Compressor(is_automatic=True, attack_ms=1, release_ms=800)
    flat = square(-6, 48000)
    peaky = flat * np.where(np.arange(48000) // 480 % 20 == 0, 1.0, 0.02)[:, None].astype(np.float32)

    def regained_db(x: NDArray[np.float32]) -> float:
        kernel = make(library, [settings])
        kernel.process(x[: 480 * 81])  # ends with a peak
        tail = square(-60, 2400)
        gains = gain_db(kernel.process(tail), tail)[:, 0]
        return float(gains[1680] - gains[240])  # in 30 ms

    # C^2 is 2 at least and 20 for the peaks: 799 ms against 80 ms.
    assert regained_db(peaky) > 4 * regained_db(flat) > 0


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_nan_stays_in_its_lane_and_reset_heals_it(library: Library, poison: float) -> None:
    x = swelling_noise(2000)
    bad = x.copy()
    bad[500:520, [1, 5]] = poison
    kernel = make(library, BY_HAND + AUTOMATIC)
    clean, dirty = make(library, BY_HAND + AUTOMATIC).process(x), kernel.process(bad)
    others = [0, 2, 3, 4, 6, 7]
    assert_bit_equal(dirty[:, others].copy(), clean[:, others].copy(), "the other lanes")
    assert np.isfinite(dirty[520:]).all()
    for lane in (1, 5):
        kernel.call("reset_lane", lane)
    assert kernel.call("gain_db", 1) == 0.0
    assert np.isfinite(kernel.process(x)).all()


def test_reduction_decays_to_nothing(library: Library) -> None:
    kernel = make(library, [Compressor(release_ms=5)])
    kernel.process(square(0, 4800))
    silence = np.zeros((96000, 8), np.float32)
    silence[:, 0] = 1e-6
    assert kernel.process(silence)[-1, 0] == np.float32(1e-6)


def test_compressor_refuses_what_it_cannot_do(library: Library) -> None:
    with pytest.raises(KernelError, match="sample rate"):
        Kernel(library, "compressor", 100.0, 8, size_arguments=(8,))
    with pytest.raises(KernelError, match="lanes"):
        Kernel(library, "compressor", RATE_HZ, 6, size_arguments=(8,))
    struct = library.ffi.new("eh_compressor *")
    assert library.lib.eh_compressor_init(struct, RATE_HZ, 8, library.ffi.NULL) == 3
