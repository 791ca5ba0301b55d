"""The reverb: its decay, its stereo, its silence, and changes that do not click."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import reverb as reference
from dsp_kernels.tests.measures import ODD_BLOCKS, assert_bit_equal, error_db, level_dbfs, white_noise

RATE_HZ = 48000.0
Audio = NDArray[np.float32]


def make(library: Library, rate_hz: float = RATE_HZ, **settings: float) -> Kernel:
    kernel = Kernel(library, "reverb", rate_hz, size_arguments=(rate_hz,))
    kernel.call("set", kernel.params("reverb", **settings))
    kernel.call("reset")
    return kernel


def render(kernel: Kernel, x: Audio, block: int | None = None) -> Audio:
    return kernel.process(x.reshape(-1, 1), block, out_lanes=2)


def impulse(n_frames: int) -> Audio:
    x = np.zeros(n_frames, np.float32)
    x[0] = 1.0
    return x


def noise(n_frames: int, seed: int = 1) -> Audio:
    return white_noise(n_frames, 1, seed=seed)[:, 0]


def decay_s(response: NDArray[np.floating], rate_hz: float) -> float:
    """Return RT60 from the slope of Schroeder's backward integral between -5 and -35 dB (ISO 3382)."""
    energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    level_db = 10 * np.log10(energy / energy[0] + 1e-30)
    fit = slice(int(np.argmax(level_db < -5)), int(np.argmax(level_db < -35)))
    slope_db_per_s = np.polyfit(np.arange(len(level_db))[fit] / rate_hz, level_db[fit], 1)[0]
    return float(-60 / slope_db_per_s)


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
@pytest.mark.parametrize("wanted_s", [0.3, 1.4, 4.0])
def test_decay_at_500_hz_is_what_was_asked(library: Library, rate_hz: float, wanted_s: float) -> None:
    y = render(make(library, rate_hz, decay_s=wanted_s, damping_hz=6000.0), impulse(int(1.2 * wanted_s * rate_hz)))
    band = sosfilt(butter(2, [354, 707], "bandpass", fs=rate_hz, output="sos"), y, axis=0)
    for side in (0, 1):
        assert decay_s(band[:, side], rate_hz) == pytest.approx(wanted_s, rel=0.1)


def test_at_the_damping_frequency_the_tail_lasts_half_as_long(library: Library) -> None:
    y = render(make(library, decay_s=2.0, damping_hz=4000.0), impulse(96000))
    band = sosfilt(butter(3, [3800, 4200], "bandpass", fs=RATE_HZ, output="sos"), y[:, 0])
    assert decay_s(band, RATE_HZ) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(
    "settings",
    [{}, {"decay_s": 8.0, "damping_hz": 16000.0, "low_cut_hz": 20.0}, {"decay_s": 0.2, "predelay_ms": 0.0}],
)
@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0])
def test_reverb_matches_its_float64_reference(library: Library, settings: dict[str, float], rate_hz: float) -> None:
    x = noise(40000)
    x[20000:] = 0
    twin = reference.reverb(x, rate_hz, reference.Settings(**settings))
    assert error_db(render(make(library, rate_hz, **settings), x), twin) < -90


@pytest.mark.parametrize("block", ODD_BLOCKS)
def test_output_does_not_depend_on_the_block_size_while_everything_moves(library: Library, block: int) -> None:
    x = noise(9000)

    def moving(block: int) -> Audio:
        kernel, parts = make(library), []
        changes = [
            {},
            {"decay_s": 4.0, "predelay_ms": 70.0},
            {"level_db": -90.0},
            {"level_db": -3.0},
            {"damping_hz": 1e3},
        ]
        for i, change in enumerate(changes):
            kernel.call("set", kernel.params("reverb", **change))
            parts.append(render(kernel, x[i * 1777 : (i + 1) * 1777], block))
        return np.concatenate(parts)

    assert_bit_equal(moving(block), moving(1777), f"blocks of {block} frames")


def test_left_and_right_are_uncorrelated_and_equally_loud(library: Library) -> None:
    y = render(make(library), noise(96000))[24000:]
    assert abs(np.corrcoef(y.T)[0, 1]) < 0.1
    assert level_dbfs(y[:, 0]) == pytest.approx(level_dbfs(y[:, 1]), abs=1.0)


@pytest.mark.parametrize("wanted_s", [0.3, 1.4, 6.0])
def test_steady_sound_comes_back_about_as_loud_as_it_was_sent(library: Library, wanted_s: float) -> None:
    band = butter(2, [300, 1200], "bandpass", fs=RATE_HZ, output="sos")
    x = sosfilt(band, noise(int(48000 * (1 + 2 * wanted_s)))).astype(np.float32)
    y = render(make(library, decay_s=wanted_s), x)[-48000:]
    assert level_dbfs(y) == pytest.approx(level_dbfs(x[-48000:]), abs=2.5)


def test_predelay_comes_before_the_first_reflection(library: Library) -> None:
    for predelay_ms in (0.0, 20.0, 120.0):
        y = render(make(library, predelay_ms=predelay_ms), impulse(8000))
        assert np.flatnonzero(np.abs(y).max(axis=1))[0] == round(predelay_ms * 48)


def test_tail_grows_dense(library: Library) -> None:
    # Share of samples outside one standard deviation against that of Gaussian noise, in windows of 20 ms.
    y = render(make(library, decay_s=3.0, damping_hz=16000.0), impulse(48000))[:, 0].astype(np.float64)
    windows = y[14400:43200].reshape(-1, 960)
    density = np.mean(np.abs(windows) > windows.std(axis=1, keepdims=True), axis=1) / 0.3173
    assert density.mean() > 0.9


def test_off_is_silent_and_forgets(library: Library) -> None:
    kernel = make(library)
    render(kernel, noise(20000))
    kernel.call("set", kernel.params("reverb", level_db=-90.0))
    fading = render(kernel, noise(4800))
    assert fading[:2300].any()
    assert not fading[2400:].any()
    assert not render(kernel, noise(4800)).any()
    kernel.call("set", kernel.params("reverb", level_db=0.0))
    assert not render(kernel, np.zeros(96000, np.float32)).any()


def test_silence_stays_silence_and_a_tail_ends(library: Library) -> None:
    assert not render(make(library), np.zeros(5000, np.float32)).any()
    kernel = make(library, decay_s=0.2)
    render(kernel, noise(1000))
    tail = render(kernel, np.zeros(3 * 48000, np.float32), 480)
    assert tail[:4800].any()
    assert not tail[-4800:].any()
    x = noise(3000)
    again = render(kernel, x)
    assert error_db(again, render(make(library, decay_s=0.2), x)) < -120


@pytest.mark.parametrize(
    "change",
    [{"decay_s": 6.0}, {"predelay_ms": 100.0}, {"damping_hz": 1000.0}, {"low_cut_hz": 500.0}, {"level_db": -12.0}],
)
def test_a_change_does_not_click(library: Library, change: dict[str, float]) -> None:
    # A click is broad: watch above 6 kHz while a 400 Hz tone sounds. A hard switch reads 30 dB higher and more.
    x = (0.5 * np.sin(2 * np.pi * 400 * np.arange(96000) / RATE_HZ)).astype(np.float32)
    kernel = make(library, predelay_ms=31.0)
    before = render(kernel, x[:72000])
    kernel.call("set", kernel.params("reverb", **{"predelay_ms": 31.0, **change}))
    y = np.concatenate([before, render(kernel, x[72000:])])
    high = sosfilt(butter(8, 6000, "highpass", fs=RATE_HZ, output="sos"), y, axis=0)
    assert 20 * np.log10(np.abs(high[71000:82000]).max() / np.abs(y).max()) < -75


def test_reset_equals_fresh(library: Library) -> None:
    x, used = noise(9000), make(library)
    render(used, noise(12345, seed=4))
    used.call("reset")
    assert_bit_equal(render(used, x), render(make(library), x), "reset differs from fresh")


@pytest.mark.parametrize("hostile", [np.nan, np.inf, 1e-40])
def test_nothing_hostile_circulates(library: Library, hostile: float) -> None:
    x = noise(20000)
    x[3000:3100] = hostile
    y = render(make(library, decay_s=8.0), x)
    assert np.isfinite(y).all()
    assert np.abs(y).max() < 10


def test_line_lengths_share_no_factor_at_any_rate() -> None:
    for rate_hz in (8000.0, 44100.0, 48000.0, 88200.0, 96000.0, 192000.0):
        lengths = reference.line_coefficients(reference.Settings(), rate_hz)[0]
        assert all(a < b for a, b in pairwise(lengths)), "two lines are equally long"


def test_reverb_refuses_a_wrong_rate(library: Library) -> None:
    with pytest.raises(KernelError, match="sample rate"):
        make(library, 4000.0)
