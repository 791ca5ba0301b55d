"""Automixer: the bank's promises, the float64 twin, places and states, faults. The modes have tests of their own."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import automix as reference
from dsp_kernels.reference.automix import GATED, MANUAL, MUSIC, MUTE, OFF, SPEECH, Channel, Share
from dsp_kernels.tests.automix_rig import RATE_HZ, db, gains_of, make, panel, set_channel, set_group, talk
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

GAIN_ERROR_DB = 0.01
MODES = {"speech": SPEECH, "music": MUSIC, "gated": GATED}
LANE_CHANNEL = [0, 1, 2, 3, 4, 4, 5, 6, -1, -1, 7, 7]  # channels 4 and 7 are stereo


def three_talk(seconds: float, n_mics: int = 12) -> np.ndarray:
    sources = np.stack([talk(seconds, seed) for seed in range(3)], axis=1)
    return panel(sources, [0, 3, 6], n_mics, bleed_db=-14.0, noise_dbfs=-58.0).astype(np.float32)


def mixed(library: Library, mode: int = SPEECH) -> Kernel:
    """Return two groups over mono, stereo and ungrouped lanes."""
    channels = [Channel(group=1 + c % 2, weight_db=c - 3.0, fader_lin=1.0 - 0.1 * c) for c in range(8)]
    return make(library, channels, [Share(mode=mode), Share(mode=mode, tap=1)], lane_channel=LANE_CHANNEL)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_automix_keeps_the_bank_promises(library: Library, mode: int) -> None:
    assert_keeps_the_bank_promises(lambda: mixed(library, mode), three_talk(0.5))


@pytest.mark.parametrize("rate_hz", [8000.0, 44100.0, 96000.0, 192000.0])
def test_block_size_does_not_matter_at_other_rates(library: Library, rate_hz: float) -> None:
    x = white_noise(1000, 8)
    whole = make(library, [Channel()] * 8, rate_hz=rate_hz).process(x)
    assert_bit_equal(make(library, [Channel()] * 8, rate_hz=rate_hz).process(x, 7), whole, f"{rate_hz:g} Hz")


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_gains_match_the_float64_twin(library: Library, mode: int) -> None:
    x = three_talk(1.5)
    channels = [Channel(group=1 + c % 2, weight_db=c - 3.0, fader_lin=1.0 - 0.1 * c) for c in range(8)]
    groups = [Share(mode=mode), Share(mode=mode, tap=1, nom_limit=2.0, max_open=2)]
    y, gains = gains_of(mixed_of(library, channels, groups), x, 8)
    expected_y, expected = reference.Automix(RATE_HZ, LANE_CHANNEL, channels, groups).process(x)
    worst_db = np.abs(db(gains) - db(expected)).max()
    assert worst_db < GAIN_ERROR_DB, f"gains differ by {worst_db:.5f} dB"
    assert error_db(y, expected_y) < -100
    assert np.ptp(db(gains), axis=0).max() > 6, "the gains did not move: nothing was compared"


def mixed_of(library: Library, channels: list[Channel], groups: list[Share]) -> Kernel:
    return make(library, channels, groups, lane_channel=LANE_CHANNEL)


def test_crossfades_match_the_float64_twin(library: Library) -> None:
    x = three_talk(1.8, 8)
    kernel = make(library, [Channel()] * 8)
    twin = reference.Automix(RATE_HZ, list(range(8)), [Channel()] * 8, [Share()])
    changed = {1: Channel(state=MANUAL), 2: Channel(is_override=1), 3: Channel(fader_lin=0.3), 5: Channel(weight_db=6)}

    def change_twin() -> None:
        for c, settings in changed.items():
            twin.set_channel(c, settings)

    _, expected = twin.process(x, {1800: change_twin, 3600: lambda: twin.set_mode(0, Share(mode=MUSIC))})
    gains = [gains_of(kernel, x[:28800], 8)[1]]
    for c, settings in changed.items():
        set_channel(kernel, c, settings)
    gains.append(gains_of(kernel, x[28800:57600], 8)[1])
    set_group(kernel, 0, Share(mode=MUSIC))
    gains.append(gains_of(kernel, x[57600:], 8)[1])
    worst_db = np.abs(db(np.concatenate(gains)) - db(expected)).max()
    assert worst_db < GAIN_ERROR_DB, f"gains differ by {worst_db:.5f} dB"


def test_lanes_of_no_group_pass_bit_for_bit(library: Library) -> None:
    x = three_talk(0.2)
    channels = [Channel(group=0, state=MUTE, fader_lin=0.1)] * 5 + [Channel()] * 3
    y = make(library, channels, lane_channel=LANE_CHANNEL).process(x)
    alone = [0, 1, 2, 3, 4, 5, 8, 9]
    assert_bit_equal(y[:, alone], x[:, alone], "lanes of no group")
    assert not np.array_equal(y[:, 6], x[:, 6])
    lonely = make(library, [Channel(group=0)] * 12)
    assert_bit_equal(lonely.process(x), x, "no groups at all")


def test_stereo_channel_counts_once_and_keeps_its_balance(library: Library) -> None:
    noise = white_noise(48000, 4, -30.0)
    x = np.column_stack([noise[:, 0], noise[:, 1], noise[:, 2], noise[:, 3] * 1e-3])
    kernel = make(library, [Channel()] * 3, lane_channel=[0, 1, 2, 2])
    _, gains = gains_of(kernel, x, 3)
    # Half the power in each lane on average: the stereo channel is 3 dB below the others.
    expected_db = 10 * np.log10(np.array([1, 1, 0.5]) / 2.5)
    assert np.abs(10 * np.log10(np.mean(gains[1000:] ** 2, axis=0)) - expected_db).max() < 0.15
    y = kernel.process(x)
    frame = np.flatnonzero(np.abs(x[:, 3]) > 1e-6)[-1]
    assert y[frame, 2] / x[frame, 2] == pytest.approx(y[frame, 3] / x[frame, 3], rel=1e-6)


@pytest.mark.parametrize("state", [MUTE, MANUAL])
def test_states_crossfade_in_half_a_second_without_stealing(library: Library, state: int) -> None:
    x = white_noise(96000, 4, -30.0)
    kernel = make(library, [Channel()] * 4)
    gains_of(kernel, x[:24000], 4)
    set_channel(kernel, 0, Channel(state=state))
    _, gains = gains_of(kernel, x[:48000], 4)
    in_fade, after = gains[:1500], gains[1510:]
    unity = 0.0 if state == MUTE else 1.0
    assert (after[:, 0] == unity).all()
    assert abs(in_fade[750, 0] - unity) > 0.1, "the crossfade is too short"
    assert np.abs(np.diff(gains[:, 0])).max() < 0.01, "the crossfade jumps"
    assert (in_fade[:, 1:] ** 2).sum(axis=1).max() < 1.001
    assert 10 * np.log10((after[:, 1:] ** 2).mean() * 3) == pytest.approx(0, abs=0.05)


def test_faded_channel_takes_no_share(library: Library) -> None:
    x = np.stack([talk(0.5, 3), *white_noise(24000, 3, -60.0).T], axis=1)
    for tap in (0, 1):
        _, gains = gains_of(make(library, [Channel(fader_lin=0.0), *[Channel()] * 3], [Share(tap=tap)]), x, 4)
        assert (gains[:, 0] == 0).all()
        assert np.abs((gains[100:, 1:] ** 2).sum(axis=1) - 1).max() < 1e-5


def test_post_fader_detector_hears_the_fader_and_pre_does_not(library: Library) -> None:
    x = white_noise(48000, 4, -30.0)
    channels = [Channel(fader_lin=0.5), *[Channel()] * 3]
    for tap, expected_db in ((0, 10 * np.log10(0.25 / 3.25)), (1, -6.02)):
        _, gains = gains_of(make(library, channels, [Share(tap=tap)]), x, 4)
        assert 10 * np.log10(np.mean(gains[1000:, 0] ** 2)) == pytest.approx(expected_db, abs=0.1)


def test_override_lifts_the_detector_by_12_db_and_not_the_sound(library: Library) -> None:
    x = white_noise(48000, 4, -30.0)
    _, gains = gains_of(make(library, [Channel(is_override=1), *[Channel()] * 3]), x, 4)
    assert 10 * np.log10(np.mean(gains[1000:, 0] ** 2)) == pytest.approx(10 * np.log10(15.85 / 18.85), abs=0.05)
    assert gains.max() <= 1.0


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_a_broken_lane_leaves_the_others_their_share(library: Library, mode: int, poison: float) -> None:
    x = three_talk(0.4, 8)
    broken = x.copy()
    broken[4000:4800, 2] = poison
    kernel = make(library, [Channel()] * 8, [Share(mode=mode)])
    y, gains = gains_of(kernel, broken, 8)
    others = [0, 1, 3, 4, 5, 6, 7]
    assert np.isfinite(gains).all()
    assert np.isfinite(y[:, others]).all()
    assert np.abs(y[4000:, others]).max() > 0.05, "the others went silent"
    if mode == SPEECH:
        assert np.abs((gains**2).sum(axis=1) - 1).max() < 1e-5
        heard = make(library, [Channel()] * 8).process(x)
        later = slice(4800 + 4800, None)
        assert error_db(y[later], heard[later]) < -40, "it did not heal by itself"
    kernel.call("reset_channel", 2)
    after, gains = gains_of(kernel, x, 8)
    assert np.isfinite(after).all()
    assert np.isfinite(gains).all()


def test_joining_and_leaving_a_group_is_gradual(library: Library) -> None:
    x = white_noise(120000, 4, -30.0)
    kernel = make(library, [Channel(group=0), *[Channel()] * 3])
    gains = [gains_of(kernel, x[:9600], 4)[1][-300:]]
    for group in (1, 2, 0):
        set_channel(kernel, 0, Channel(group=group))
        gains.append(gains_of(kernel, x[:36000], 4)[1])
    steps = np.abs(np.diff(np.concatenate(gains)[:, 0]))
    assert steps.max() < 0.02, f"a gain jumps by {steps.max():.3f}"
    ends = [g[-300:].mean(axis=0) for g in gains]
    assert ends[0][0] == 1.0
    assert ends[1][0] == pytest.approx(0.5, abs=0.02)
    assert ends[2][0] == pytest.approx(1.0, abs=1e-5)  # alone in group 2
    assert ends[3][0] == 1.0
    assert_bit_equal(kernel.process(x)[:, :1], x[:, :1], "a lane that has left")


def test_mode_off_passes_all(library: Library) -> None:
    x = white_noise(24000, 4)
    _, gains = gains_of(make(library, [Channel()] * 4, [Share(mode=OFF)]), x, 4)
    assert (gains == 1).all()


@pytest.mark.parametrize("mode", [OFF, MUSIC, GATED])
def test_changing_the_mode_crossfades(library: Library, mode: int) -> None:
    x = three_talk(1.0, 8)
    kernel = make(library, [Channel()] * 8)
    _, before = gains_of(kernel, x, 8)
    set_group(kernel, 0, Share(mode=mode))
    _, gains = gains_of(kernel, x, 8)
    step = np.abs(gains[0] - before[-1]).max()
    assert step < 0.01, f"the gains jump by {step:.3f}"


@pytest.mark.parametrize(
    ("rate_hz", "n_lanes", "reason"), [(100.0, 8, "sample rate"), (48000.0, 6, "lanes"), (48000.0, 68, "lanes")]
)
def test_automix_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_lanes: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        Kernel(library, "automix", rate_hz, n_lanes, size_arguments=(n_lanes,))
