"""Programme loudness: BS.1770-4 and EBU Tech 3341/3342 style signals, against libebur128, pyloudnorm and the twin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import loudness as reference
from dsp_kernels.tests import ebur128
from dsp_kernels.tests.measures import ODD_BLOCKS

RATE_HZ = 48000.0
FIELDS = [f.name for f in dataclasses.fields(reference.Reading)]
Audio = NDArray[np.float32]


def meter(library: Library, rate_hz: float = RATE_HZ) -> Kernel:
    return Kernel(library, "loudness", rate_hz, size_arguments=(rate_hz,))


def feed(kernel: Kernel, x: Audio, block: int = 480, first_lane: int = 0) -> Kernel:
    frames = np.ascontiguousarray(x, np.float32)
    for start in range(0, len(frames), block):
        part = frames[start : start + block]
        kernel.call("process", kernel.pointer(part), part.shape[1], first_lane, len(part))
    return kernel


def reading(kernel: Kernel) -> reference.Reading:
    values = kernel.call("read")
    return reference.Reading(**{name: getattr(values, name) for name in FIELDS})


def measured(library: Library, x: Audio, rate_hz: float = RATE_HZ) -> reference.Reading:
    return reading(feed(meter(library, rate_hz), x))


def sine(
    level_dbfs: float, duration_s: float, freq_hz: float = 1000.0, phase_deg: float = 0.0, rate_hz: float = RATE_HZ
) -> Audio:
    """Return a stereo sine with its peak at ``level_dbfs``, equal on both sides."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    x = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * freq_hz * t + np.radians(phase_deg))
    return np.repeat(x[:, None], 2, axis=1).astype(np.float32)


def steps(*parts: tuple[float, float]) -> Audio:
    """Return sines one after the other, each ``(level_dbfs, duration_s)``."""
    return np.concatenate([sine(*part) for part in parts])


def programme(duration_s: float, seed: int = 3, rate_hz: float = RATE_HZ) -> Audio:
    """Return speech-like pink noise in phrases between -45 and -15 dBFS, different left and right."""
    rng = np.random.default_rng(seed)
    n_frames = round(duration_s * rate_hz)
    spectrum = np.fft.rfft(rng.standard_normal((n_frames, 2)), axis=0)
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 20))[:, None]
    noise = np.fft.irfft(spectrum, n_frames, axis=0)
    phrases = rng.uniform(-30, 0, int(duration_s / 0.8) + 2)
    level_db = np.interp(np.arange(n_frames) / rate_hz, np.arange(len(phrases)) * 0.8, phrases)
    return (noise / noise.std() * 0.2 * 10 ** (level_db / 20)[:, None]).astype(np.float32)


# Our own making, after the descriptions in EBU Tech 3341 (integrated loudness and gating).
STEPPED = {
    "steady -23": ([(-23.0, 20.0)], -23.0),
    "steady -33": ([(-33.0, 20.0)], -33.0),
    "relative gate": ([(-36.0, 10.0), (-23.0, 30.0), (-36.0, 10.0)], -23.0),
    "absolute gate": ([(-72.0, 10.0), (-36.0, 10.0), (-23.0, 30.0), (-36.0, 10.0), (-72.0, 10.0)], -23.0),
    "both count": ([(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)], -23.0),
}


@pytest.mark.parametrize("name", STEPPED)
def test_integrated_loudness_of_stepped_tones(library: Library, name: str) -> None:
    parts, expected_lufs = STEPPED[name]
    x = steps(*parts)
    ours, oracle = measured(library, x), ebur128.measure(x, RATE_HZ)
    assert ours.integrated_lufs == pytest.approx(expected_lufs, abs=0.1)
    assert ours.integrated_lufs == pytest.approx(oracle.integrated_lufs, abs=0.02)
    assert ours.short_term_lufs == pytest.approx(oracle.short_term_lufs, abs=0.02)
    assert ours.momentary_lufs == pytest.approx(oracle.momentary_lufs, abs=0.02)


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_a_programme_reads_as_libebur128_and_pyloudnorm_say(library: Library, rate_hz: float) -> None:
    x = programme(30.0, rate_hz=rate_hz)
    ours, oracle = measured(library, x, rate_hz), ebur128.measure(x, rate_hz)
    for name in ("integrated_lufs", "short_term_lufs", "momentary_lufs"):
        assert getattr(ours, name) == pytest.approx(getattr(oracle, name), abs=0.02), name
    assert -0.4 <= ours.true_peak_dbtp - oracle.true_peak_dbtp <= 0.2
    assert ours.sample_peak_dbfs == pytest.approx(oracle.sample_peak_dbfs, abs=0.001)
    other_lufs = pyloudnorm.Meter(rate_hz).integrated_loudness(x.astype(np.float64))
    assert ours.integrated_lufs == pytest.approx(other_lufs, abs=0.1)


@pytest.mark.parametrize(
    ("parts", "expected_lu"),
    [
        ([(-20.0, 20.0), (-30.0, 20.0)], 10.0),
        ([(-20.0, 20.0), (-15.0, 20.0)], 5.0),
        ([(-40.0, 20.0), (-20.0, 20.0)], 20.0),
        ([(-50.0, 20.0), (-35.0, 20.0), (-20.0, 20.0), (-35.0, 20.0), (-50.0, 20.0)], 15.0),
    ],
)
def test_loudness_range_of_stepped_tones(
    library: Library, parts: list[tuple[float, float]], expected_lu: float
) -> None:
    x = steps(*parts)
    range_lu = measured(library, x).loudness_range_lu
    assert range_lu == pytest.approx(expected_lu, abs=1.0)  # what Tech 3342 allows
    assert range_lu == pytest.approx(ebur128.measure(x, RATE_HZ).loudness_range_lu, abs=0.2)


def test_loudness_range_of_a_long_programme(library: Library) -> None:
    # libebur128 takes a value each second, the 2016 edition and we one each 100 ms: alike once there are many.
    x = programme(240.0, rate_hz=16000.0)
    ours_lu = measured(library, x, 16000.0).loudness_range_lu
    assert ours_lu == pytest.approx(ebur128.measure(x, 16000.0).loudness_range_lu, abs=0.2)


@pytest.mark.parametrize(("divisor", "phase_deg"), [(4, 0.0), (4, 45.0), (6, 60.0), (8, 67.5)])
def test_true_peak_of_sines_between_the_samples(library: Library, divisor: int, phase_deg: float) -> None:
    x = sine(-6.0, 0.5, RATE_HZ / divisor, phase_deg)
    fade = np.minimum(1.0, np.arange(len(x)) / 4800)[:, None]
    assert -0.4 <= measured(library, (x * fade).astype(np.float32)).true_peak_dbtp + 6.0 <= 0.2


def test_true_peak_of_a_single_peak_between_two_samples(library: Library) -> None:
    # One period of fs/4 oversampled, then decimated at each of four phases, as in Tech 3341 signals 20 to 23.
    for offset in range(4):
        t = np.arange(-200, 200) + offset / 4
        x = np.sinc(t * 0.9) * 10 ** (-1 / 20)
        stereo = np.repeat(x[:, None], 2, axis=1).astype(np.float32)
        assert -0.4 <= measured(library, stereo).true_peak_dbtp + 1.0 <= 0.2


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 11025.0])
def test_loudness_matches_its_float64_reference(library: Library, rate_hz: float) -> None:
    x = programme(12.34, seed=5, rate_hz=rate_hz)
    ours, twin = measured(library, x, rate_hz), reference.read(x, rate_hz)
    for name in FIELDS:
        tolerance = 0.05 if name == "loudness_range_lu" else 0.001  # the range knows classes of 0.05 LU
        assert getattr(ours, name) == pytest.approx(getattr(twin, name), abs=tolerance), name


def test_interpolator_coefficients_are_those_of_the_formula(library: Library) -> None:
    x = np.zeros((40, 2), np.float32)
    rng = np.random.default_rng(2)
    for _ in range(20):
        x[:] = rng.standard_normal(x.shape)
        true_peak_dbtp = reference.peaks_dbfs(x)[1]
        assert measured(library, x).true_peak_dbtp == pytest.approx(true_peak_dbtp, abs=1e-5)


def test_a_peak_a_little_above_the_last_counts_wherever_it_falls(library: Library) -> None:
    """What cannot raise the reading is not interpolated: nothing else may be left out."""
    noise = 0.01 * np.random.default_rng(4).standard_normal((700, 2))
    peak = np.sinc(np.arange(-8, 8) + 0.5)  # highest half-way between two samples
    for offset in range(24):
        for side in range(2):
            x = noise.copy()
            x[200:216, side] += 0.5 * peak
            x[480 + offset : 496 + offset, side] += 0.52 * peak
            x = x.astype(np.float32)
            sample_dbfs, true_dbtp = reference.peaks_dbfs(x)
            ours = measured(library, x)
            assert (ours.sample_peak_dbfs, ours.true_peak_dbtp) == pytest.approx((sample_dbfs, true_dbtp), abs=1e-5)


@pytest.mark.parametrize("block", ODD_BLOCKS)
def test_reading_does_not_depend_on_the_block_size(library: Library, block: int) -> None:
    x = programme(4.03)
    assert reading(feed(meter(library), x, block)) == reading(feed(meter(library), x, len(x)))


def test_reads_only_its_two_lanes(library: Library) -> None:
    x = programme(3.5)
    wide = np.full((len(x), 12), np.nan, np.float32)
    wide[:, 6:8] = x
    assert reading(feed(meter(library), wide, first_lane=6)) == measured(library, x)


def test_reset_equals_fresh(library: Library) -> None:
    x = programme(4.0)
    used = feed(meter(library), x[::-1][:100001])
    used.call("reset")
    assert reading(feed(used, x)) == measured(library, x)


def test_silence_and_too_little_sound_read_silence(library: Library) -> None:
    silent = measured(library, np.zeros((200000, 2), np.float32))
    assert [getattr(silent, name) for name in FIELDS] == [-100.0, -100.0, -100.0, 0.0, -100.0, -100.0]
    short = measured(library, sine(-20.0, 0.399))
    assert short.momentary_lufs == short.integrated_lufs == short.short_term_lufs == -100.0
    assert short.sample_peak_dbfs == pytest.approx(-20.0, abs=0.01)
    assert measured(library, np.full((200000, 2), 1e-40, np.float32)).integrated_lufs == -100.0


def test_a_nan_costs_100_ms_and_no_more(library: Library) -> None:
    x = programme(12.0)
    hurt = x.copy()
    hurt[100000:100010, 0] = np.nan
    hurt[200000, 1] = np.inf
    ours, clean = measured(library, hurt), measured(library, x)
    assert ours.integrated_lufs == pytest.approx(clean.integrated_lufs, abs=0.3)
    assert ours.short_term_lufs == pytest.approx(clean.short_term_lufs, abs=0.001)
    assert ours.true_peak_dbtp == pytest.approx(clean.true_peak_dbtp, abs=0.001)


def test_an_hour_fits_in_the_same_memory(library: Library) -> None:
    # At 8 kHz: as many blocks as an hour has, two levels 9 LU apart, both above the gate.
    kernel, rate_hz = meter(library, 8000.0), 8000.0
    loud, soft = sine(-20.0, 60.0, rate_hz=rate_hz), sine(-29.0, 60.0, rate_hz=rate_hz)
    for minute in range(60):
        feed(kernel, loud if minute % 2 else soft, 60000)
    expected_lufs = 10 * np.log10((10**-2.0 + 10**-2.9) / 2)
    assert reading(kernel).integrated_lufs == pytest.approx(expected_lufs, abs=0.05)
    assert reading(kernel).loudness_range_lu == pytest.approx(9.0, abs=0.1)


def test_loudness_refuses_a_wrong_rate(library: Library) -> None:
    with pytest.raises(KernelError, match="sample rate"):
        meter(library, 4000.0)
