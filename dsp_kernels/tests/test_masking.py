"""Masking between channels: fractions and maskers of mixes whose answer is known, and the float64 twin."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.native import Library
from dsp_kernels.reference import masking
from dsp_kernels.reference.fft import power_spectrum
from dsp_kernels.reference.spectral import bark_filters
from dsp_kernels.tests.extract import RATE_HZ, Extractor, in_lanes, noise

N_FRAMES = 6 * int(RATE_HZ)


def band_noise(low_hz: float, high_hz: float, level_dbfs: float, seed: int) -> np.ndarray:
    """Return noise between two frequencies that begins after 0.5 s, over faint noise."""
    from scipy.signal import butter, sosfilt

    x = sosfilt(butter(6, (low_hz, high_hz), "band", fs=RATE_HZ, output="sos"), noise(N_FRAMES, 0.0, seed))
    x *= 10 ** (level_dbfs / 20) / np.sqrt(np.mean(x**2))
    x[: int(RATE_HZ // 2)] = 0
    return x + noise(N_FRAMES, -90.0, seed + 100)


def set_gain(extractor: Extractor, channel: int, gain_db: float) -> None:
    """Set one gain for all critical bands."""
    extractor.kernel.call("set_mix_gain", channel, [10 ** (gain_db / 20)] * 24)


def test_the_quieter_of_two_in_the_same_band_is_masked_by_the_louder(library: Library) -> None:
    channels = [band_noise(1000, 2000, -35, 1), band_noise(1000, 2000, -20, 2), band_noise(100, 300, -20, 3)]
    last = Extractor(library, 4).run(in_lanes(*channels))[-1]
    assert last["masked_fraction"][0] > 0.95
    assert last["masked_by"][0] == 1
    assert (last["masked_fraction"][1:] < 0.05).all()
    assert (last["masked_by"][1:] == -1).all()


def test_masking_is_judged_behind_the_mix_gains(library: Library) -> None:
    extractor = Extractor(library, 4)
    set_gain(extractor, 1, -40.0)
    last = extractor.run(in_lanes(band_noise(1000, 2000, -35, 1), band_noise(1000, 2000, -20, 2)))[-1]
    assert last["masked_fraction"][0] < 0.05
    assert last["masked_fraction"][1] > 0.95
    assert last["masked_by"][1] == 0


def test_an_inactive_channel_reads_nothing(library: Library) -> None:
    last = Extractor(library, 4).run(
        in_lanes(noise(N_FRAMES, -75.0, 4), noise(N_FRAMES, -75.0, 5), band_noise(500, 900, -20, 6))
    )[-1]
    assert (last["masked_fraction"][:2] == 0).all()
    assert (last["masked_by"][:2] == -1).all()


def test_low_masks_high_more_than_high_masks_low(library: Library) -> None:
    low_under, low_over = band_noise(600, 700, -20, 7), band_noise(600, 700, -43, 8)
    high_under, high_over = band_noise(1000, 1100, -43, 9), band_noise(1000, 1100, -20, 10)
    upward = Extractor(library, 4).run(in_lanes(low_under, high_under))[-1]["masked_fraction"][1]
    downward = Extractor(library, 4).run(in_lanes(low_over, high_over))[-1]["masked_fraction"][0]
    assert upward > downward + 0.3


def test_fractions_match_their_float64_reference(library: Library) -> None:
    ranges = [
        (200, 900, -30),
        (500, 2500, -26),
        (1000, 6000, -33),
        (100, 400, -28),
        (3000, 9000, -24),
        (300, 4000, -31),
    ]
    x = in_lanes(*[band_noise(low, high, level, 20 + i) for i, (low, high, level) in enumerate(ranges)])
    gains_db = [0.0, -3.0, 2.0, -6.0, 1.0, -12.0]
    extractor = Extractor(library, len(ranges))
    for channel, gain_db in enumerate(gains_db):
        set_gain(extractor, channel, gain_db)
    records = extractor.run(x)
    n_hops, n = len(records), len(ranges)
    filters = bark_filters(RATE_HZ, 1024)
    keep = np.exp(-0.01)
    fraction, share = np.zeros(n), np.zeros((n, n))
    for h in range(2, n_hops):
        power = filters @ power_spectrum(x[(h + 1) * 480 - 1024 : (h + 1) * 480, :n])
        now, now_share = masking.masked(power.T * 10 ** (np.array(gains_db)[:, None] / 10))
        is_active = records["is_active"][h] > 0
        fraction = np.where(is_active, now + keep * (fraction - now), fraction)
        share = np.where(is_active[:, None], now_share + keep * (share - now_share), share)
    last = records[-1]
    assert last["is_active"].all()
    assert np.abs(last["masked_fraction"] - fraction).max() < 0.002
    assert fraction.max() > 0.1, "the mix masks nothing"
    for i in np.flatnonzero(fraction > 0.03):
        assert last["masked_by"][i] == np.argmax(share[i])


def test_gains_out_of_range_leave_the_channel_out_of_the_mix(library: Library) -> None:
    extractor = Extractor(library, 4)
    extractor.kernel.call("set_mix_gain", 1, [float("nan")] * 24)
    extractor.kernel.call("set_mix_gain", 99, [1.0] * 24)
    last = extractor.run(in_lanes(band_noise(1000, 2000, -35, 1), band_noise(1000, 2000, -20, 2)))[-1]
    assert last["masked_fraction"][0] == pytest.approx(0.0, abs=0.05)
