"""The mixer as a whole: what goes in where, what comes out where, and when."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.contract.layout import default_params
from dsp_kernels.tests.measures import ODD_BLOCKS, assert_bit_equal, level_dbfs, white_noise
from firmware.engine import OUTPUT_LANES, Engine
from firmware.errors import EvenhandError
from firmware.observation import ChannelSetup

RATE_HZ = 48000
MAIN_L, MAIN_R, RECORD_L, RECORD_R, AUX_1, MONITOR_L = (
    OUTPUT_LANES.index(name) for name in ("main_l", "main_r", "record_l", "record_r", "aux_1", "monitor_l")
)
CENTRE_LIN = np.sqrt(0.5)


def mono(n: int) -> list[ChannelSetup]:
    return [ChannelSetup(name=f"ch {i + 1}") for i in range(n)]


def run(
    x: NDArray[np.float32],
    params: NDArray[np.void] | None = None,
    channels: list[ChannelSetup] | None = None,
    block: int | None = None,
    rate_hz: float = RATE_HZ,
) -> NDArray[np.float32]:
    with Engine(sample_rate_hz=rate_hz, channels=channels or mono(x.shape[1])) as engine:
        if params is not None:
            engine.publish(params)
        block = block or max(len(x), 1)
        return np.concatenate([engine.process(x[i : i + block]) for i in range(0, len(x), block)])


def everything_on() -> NDArray[np.void]:
    params = default_params()
    ch = params["channel"]
    for switch in ("hpf.is_on", "gate.is_on", "compressor.is_on", "saturation.is_on"):
        ch[switch] = 1
    ch["gate.threshold_dbfs"] = -70
    for band, gain_db in enumerate((3, -4, 5, -2), 1):
        ch[f"eq.{band}.gain_db"] = gain_db
    ch["tilt.gain_db"] = 1.5
    ch["unmask.1.gain_db"] = -3
    ch["automix.group"] = 1
    ch["send.1.level_db"] = -6
    ch["send.2.level_db"] = -3
    ch["send.2.tap"] = 1
    ch["fx_send.1.level_db"] = -12
    ch["fx_send.2.level_db"] = -15
    ch["duck.role"][0], ch["duck.role"][1] = 1, 2
    ch["pan.position"] = np.linspace(-1, 1, 32)
    params["main"]["notch.3.gain_db"] = -6
    params["record"]["limiter.is_true_peak"] = 1
    return params


def test_an_impulse_arrives_with_the_limiters_look_ahead_and_nothing_else_with_all_blocks_on() -> None:
    """T1: 0 samples beside the limiter."""
    params = everything_on()
    params["channel"]["automix.group"] = 0
    x = np.zeros((4000, 4), np.float32)
    x[1000, 2] = 0.5
    params["channel"]["duck.role"] = 0
    params["channel"]["pan.position"] = 0
    with Engine(sample_rate_hz=RATE_HZ, channels=mono(4)) as engine:
        engine.publish(params)
        y = engine.process(x)
        latency_frames = engine.latency_frames
    assert latency_frames <= 48
    for lane in (MAIN_L, RECORD_R, AUX_1, MONITOR_L):
        first = int(np.flatnonzero(np.abs(y[:, lane]) > 1e-4)[0])
        assert first == 1000 + latency_frames, OUTPUT_LANES[lane]
        assert int(np.argmax(np.abs(y[:, lane]))) == first, OUTPUT_LANES[lane]


@pytest.mark.parametrize("block", ODD_BLOCKS)
def test_the_mix_does_not_depend_on_how_the_audio_is_cut(block: int) -> None:
    x = white_noise(9000, 6, -24.0)
    assert_bit_equal(run(x, everything_on(), block=block), run(x, everything_on()), f"blocks of {block}")


def test_a_second_run_gives_the_same_bits() -> None:
    x = white_noise(9000, 6, -24.0)
    assert_bit_equal(run(x, everything_on()), run(x, everything_on()), "second run")


def test_a_mono_channel_in_the_centre_is_3_db_down_on_both_sides() -> None:
    x = white_noise(4000, 1, -24.0)
    y = run(x)
    for lane in (MAIN_L, MAIN_R, RECORD_L, RECORD_R):
        assert np.allclose(y[48:, lane], CENTRE_LIN * x[:-48, 0], atol=1e-6)


def test_a_stereo_channel_passes_as_it_came() -> None:
    x = white_noise(4000, 2, -24.0)
    y = run(x, channels=[ChannelSetup(name="pair", is_stereo=True)])
    assert np.allclose(y[48:, [MAIN_L, MAIN_R]], x[:-48], atol=1e-6)


def test_mono_and_stereo_channels_mix_in_any_order() -> None:
    channels = [ChannelSetup(name="a"), ChannelSetup(name="b", is_stereo=True), ChannelSetup(name="c")]
    x = white_noise(3000, 4, -24.0)
    params = default_params()
    params["channel"]["pan.position"][:3] = (-1, 0, 1)
    y = run(x, params, channels)
    assert np.allclose(y[48:, MAIN_L], (x[:, 0] + x[:, 1])[:-48], atol=1e-6)
    assert np.allclose(y[48:, MAIN_R], (x[:, 2] + x[:, 3])[:-48], atol=1e-6)


def set_fader(params: NDArray[np.void]) -> None:
    params["channel"]["fader.level_db"][0] = -20


def set_mute(params: NDArray[np.void]) -> None:
    params["channel"]["fader.is_muted"][0] = 1


def set_dca(params: NDArray[np.void]) -> None:
    params["channel"]["fader.dca"][0] = 3
    params["dca"]["dca.level_db"][2] = -14


def set_dca_mute(params: NDArray[np.void]) -> None:
    params["channel"]["fader.dca"][0] = 3
    params["dca"]["dca.is_muted"][2] = 1


def set_trim(params: NDArray[np.void]) -> None:
    params["channel"]["input.trim_db"][0] = -6


def set_main_fader(params: NDArray[np.void]) -> None:
    params["main"]["bus.level_db"] = -10


@pytest.mark.parametrize(
    ("change", "expected_db"),
    [
        (set_fader, -20.0),
        (set_mute, -np.inf),
        (set_dca, -14.0),
        (set_dca_mute, -np.inf),
        (set_trim, -6.0),
        (set_main_fader, -10.0),
    ],
)
def test_each_level_control_does_what_it_says(change: Callable[[NDArray[np.void]], None], expected_db: float) -> None:
    x = white_noise(4000, 1, -24.0)
    params = default_params()
    change(params)
    moved, plain = run(x, params)[:, MAIN_L], run(x)[:, MAIN_L]
    if np.isinf(expected_db):
        assert not moved.any()
    else:
        assert level_dbfs(moved) - level_dbfs(plain) == pytest.approx(expected_db, abs=0.01)


def test_polarity_inverts_and_the_input_delay_delays() -> None:
    x = white_noise(3000, 1, -24.0)
    params = default_params()
    params["channel"]["input.is_polarity_inverted"][0] = 1
    params["channel"]["input.delay_ms"][0] = 2.0
    y = run(x, params)[:, MAIN_L]
    assert np.allclose(y[48 + 96 :], -CENTRE_LIN * x[: -48 - 96, 0], atol=1e-6)


def test_a_patch_takes_another_capture_lane() -> None:
    x = white_noise(3000, 3, -24.0)
    params = default_params()
    params["channel"]["input.source"][0] = 3
    params["channel"]["fader.is_muted"][1:] = 1
    y = run(x, params)[:, MAIN_L]
    assert np.allclose(y[48:], CENTRE_LIN * x[:-48, 2], atol=1e-6)


def test_a_pre_fader_send_does_not_follow_the_fader_and_a_post_fader_send_does() -> None:
    x = white_noise(4000, 1, -24.0)
    params = default_params()
    params["channel"]["fader.level_db"][0] = -20
    params["channel"]["send.1.level_db"][0] = params["channel"]["send.2.level_db"][0] = 0
    params["channel"]["send.2.tap"][0] = 1
    y = run(x, params)
    source_dbfs = level_dbfs(x[:-48])
    assert level_dbfs(y[48:, AUX_1]) - source_dbfs == pytest.approx(-20, abs=0.01)
    assert level_dbfs(y[48:, AUX_1 + 1]) - source_dbfs == pytest.approx(0, abs=0.01)


def test_the_monitor_hears_the_mix_until_a_channel_is_soloed() -> None:
    x = white_noise(4000, 2, -24.0)
    y = run(x)
    assert np.allclose(y[:, MONITOR_L], y[:, MAIN_L], atol=1e-7)
    params = default_params()
    params["channel"]["solo.is_on"][1] = 1
    params["channel"]["fader.level_db"][1] = -90
    y = run(x, params)
    assert np.allclose(y[48:, MONITOR_L], CENTRE_LIN * x[:-48, 1], atol=1e-6)
    assert np.allclose(y[48:, MAIN_L], CENTRE_LIN * x[:-48, 0], atol=1e-6), "solo changes what the room hears"


def test_reverb_and_delay_come_back_into_main_and_record() -> None:
    x = np.zeros((48000, 1), np.float32)
    x[100] = 0.5
    params = default_params()
    params["channel"]["fx_send.1.level_db"][0] = 0
    tail = run(x, params)[24000:]
    assert level_dbfs(tail[:, MAIN_L]) > -90
    assert np.array_equal(tail[:, MAIN_R], tail[:, RECORD_R])
    assert level_dbfs(tail[:, AUX_1]) < -200


def test_music_is_ducked_while_the_key_sounds() -> None:
    x = white_noise(RATE_HZ * 4, 2, -24.0)
    x[: RATE_HZ * 2, 0] = 0
    params = default_params()
    params["channel"]["duck.role"][:2] = (1, 2)
    params["channel"]["pan.position"][:2] = (-1, 1)
    y = run(x, params)[:, MAIN_R]
    free_dbfs, ducked_dbfs = level_dbfs(y[RATE_HZ : RATE_HZ * 2]), level_dbfs(y[RATE_HZ * 3 :])
    assert free_dbfs - ducked_dbfs == pytest.approx(9.0, abs=0.3)


def test_panic_silences_every_output_within_10_ms() -> None:
    x = white_noise(2400, 2, -24.0)
    with Engine(sample_rate_hz=RATE_HZ, channels=mono(2)) as engine:
        engine.process(x)
        params = default_params()
        params["system"]["panic.is_on"] = 1
        engine.publish(params)
        y = engine.process(x)
    assert y[:200].any()
    assert not y[480:].any()


def test_a_nan_in_one_channel_silences_nothing_else_and_is_counted() -> None:
    x = white_noise(48000, 4, -24.0)
    params = everything_on()
    clean = run(np.where(np.arange(4) == 1, 0, x).astype(np.float32), params)
    x[:, 1] = np.nan
    with Engine(sample_rate_hz=RATE_HZ, channels=mono(4)) as engine:
        engine.publish(params)
        y = engine.process(x)
        observation = engine.observe(1.0)
    assert np.isfinite(y).all()
    assert np.allclose(y, clean, atol=1e-6)
    assert observation.channel_meters["n_scrubbed"].tolist() == [0, 48000, 0, 0]


def test_32_channels_in_8_groups_share_gain_each_group_for_itself() -> None:
    """A7, and NOM: the gains of a group of equal microphones are -6.02 dB each."""
    params = default_params()
    params["channel"]["automix.group"] = 1 + np.arange(32) // 4
    with Engine(sample_rate_hz=RATE_HZ, channels=mono(32)) as engine:
        engine.publish(params)
        engine.process(white_noise(RATE_HZ, 32, -24.0))
        gains_db = engine.observe(1.0).channel_meters["automix_gain_db"]
    power = 10 ** (gains_db.reshape(8, 4) / 10)
    assert power.sum(axis=1) == pytest.approx(np.ones(8), abs=0.01)
    assert gains_db == pytest.approx(np.full(32, -6.02), abs=1.5)


def test_parameters_out_of_range_are_put_back_and_counted() -> None:
    params = default_params()
    params["channel"]["fader.level_db"][0] = 500
    params["channel"]["eq.1.q"][1] = np.nan
    with Engine(sample_rate_hz=RATE_HZ, channels=mono(2)) as engine:
        engine.publish(params)
        y = engine.process(white_noise(480, 2, -60.0))
        assert engine.stats.n_clamped == 2
    assert np.isfinite(y).all()


def test_meters_and_loudness_read_what_is_there() -> None:
    time = np.arange(RATE_HZ * 5) / RATE_HZ
    x = (0.1 * np.sin(2 * np.pi * 997 * time))[:, None].astype(np.float32)
    with Engine(sample_rate_hz=RATE_HZ, channels=mono(1)) as engine:
        engine.process(x)
        seen = engine.observe(5.0)
    assert seen.channel_meters["input_peak_dbfs"][0] == pytest.approx(-20.0, abs=0.05)
    assert seen.channel_meters["input_rms_dbfs"][0] == pytest.approx(-23.01, abs=0.05)
    assert seen.bus_meters["rms_dbfs"][RECORD_L] == pytest.approx(-26.02, abs=0.05)
    # A sine at -23.01 dBFS RMS, 3 dB down on each of two sides.
    assert seen.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
    assert seen.features["rms_dbfs"][0] == pytest.approx(-23.01, abs=0.1)


@pytest.mark.parametrize("rate_hz", [44100, 48000, 96000])
def test_the_mixer_works_at_every_rate_of_the_architecture(rate_hz: int) -> None:
    y = run(white_noise(rate_hz // 2, 5, -24.0), everything_on(), rate_hz=rate_hz)
    assert np.isfinite(y).all()
    assert level_dbfs(y[:, MAIN_L]) > -60


@pytest.mark.parametrize(
    ("rate_hz", "n_channels", "reason"), [(1000, 2, "sample rate"), (48000, 33, "33 channels"), (48000, 0, "channels")]
)
def test_a_mixer_that_cannot_be_is_refused_with_a_reason(rate_hz: int, n_channels: int, reason: str) -> None:
    with pytest.raises(EvenhandError, match=reason):
        Engine(sample_rate_hz=rate_hz, channels=mono(n_channels))
