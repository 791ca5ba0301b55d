"""Sound, measured by the probe: a mixer of wires adds nothing and takes nothing, and microphones share by power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil_tests.acceptance import LOUD_PEAK_DBFS, MAIN, NEEDS, SETTLE_S, aux_outputs, sharing_scene, straight_scene
from hil_tests.audio_probe import AudioProbe
from hil_tests.board import Box
from hil_tests.scene import stand_still

pytestmark = pytest.mark.needs(*NEEDS, "lockstep")
# What a 24-bit path of floats may differ by: far under what anybody hears, far over its rounding.
MAX_GAIN_ERROR_DB = 0.01
MAX_RIPPLE_DB = 0.02
MAX_THD_N_DB = -110.0
MAX_NOISE_DBFS = -120.0
MAX_CROSSTALK_DB = -110.0
MAX_LAW_ERROR_DB = 0.2  # the detectors hear each sine's own ripple


@pytest.fixture
def wires(box: Box) -> AudioProbe:
    """Return the probe of a box whose strips are wires: all to the left main, each to an aux bus in turn."""
    stand_still(box, straight_scene(box.audio))
    box.pass_time(SETTLE_S)
    return AudioProbe(box.audio)


def test_the_way_is_as_long_as_promised_at_unity_and_upright(wires: AudioProbe, box: Box, record_property: Any) -> None:
    found = wires.arrival(0, MAIN)
    record_property("latency_frames", found.latency_frames)
    assert found.latency_frames <= box.board.budget.max_round_trip_frames
    assert abs(found.gain_db) <= MAX_GAIN_ERROR_DB, found.line()
    assert found.polarity == 1, found.line()


def test_every_channel_is_where_it_should_be_and_nowhere_else(wires: AudioProbe, box: Box) -> None:
    auxes = aux_outputs(box.audio)
    expected = tuple((ch % len(auxes),) for ch in range(box.audio.n_inputs))
    found = wires.channel_map(auxes, expected)
    assert found.inputs == expected, found.line()
    assert found.figures()["n_inverted"] == 0, found.line()


def test_the_response_is_flat_from_20_hz_to_20_khz(wires: AudioProbe, record_property: Any) -> None:
    found, _ = wires.response(0, MAIN)
    record_property("response", found.line())
    assert max(abs(found.magnitude_db)) <= MAX_RIPPLE_DB, found.line()


def test_a_loud_tone_comes_out_clean(wires: AudioProbe, record_property: Any) -> None:
    found = wires.distortion(0, MAIN, peak_dbfs=LOUD_PEAK_DBFS)
    record_property("thd_n_db", round(found.thd_n_db, 1))
    assert found.thd_n_db <= MAX_THD_N_DB, found.line()
    many = wires.multitone(0, MAIN)
    assert many.tdn_db <= MAX_THD_N_DB, many.line()


def test_silence_comes_out_as_silence(wires: AudioProbe) -> None:
    loud = [found.line() for found in wires.noise() if found.noise_dbfs > MAX_NOISE_DBFS]
    assert not loud, loud


def test_no_channel_leaks_into_another(wires: AudioProbe, box: Box) -> None:
    found = wires.crosstalk(aux_outputs(box.audio), latency_frames=wires.arrival(0, MAIN).latency_frames)
    assert found.worst()[2] <= MAX_CROSSTALK_DB, found.line()


def test_every_frame_comes_out_once_and_in_order(wires: AudioProbe) -> None:
    found = wires.dropouts(0, MAIN, duration_s=25.0)
    assert found.n_slips == 0, found.line()


@pytest.mark.soak
def test_of_a_whole_hour_only_the_frame_that_was_never_played_is_missed(
    wires: AudioProbe, box: Box, record_property: Any
) -> None:
    latency_frames = wires.arrival(0, MAIN).latency_frames
    box.stop("control")  # the sound does without, and an hour of it is three times as long
    hour_frames = 3600 * box.audio.sample_rate_hz
    left_out = int(np.random.default_rng(6).integers(hour_frames // 2, hour_frames))
    found = wires.dropouts(0, MAIN, duration_s=3600.0, left_out_frame=left_out)
    record_property("dropouts", found.line())
    (slip,) = found.slips
    assert (slip.kind, slip.n_frames, slip.at_frame) == ("lost", 1, left_out + latency_frames), found.line()
    assert found.n_frames >= hour_frames - latency_frames - 1


def test_open_microphones_share_gain_by_power(box: Box, record_property: Any) -> None:
    stand_still(box, sharing_scene(box.audio.n_inputs))
    box.pass_time(SETTLE_S)
    found = AudioProbe(box.audio).automix_law(MAIN)
    record_property("automix", found.line())
    assert found.figures()["worst_error_db"] <= MAX_LAW_ERROR_DB, found.line()
