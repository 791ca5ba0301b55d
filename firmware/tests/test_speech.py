"""What the whole box, engine and control, promises for speech: row L2, first words, ducking, what is no word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray

from firmware.observation import ChannelSetup
from firmware.tests import panel as p

RATE_HZ = p.RATE_HZ
SPREAD_DB = (12.0, 4.0, -4.0, -12.0)
SEATS = [ChannelSetup(name=name) for name in ("Host", "Guest 1", "Guest 2", "Guest 3")]
KNOWN_AFTER_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Podcast:
    """A conversation and what the box made of it."""

    panel: p.Panel
    run: p.BoxRun


def podcast(duration_s: float, level_db: tuple[float, ...], seed: int = 7) -> Podcast:
    """Return four talkers, +/-12 dB apart, mixed."""
    turns = p.script(duration_s, 4, seed)
    table = p.seat_panel(p.voices(), turns, duration_s, level_db=level_db)
    return Podcast(panel=table, run=p.run_box(table.mics, SEATS))


@pytest.fixture(scope="module")
def talk() -> Podcast:
    """Return three minutes whose quietest talker begins: nobody else has shown yet how loud it will be."""
    return podcast(180.0, SPREAD_DB[::-1])


def assert_row_l2(talk: Podcast) -> None:
    """Hold a podcast against row L2 of live-dsp, and print the figures."""
    table, mix = talk.panel, talk.run.mix
    integrated_lufs = pyloudnorm.Meter(RATE_HZ).integrated_loudness(mix)
    peak_dbtp = p.true_peak_dbtp(mix)
    talkers_lufs = p.talker_loudness_lufs(table, mix, KNOWN_AFTER_S)
    noise_dbfs = p.pilot_dbfs(mix)
    in_pauses_dbfs = p.mean_db(noise_dbfs[p.pauses(table, KNOWN_AFTER_S)])
    under_speech_dbfs = p.mean_db(noise_dbfs[p.under_speech(table, KNOWN_AFTER_S) >= 0])
    print(
        f"L2, {len(mix) / RATE_HZ:.0f} s: {integrated_lufs:.2f} LUFS, {peak_dbtp:.2f} dBTP, talkers "
        f"{np.round(talkers_lufs, 1)} LUFS, spread {np.ptp(talkers_lufs):.2f} LU, noise in pauses "
        f"{in_pauses_dbfs - under_speech_dbfs:+.2f} dB"
    )
    assert abs(integrated_lufs + 16.0) <= 0.5
    assert peak_dbtp <= -1.0
    assert np.ptp(talkers_lufs) <= 2.0, f"talkers at {np.round(talkers_lufs, 1)} LUFS"
    assert in_pauses_dbfs - under_speech_dbfs <= 1.0


def test_a_podcast_is_level_and_its_pauses_are_no_louder_than_its_words(talk: Podcast) -> None:
    assert_row_l2(talk)


@pytest.mark.soak
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_half_an_hour_of_podcast_is_level(order: tuple[int, ...]) -> None:
    assert_row_l2(podcast(1800.0, tuple(SPREAD_DB[i] for i in order), seed=23))


def test_every_talker_is_understood_from_his_second_turn_on(talk: Podcast) -> None:
    meter = pyloudnorm.Meter(RATE_HZ)
    turns = p.solo_turns(talk.panel, KNOWN_AFTER_S)
    heard_lufs = [meter.integrated_loudness(talk.run.mix[t.start : t.end]) for t in turns]
    assert min(heard_lufs) > -20.0, f"turns at {np.round(heard_lufs, 1)} LUFS"
    assert max(heard_lufs) < -12.0, f"turns at {np.round(heard_lufs, 1)} LUFS"


def test_a_quiet_talker_is_not_taken_for_his_loud_neighbour(talk: Podcast) -> None:
    listening = talk.run.control._listening
    own_dbfs = [
        10.0 * np.log10(np.mean(np.concatenate([talk.panel.mics[t.start : t.end, t.seat] for t in mine]) ** 2))
        for mine in ([t for t in p.solo_turns(talk.panel, 60.0) if t.seat == seat] for seat in range(4))
    ]
    np.testing.assert_allclose(listening.source_rms_dbfs, own_dbfs, atol=3.0)


def test_talkers_sit_near_the_middle_each_in_his_place(talk: Podcast) -> None:
    position = talk.run.params["channel"]["pan.position"][-1, :4].ravel()
    assert np.abs(position).max() <= 0.15
    assert len(np.unique(position.round(3))) == 4


def test_a_gate_has_one_reason_and_its_times_are_set_once(talk: Podcast) -> None:
    for summary in talk.run.control.channel_summaries():
        assert sum(reason.startswith("gate:") for reason in summary.reasons) <= 1, summary.reasons
    hold_ms = talk.run.params["channel"]["gate.hold_ms"][:, :4].reshape(-1, 4)
    assert (np.diff(hold_ms, axis=0) != 0.0).sum(axis=0).max() <= 1


def test_a_mono_podcast_reads_what_was_asked() -> None:
    duration_s = 40.0
    turns = p.script(duration_s, 1)
    table = p.seat_panel(p.voices()[:1], turns, duration_s, level_db=(-6.0,))
    mix = p.run_box(table.mics, [ChannelSetup(name="Narrator")], target_lufs=-19.0).mix
    assert abs(pyloudnorm.Meter(RATE_HZ).integrated_loudness(mix) + 19.0) <= 0.5
    np.testing.assert_array_equal(mix[:, 0], mix[:, 1])


# -------------------------------------------------------------------------------------------- first words, and no words


def level_dbfs(x: NDArray[np.floating]) -> float:
    """Return the RMS in dBFS."""
    return float(10.0 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-14))


def test_the_first_word_keeps_its_first_tenth_of_a_second() -> None:
    """The path's gain over a turn's first 100 ms is within 6 dB of what it is right behind, also for a cold box."""
    tenth, turns = RATE_HZ // 10, p.script(40.0, 4)
    table = p.seat_panel(p.voices(), turns, 40.0, level_db=(0.0,) * 4)
    run = p.run_box(table.mics, SEATS)
    lost_db = []
    for turn in p.solo_turns(table, 0.0):
        first, then = slice(turn.start, turn.start + tenth), slice(turn.start + tenth, turn.start + 4 * tenth)
        mic, out = table.mics[:, turn.seat], run.mix.sum(axis=1)
        lost_db.append(level_dbfs(out[then]) - level_dbfs(mic[then]) - level_dbfs(out[first]) + level_dbfs(mic[first]))
    print(f"first 100 ms of {len(lost_db)} turns lose {np.round(lost_db, 1)} dB")
    assert max(lost_db) <= 6.0


# ------------------------------------------------------------------------------------------------- music under speech


def test_music_makes_way_for_words_and_does_not_pump_between_them() -> None:
    duration_s, first_s, last_s = 24.0, 6.0, 14.0
    turns = [p.Turn(seat=0, start=round(first_s * RATE_HZ), end=round(last_s * RATE_HZ))]
    table = p.seat_panel(p.voices()[:2], turns, duration_s, level_db=(0.0, 0.0))
    random = np.random.default_rng(3)
    time_s = np.arange(len(table.mics)) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * f * time_s) for f in (110.0, 220.0, 277.2, 329.6, 440.0, 880.0))
    music = 0.03 * (chord * (0.7 + 0.3 * np.exp(-4.0 * (time_s % 0.5))) + 0.3 * random.standard_normal(len(time_s)))
    x = np.concatenate([table.mics, np.stack([music, music], axis=1)], axis=1).astype(np.float32)
    channels = [ChannelSetup(name="Host"), ChannelSetup(name="Guest"), ChannelSetup(name="Music", is_stereo=True)]
    run = p.run_box(x, channels, keeps_strips=True)
    assert run.strips is not None

    def music_gain_db(from_s: float, to_s: float) -> float:
        """Return what ducking does: trim and fader, which balance moves, are taken out."""
        here = slice(round(from_s * RATE_HZ), round(to_s * RATE_HZ))
        set_to = run.params["channel"][round(0.5 * (from_s + to_s) * 50), 2]
        moved_db = float(set_to["input.trim_db"] + set_to["fader.level_db"])
        return level_dbfs(run.strips[here, 4:6]) - level_dbfs(x[here, 2:4]) - moved_db

    rest_db = music_gain_db(first_s - 0.2, first_s)
    down_db = np.array([music_gain_db(s, s + 0.1) - rest_db for s in np.arange(first_s + 0.3, last_s, 0.1)])
    assert music_gain_db(first_s + 0.1, first_s + 0.2) - rest_db < -6.5  # 50 ms of attack, and the detector's 20
    assert down_db.max() < -7.5, f"the music comes up to {down_db.max():.1f} dB between words"
    assert down_db.min() > -10.5
    assert abs(music_gain_db(last_s + 6.0, last_s + 8.0) - rest_db) < 0.5
    strips = run.strips[round((first_s + 1.0) * RATE_HZ) : round(last_s * RATE_HZ)]
    meter = pyloudnorm.Meter(RATE_HZ)
    over_lu = meter.integrated_loudness(strips[:, 0:2] + strips[:, 2:4]) - meter.integrated_loudness(strips[:, 4:6])
    print(f"music lowered by {-down_db.mean():.1f} dB, speech {over_lu:.1f} LU over it")
    assert over_lu >= 9.0
