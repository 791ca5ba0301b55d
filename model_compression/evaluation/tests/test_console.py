"""The offline console and the baselines that it plays."""

from __future__ import annotations

import numpy as np
import pytest

from model_compression.evaluation.baselines import catalogue, levels, perez_gonzalez, students
from model_compression.evaluation.console import Setting, gain_shared, render
from model_compression.evaluation.measures.loudness import measure
from model_compression.evaluation.measures.parameters import Band, response_db
from model_compression.evaluation.shards import Labelled
from model_compression.evaluation.tests.sessions_of_tones import RATE_HZ, arrays_of, band_noise, small_session


def level_db(x: np.ndarray) -> np.ndarray:
    return np.asarray(10 * np.log10(np.mean(np.asarray(x, np.float64) ** 2, axis=0) + 1e-20))


def test_the_mix_is_the_sum_of_its_strips_and_stereo_at_unity_passes_as_it_is() -> None:
    stereo = np.concatenate([band_noise(100, 5000, 1.0, k) for k in (1, 2)], axis=1)
    made = render([stereo, band_noise(50, 200, 0.5, 3)], [Setting(), Setting(gain_db=-6.0)], RATE_HZ)
    assert made.mix == pytest.approx(made.strips[0] + made.strips[1], abs=1e-6)
    assert made.strips[0] == pytest.approx(stereo, abs=1e-7)


def test_gain_pan_and_equaliser_do_what_they_say() -> None:
    noise = band_noise(990, 1010, 1.0, 1)
    band = Band(kind="bell", freq_hz=1000.0, gain_db=6.0, q=1.0)
    centre, right, louder = (
        level_db(render([noise], [setting], RATE_HZ).mix)
        for setting in (Setting(), Setting(pan=1.0), Setting(gain_db=-6.0, bands=(band,)))
    )
    assert centre == pytest.approx(level_db(noise)[0] - 3.01, abs=0.01)
    assert right[1] == pytest.approx(level_db(noise)[0], abs=0.01)
    assert right[0] < -100
    boost_db = float(response_db([band], np.array([1000.0]))[0])
    assert louder == pytest.approx(centre - 6.0 + boost_db, abs=0.1)


def test_a_gain_track_is_a_straight_line_between_its_ticks() -> None:
    ones = np.ones((RATE_HZ, 1), np.float32)
    made = render([ones], [Setting(gain_track_db=np.array([0.0, -20.0]), track_tick_s=1.0, pan=1.0)], RATE_HZ)
    assert 20 * np.log10(made.mix[[0, RATE_HZ // 2], 1]) == pytest.approx([0.0, -10.0], abs=0.01)


def test_gain_sharing_opens_for_the_one_who_speaks() -> None:
    talk, quiet = band_noise(200, 4000, 4.0, 1, 0.1), band_noise(200, 4000, 4.0, 2, 0.001)
    first, second = gain_shared([talk, quiet], RATE_HZ)
    late = slice(2 * RATE_HZ, None)
    assert level_db(first[late])[0] == pytest.approx(level_db(talk[late])[0], abs=0.5)
    assert level_db(second[late])[0] < level_db(quiet[late])[0] - 10


def strip_lufs(settings: list[Setting]) -> list[float]:
    session = small_session()
    return [measure(strip, RATE_HZ).integrated_lufs for strip in render(session.stems, settings, RATE_HZ).strips]


def test_equal_loudness_is_equal_and_role_offsets_are_that_much_apart() -> None:
    assert np.ptp(strip_lufs(levels.equal_loudness(small_session()))) < 0.05
    found = strip_lufs(levels.role_offsets(small_session()))
    assert np.diff(found) == pytest.approx([-3.0, -3.0], abs=0.05)


def test_the_oracle_has_the_levels_of_the_truth() -> None:
    session = small_session(truth={"offset_lu": [0.0, -4.0, -9.0], "pan": [0.0, 0.0, 1.0]})
    made = render(session.stems, levels.oracle(session), RATE_HZ)
    found = [measure(strip, RATE_HZ).integrated_lufs for strip in made.strips]
    assert np.diff(found) == pytest.approx([-4.0, -5.0], abs=0.05)
    assert level_db(made.strips[2])[0] < -100


def test_a_silent_channel_stays_as_it_is() -> None:
    session = small_session()
    session.stems[1][:] = 0.0
    assert levels.equal_loudness(session)[1] == Setting()
    assert perez_gonzalez.settings(session)[1].gain_db == 0.0


def test_cross_adaptive_rules_keep_the_low_in_the_middle_and_spread_the_rest() -> None:
    position = perez_gonzalez.positions(np.array([80.0, 1000.0, 1500.0, 1200.0]), [False, False, False, True])
    assert position.tolist() == [0.0, -0.25, 0.25, 0.0]


def test_cross_adaptive_rules_cut_who_covers_what_another_needs() -> None:
    level = np.full((2, 24), -80.0)
    level[0, 8:11] = -20.0  # the victim's three strongest bands
    level[1, 2:5], level[1, 9] = -10.0, -19.0
    (cut,) = perez_gonzalez.cuts(level, 1)
    assert cut.gain_db == pytest.approx(-4.0)  # 1 dB over, and the margin
    assert cut.freq_hz == pytest.approx(perez_gonzalez.CENTRES_HZ[9])
    assert perez_gonzalez.cuts(level, 0) == ()


def test_talk_alone_gets_the_gain_sharing_baseline() -> None:
    session = small_session(1.0)
    assert catalogue.GAIN_SHARING not in catalogue.mixes(session)
    assert catalogue.GAIN_SHARING in catalogue.mixes(small_session(1.0, roles=["speech"] * 3))


def test_closed_form_students_learn_a_linear_truth() -> None:
    sessions = []
    for seed in range(12):
        arrays = arrays_of(seed)
        inputs = students.clip_inputs(arrays["x"])
        arrays["offset_lu"][:] = (40.0 * inputs[:, 10] - 6.0).astype(np.float16)
        sessions.append(Labelled(name=str(seed), arrays=arrays))
    found = students.students_of(sessions)
    told = found.offsets_lu(sessions[0])
    truth = sessions[0]["offset_lu"][0][5, :3].astype(float)
    assert told["B5 clip, mean context"][5, :3] == pytest.approx(truth, abs=0.3)
    assert told["B1 equal LUFS"].shape == told["B6 leaky, gain only"].shape == (12, 4)
