"""Feature extractor: what the header promises, and spectra and levels against their twins."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import envelope, k_loudness, spectral
from dsp_kernels.reference.fft import power_spectrum
from dsp_kernels.tests.extract import RATE_HZ, Extractor, in_lanes, noise, talker
from dsp_kernels.tests.measures import ODD_BLOCKS

SILENT_AT = {
    "log_mel_db": -100.0, "bark_dbfs": -100.0, "rms_dbfs": -100.0, "peak_dbfs": -100.0, "noise_floor_dbfs": -100.0,
    "loudness_momentary_lufs": -100.0, "loudness_short_term_lufs": -100.0, "strip_loudness_momentary_lufs": -100.0,
    "strip_loudness_short_term_lufs": -100.0, "bleed_source": -1.0, "masked_by": -1.0,
}  # fmt: skip


def programme(n_frames: int, rate_hz: float = RATE_HZ) -> np.ndarray:
    """Return four unlike channels: a talker, a decaying chord, noise that comes and goes, a low tone."""
    t = np.arange(n_frames) / rate_hz
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.2, 330.0)) * 0.1 * np.exp(-3 * (t % 0.7))
    swelling = noise(n_frames, -30.0, 5) * (1 + np.sin(2 * np.pi * 1.3 * t))
    return in_lanes(talker(n_frames, -22.0, 2), chord, swelling, 0.2 * np.sin(2 * np.pi * 55 * t))


def assert_same_records(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Fail, naming the first feature that differs in a bit."""
    assert actual.shape == expected.shape, what
    for name in expected.dtype.names:
        a, b = actual[name].view(np.uint32), expected[name].view(np.uint32)
        assert np.array_equal(a, b), f"{what}: {name} differs first at {np.argwhere(a != b)[0]}"


def test_records_do_not_depend_on_how_the_sound_is_cut(library: Library) -> None:
    x = programme(24000)
    whole = Extractor(library, 4).run(x)
    assert len(whole) == 50
    for block in ODD_BLOCKS:
        assert_same_records(Extractor(library, 4).run(x, block=block), whole, f"blocks of {block} frames")
    extractor = Extractor(library, 4)
    assert extractor.process(x) == 50
    assert_same_records(extractor.latest(), whole[-1], "one block")


def test_reset_equals_fresh(library: Library) -> None:
    x = programme(24000)
    used = Extractor(library, 4)
    used.run(x[::-1].copy())
    used.process(x[:100])
    used.kernel.call("reset")
    fresh = Extractor(library, 4)
    assert_same_records(used.latest(), fresh.latest(), "before any sound")
    assert_same_records(used.run(x), fresh.run(x), "after reset")


@pytest.mark.parametrize("rate_hz", [8000.0, 44100.0, 96000.0])
def test_silence_reads_what_the_contract_says(library: Library, rate_hz: float) -> None:
    extractor = Extractor(library, 5, rate_hz)
    silence = np.zeros((int(rate_hz // 2), 8), np.float32)
    for records in (extractor.latest(), extractor.run(silence)[-1]):
        for name in records.dtype.names:
            if name == "mfcc":
                assert records[name][:, 0] == pytest.approx(-100 * np.sqrt(40), rel=1e-5)
                assert np.abs(records[name][:, 1:]).max() < 1e-3
            else:
                assert (records[name] == SILENT_AT.get(name, 0.0)).all(), f"{name} in silence: {records[name]}"


def test_silence_after_sound_reads_silence_again(library: Library) -> None:
    extractor = Extractor(library, 4)
    extractor.run((programme(48000) * 4).astype(np.float32))
    last = extractor.run(np.zeros((6 * 48000, 4), np.float32))[-1]
    for name in (
        "log_mel_db",
        "bark_dbfs",
        "rms_dbfs",
        "peak_dbfs",
        "loudness_momentary_lufs",
        "loudness_short_term_lufs",
    ):
        assert (last[name] == -100.0).all(), name
    for name in ("centroid_hz", "rolloff_hz", "flatness", "brightness", "crest_db", "is_active", "onset"):
        assert (last[name] == 0.0).all(), name


@pytest.mark.parametrize("sound", ["squares", "denormals", "huge", "dc", "impulses"])
def test_every_sound_gives_finite_records(library: Library, sound: str) -> None:
    n = np.arange(48000)
    shapes = {
        "squares": np.where(n // 50 % 2, 1.0, -1.0),
        "denormals": np.full(len(n), 1e-40),
        "huge": np.where(n % 3 == 0, 3e38, -1e20),
        "dc": np.ones(len(n)),
        "impulses": (n % 4800 == 0).astype(float),
    }
    extractor = Extractor(library, 4)
    x = in_lanes(shapes[sound], shapes[sound], noise(len(n)), np.zeros(len(n)))
    for records in (extractor.run(x)[-1], extractor.run(np.zeros_like(x))[-1]):
        for name in records.dtype.names:
            assert np.isfinite(records[name]).all(), f"{name} of {sound}"


def test_faults_in_one_channel_leave_the_others_alone(library: Library) -> None:
    x = programme(24000)
    hostile = x.copy()
    hostile[5000:9000, 1] = np.nan
    hostile[12000:12010, 1] = np.inf
    x[:, 1], clean = 0.0, Extractor(library, 4).run(x)
    faulty = Extractor(library, 4).run(hostile)
    for name in clean.dtype.names:
        assert np.isfinite(faulty[name]).all(), name
        if not name.startswith(("masked", "bleed")):  # these compare channels
            assert np.array_equal(faulty[name][:, [0, 2, 3]], clean[name][:, [0, 2, 3]]), name


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_spectra_and_levels_match_their_float64_reference(library: Library, rate_hz: float) -> None:
    extractor = Extractor(library, 4, rate_hz)
    hop, n_fft = extractor.hop_frames, extractor.fft_frames
    x = programme(40 * hop, rate_hz)
    records = extractor.run(x)
    spacing_hz = rate_hz / n_fft
    for h in range(5, 40, 3):
        end = (h + 1) * hop
        for ch in range(4):
            record = records[h, ch]
            power, power_before = (
                power_spectrum(x[end - n_fft : end, ch]),
                power_spectrum(x[end - hop - n_fft : end - hop, ch]),
            )
            mel = spectral.log_mel_db(power, rate_hz)
            assert np.abs(record["log_mel_db"] - mel).max() < 0.05
            assert np.abs(record["mfcc"] - spectral.mfcc(mel)).max() < 0.05
            bark = spectral.level_db(spectral.bark_filters(rate_hz, n_fft) @ power)
            assert np.abs(record["bark_dbfs"] - bark).max() < 0.05
            rise = np.maximum(mel - spectral.log_mel_db(power_before, rate_hz), 0)
            assert record["flux"] == pytest.approx(rise.mean() / 10, abs=0.002)
            shape = spectral.shape(power, rate_hz)
            assert abs(record["centroid_hz"] - shape["centroid_hz"]) < 0.001 * shape["centroid_hz"] + 0.1
            assert abs(record["rolloff_hz"] - shape["rolloff_hz"]) < 0.1 * spacing_hz
            assert record["flatness"] == pytest.approx(shape["flatness"], rel=0.01, abs=1e-4)
            assert record["brightness"] == pytest.approx(shape["brightness"], rel=0.001, abs=1e-5)
            now = x[end - hop : end, ch].astype(np.float64)
            assert abs(record["rms_dbfs"] - spectral.level_db(np.mean(now**2))) < 0.01
            assert abs(record["peak_dbfs"] - spectral.level_db(np.max(now**2))) < 0.01


def test_full_scale_sine_reads_what_the_contract_says(library: Library) -> None:
    sine = np.sin(2 * np.pi * 997 * np.arange(96000) / RATE_HZ)
    record = Extractor(library, 4).run(in_lanes(sine))[-1, 0]
    assert record["rms_dbfs"] == pytest.approx(-3.01, abs=0.05)
    assert record["peak_dbfs"] == pytest.approx(0.0, abs=0.01)
    assert record["crest_db"] == pytest.approx(3.01, abs=0.1)
    assert 10 * np.log10(np.sum(10 ** (record["log_mel_db"] / 10))) == pytest.approx(0.0, abs=0.05)
    assert 10 * np.log10(np.sum(10 ** (record["bark_dbfs"] / 10))) == pytest.approx(-3.01, abs=0.05)
    assert record["centroid_hz"] == pytest.approx(997, abs=1)
    assert record["flatness"] < 0.01


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_loudness_of_both_taps_matches_its_float64_reference(library: Library, rate_hz: float) -> None:
    extractor = Extractor(library, 4, rate_hz)
    n = int(3.5 * rate_hz)
    x = programme(n, rate_hz)
    strip = (x[:, ::-1] * 0.5).astype(np.float32)
    records = extractor.run(x, strip)
    for tap, sound in (("", x), ("strip_", strip)):
        for name, window_hops in (("momentary", 40), ("short_term", 300)):
            expected = k_loudness.loudness_lufs(sound, rate_hz, extractor.hop_frames, window_hops)
            actual = records[f"{tap}loudness_{name}_lufs"]
            assert np.abs(actual - expected)[expected > -90].max() < 0.01


def test_loudness_of_a_tone_is_what_bs_1770_says(library: Library) -> None:
    """A 997 Hz sine of full scale in one channel reads -3.01 LUFS (BS.1770-4, annex 1)."""
    sine = np.sin(2 * np.pi * 997 * np.arange(4 * 48000) / RATE_HZ)
    record = Extractor(library, 4).run(in_lanes(sine))[-1, 0]
    assert record["loudness_momentary_lufs"] == pytest.approx(-3.01, abs=0.02)
    assert record["loudness_short_term_lufs"] == pytest.approx(-3.01, abs=0.02)


def test_long_features_match_their_float64_reference(library: Library) -> None:
    extractor = Extractor(library, 4)
    x = programme(4 * 48000)
    records = extractor.run(x)
    for ch in range(4):
        crest = envelope.crest_db(x[:, ch], 480, 100.0)
        assert np.abs(records["crest_db"][:, ch] - crest).max() < 0.01
        syllabic = envelope.syllabic_modulation(x[:, ch], 480, 100.0)
        assert np.abs(records["syllabic_modulation"][:, ch] - syllabic).max() < 0.005
        level = spectral.level_db(envelope.hop_power(x[:, ch], 480))
        before = np.concatenate([[0.0], records["is_active"][:-1, ch]])
        is_slow = (before > 0.5) & (records["flatness"][:, ch] < 0.25)
        assert (
            np.abs(records["noise_floor_dbfs"][:, ch] - envelope.noise_floor_dbfs(level, is_slow, 100.0)).max() < 0.01
        )


@pytest.mark.parametrize(
    ("rate_hz", "n_channels", "reason"),
    [(100.0, 4, "sample rate"), (48000.0, 0, "argument"), (48000.0, 65, "argument")],
)
def test_extractor_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_channels: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        Kernel(library, "features", rate_hz, n_channels, size_arguments=(48000.0, 8))
