"""Music and gated mode: expansion, one microphone for one source, NOM, last hold; row A6 of the figures to reach."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.native import Library
from dsp_kernels.reference.automix import GATED, MUSIC, Channel, Share
from dsp_kernels.tests.automix_rig import RATE_HZ, db, gains_of, make, panel, set_group, talk
from dsp_kernels.tests.measures import white_noise


def test_a6_music_keeps_the_balance_of_two_singers(library: Library) -> None:
    singers = np.stack([talk(3.0, 1, level_rms_dbfs=-20.0), talk(3.0, 2, level_rms_dbfs=-23.0)], axis=1)
    x = panel(singers, [0, 1], 4, bleed_db=-30.0, noise_dbfs=-70.0)
    y, gains = gains_of(make(library, [Channel()] * 4, [Share(mode=MUSIC)]), x, 4)
    both = np.all([np.convolve(x[:, k] ** 2, np.ones(960) / 960, "same") > 1e-4 for k in (0, 1)], axis=0)
    both[:24000] = False

    def balance_db(z: np.ndarray) -> float:
        return float(10 * np.log10(np.sum(z[both, 0].astype(float) ** 2) / np.sum(z[both, 1].astype(float) ** 2)))

    change_db = balance_db(y) - balance_db(x)
    print(f"A6: two singers 3 dB apart, music mode changes their balance by {change_db:+.3f} dB")
    assert both.sum() > 48000, "they hardly sang together"
    assert abs(change_db) <= 0.5
    assert gains.max() <= 1.0


def test_music_expands_two_to_one_down_to_the_depth(library: Library) -> None:
    tone = np.sqrt(2) * np.sin(2 * np.pi * 1000 * np.arange(48000) / RATE_HZ)[:, None]
    share = Share(mode=MUSIC, ambience_channel=4, threshold_db=10.0, depth_db=15.0, nom_limit=10.0, is_last_hold_on=0)
    for level_db, expected_db in ((-25.0, 0.0), (-35.0, -5.0), (-38.0, -8.0), (-55.0, -15.0)):
        x = tone * 10 ** (np.array([level_db, level_db, -90, -40.0]) / 20)
        # The ambience, -40 dBFS, is heard by the group although it is in none.
        channels = [Channel(), Channel(), Channel(), Channel(group=0)]
        _, gains = gains_of(make(library, channels, [share]), x, 4)
        assert db(gains[2900:, 0]) == pytest.approx(expected_db, abs=0.2)
        assert (gains[:, 3] == 1).all()


@pytest.mark.parametrize(("limit", "expected_db"), [(1.0, -6.0), (2.0, -3.0), (4.0, 0.0)])
def test_nom_lowers_by_3_db_per_doubling_beyond_the_limit(library: Library, limit: float, expected_db: float) -> None:
    x = white_noise(48000, 4, -20.0)
    share = Share(mode=MUSIC, depth_db=40.0, nom_limit=limit)
    kernel = make(library, [Channel()] * 4, [share])
    _, gains = gains_of(kernel, x, 4)
    assert db(gains[1500:]).mean() == pytest.approx(expected_db, abs=0.1)
    assert kernel.struct.nom[0] == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("mode", [MUSIC, GATED])
@pytest.mark.parametrize("is_on", [0, 1])
def test_last_hold_keeps_the_last_microphone_open(library: Library, mode: int, is_on: int) -> None:
    x = panel(talk(1.5, 3)[:, None], [2], 4, bleed_db=-40.0, noise_dbfs=-66.0)
    share = Share(mode=mode, threshold_db=12.0, is_last_hold_on=is_on)
    kernel = make(library, [Channel()] * 4, [share])
    gains_of(kernel, x, 4)
    _, gains = gains_of(kernel, panel(np.zeros((96000, 1)), [0], 4, bleed_db=-40.0, noise_dbfs=-66.0), 4)
    assert kernel.struct.last_channel[0] == 2
    assert (db(gains[-300:, 2]).min() > -3.0) == bool(is_on)
    assert db(gains[-300:, [0, 1, 3]]).max() < -10.0


def test_gated_opens_only_the_loudest_for_one_source(library: Library) -> None:
    # Bleed at -8 dB is 40 dB above the noise floor: the threshold alone would open all.
    x = panel(talk(4.0, 3)[:, None], [1], 6, bleed_db=-8.0, noise_dbfs=-70.0)
    _, gains = gains_of(make(library, [Channel()] * 6, [Share(mode=GATED, nom_limit=10)]), x, 6)
    is_open = db(gains) > -3.0
    print(f"gated, one talker: own microphone open {is_open[600:, 1].mean():.0%}, most open other "
          f"{is_open[:, [0, 2, 3, 4, 5]].mean(axis=0).max():.1%}")  # fmt: skip
    assert is_open[600:, 1].mean() > 0.9
    assert is_open[:, [0, 2, 3, 4, 5]].mean() < 0.05


def test_gated_opens_a_second_source_beside_the_first(library: Library) -> None:
    sources = np.stack([talk(4.0, 3, level_rms_dbfs=-20.0), talk(4.0, 4, level_rms_dbfs=-26.0)], axis=1)
    x = panel(sources, [1, 4], 6, bleed_db=-18.0, noise_dbfs=-70.0)
    _, gains = gains_of(make(library, [Channel()] * 6, [Share(mode=GATED, nom_limit=10)]), x, 6)
    is_open = db(gains[3000:]) > -3.0
    print(f"gated, two talkers: open {is_open[:, 1].mean():.0%} and {is_open[:, 4].mean():.0%}, "
          f"others {is_open[:, [0, 2, 3, 5]].mean():.1%}")  # fmt: skip
    assert is_open[:, [1, 4]].mean(axis=0).min() > 0.85
    assert is_open[:, [0, 2, 3, 5]].mean() < 0.1


def test_gated_opens_within_15_ms_and_holds(library: Library) -> None:
    x = white_noise(72000, 4, -70.0).astype(float)
    x[24000:36000, 0] += white_noise(12000, 1, -20.0)[:, 0]
    share = Share(mode=GATED, is_last_hold_on=0, hold_ms=400.0, release_ms=50.0)
    _, gains = gains_of(make(library, [Channel()] * 4, [share]), x, 4)
    is_open = db(gains[:, 0]) > -3.0
    opens_ms, closes_ms = np.flatnonzero(is_open)[[0, -1]] / 3.0
    assert 500.0 <= opens_ms <= 515.0
    assert 750.0 + 400.0 <= closes_ms <= 750.0 + 400.0 + 100.0  # and the detector's decay to the noise floor
    assert db(gains[-10:, 0]).max() < -14.0


def test_gated_opens_no_more_than_it_may(library: Library) -> None:
    x = np.stack([talk(2.0, seed, level_rms_dbfs=-20.0 - seed) for seed in range(8)], axis=1)
    x += white_noise(len(x), 8, -70.0)
    kernel = make(library, [Channel()] * 8, [Share(mode=GATED, max_open=3, release_ms=10, nom_limit=10)])
    _, gains = gains_of(kernel, x, 8)
    # A microphone that gives its place to another falls to -3 dB within 3 ms while the other rises.
    n_open = (db(gains) > -0.5).sum(axis=1)
    assert n_open.max() == 3
    assert n_open[3000:].mean() > 2
    set_group(kernel, 0, Share(mode=GATED, max_open=1, release_ms=10, nom_limit=10))
    _, gains = gains_of(kernel, x, 8)
    assert (db(gains[1600:]) > -0.5).sum(axis=1).max() == 1


def test_a5_gated_learns_a_new_noise_floor(library: Library) -> None:
    x = panel(talk(7.0, 5)[:, None], [0], 8, bleed_db=-40.0, noise_dbfs=-65.0)
    x[48000:, 5] += (10 ** (15 / 20) - 1) * np.random.default_rng(1).standard_normal(len(x) - 48000) * 10 ** (-65 / 20)
    _, gains = gains_of(make(library, [Channel()] * 8, [Share(mode=GATED, depth_db=30.0)]), x, 8)
    is_talking = np.convolve(x[:, 0] ** 2, np.ones(480) / 480, "same")[::16] > 1e-4
    is_late = np.arange(len(gains)) > 6 * 3000
    loss_db = -10 * np.log10(np.mean(gains[is_talking & is_late, 0] ** 2))
    print(f"A5 gated: 5 s after the noise step the talker loses {loss_db:.2f} dB, the noisy one is at "
          f"{db(gains[-1:, 5])[0]:.1f} dB")  # fmt: skip
    assert loss_db <= 0.5
