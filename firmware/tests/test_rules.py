"""Each rule's own law, on sources that ask for it."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import ROLES
from firmware.control.control import Control
from firmware.control.responses import BARK_HZ, MEL_HZ, MixGain
from firmware.control.rules.balance import ROLE_OFFSET_LU
from firmware.control.rules.pan import side_of
from firmware.observation import ChannelSetup
from firmware.tests.control_plant import Plant, Source, setups, tuned

RATE_HZ = 48000.0


def plant_of(*names_and_sources: tuple[str, Source], stereo: tuple[str, ...] = (), **options: object) -> Plant:
    names = [name for name, _ in names_and_sources]
    control = Control(setups(*names, stereo=stereo), sample_rate_hz=RATE_HZ, **options)  # type: ignore[arg-type]
    return tuned(control, *(source for _, source in names_and_sources))


def reasons(plant: Plant, ch: int, parameter: str) -> list[str]:
    plant.control.finish()
    return [d.cause for d in plant.control.decisions if d.index == ch and d.parameter == parameter]


# ---------------------------------------------------------------------------------------------------- gain staging


@pytest.mark.parametrize("level_dbfs", [-50.0, -38.0, -20.0, -8.0])
def test_speech_is_at_minus_20_dbfs_within_six_seconds(level_dbfs: float) -> None:
    plant = plant_of(("host", Source(level_dbfs, crest_db=13.0, floor_dbfs=-95.0)), ("guest", Source(-np.inf))).run(6.0)
    assert level_dbfs + plant.value("input.trim_db")[0] == pytest.approx(-20.0, abs=1.5)


def test_instruments_keep_12_db_of_headroom() -> None:
    plant = plant_of(("snare", Source(-30.0, crest_db=20.0))).run(8.0)
    peak_dbfs = -30.0 + 20.0 + plant.value("input.trim_db")[0]
    assert peak_dbfs == pytest.approx(-12.0, abs=1.0)


def test_a_trim_that_is_set_does_not_follow_small_changes() -> None:
    plant = plant_of(("bass", Source(lambda t: -30.0 + (3.0 if t > 12.0 else 0.0), crest_db=6.0))).run(12.0)
    before = plant.value("input.trim_db")[0]
    plant.run(30.0)
    assert plant.value("input.trim_db")[0] == before


def test_a_shout_of_12_db_is_taken_down_at_once() -> None:
    plant = plant_of(("keys", Source(lambda t: -30.0 + (14.0 if t > 15.0 else 0.0), crest_db=10.0))).run(15.4)
    assert -30.0 + 14.0 + 10.0 + plant.value("input.trim_db")[0] <= -6.0
    plant.control.finish()
    assert plant.control.decisions[-1].source == "safety" or any(d.source == "safety" for d in plant.control.decisions)


# --------------------------------------------------------------------------------------------------------- balance


def test_every_role_has_a_place_in_the_balance() -> None:
    assert set(ROLE_OFFSET_LU) == set(ROLES)


def test_many_of_a_kind_do_not_drown_the_lead() -> None:
    choir = [(f"bgvox {n}", Source(-30.0)) for n in range(6)]
    plant = plant_of(("vox lead", Source(-30.0)), *choir).run(10.0)
    level = plant.value("fader.level_db") + plant.value("input.trim_db") - 30.0
    together_db = 10.0 * np.log10((10.0 ** (level[1:] / 10.0)).sum())
    assert together_db < level[0]


def test_a_solo_instrument_leads_where_nobody_sings() -> None:
    plant = plant_of(("leadguitar", Source(-30.0)), ("gtr", Source(-30.0)), ("keys", Source(-30.0))).run(8.0)
    net = plant.value("fader.level_db") + plant.value("input.trim_db")
    assert np.argmax(net) == 0


# ------------------------------------------------------------------------------------------------------- high-pass


def test_the_high_pass_lies_under_the_source() -> None:
    high = plant_of(("vox", Source(-30.0, centre_hz=900.0, width_octaves=0.8)))
    low = plant_of(("vox", Source(-30.0, centre_hz=180.0, width_octaves=1.5)))
    assert high.run(8.0).value("hpf.freq_hz")[0] > low.run(8.0).value("hpf.freq_hz")[0] >= 80.0


def test_a_band_does_not_make_way_for_a_channel_that_may_be_a_talker() -> None:
    plant = plant_of(("in 1", Source()), ("kick", Source()), ("bass", Source()))
    view = plant.control._view
    for confidence, expected in ((0.5, 0.0), (0.9, 2.0)):
        view.set_roles(["speech", "kick", "bass"], np.array([confidence, 0.95, 0.95]))
        plant.run(2.0)
        assert plant.value("duck.role")[1] == expected


def test_playback_has_no_high_pass() -> None:
    assert plant_of(("playback", Source())).value("hpf.is_on")[0] == 0.0


# --------------------------------------------------------------------------------------------------- corrective EQ


def bumped(freq_hz: float, bump_db: float) -> Source:
    """Return a voice with an average spectrum and a bump."""
    from firmware.control.rules.corrective_eq import _TO_THIRD_OCTAVE_DB, _VOICE_DB

    source = Source(-30.0)
    bump = bump_db * np.exp(-0.5 * (np.log2(MEL_HZ / freq_hz) / 0.25) ** 2)
    source.mel_shape_db = _VOICE_DB - 70.0 - _TO_THIRD_OCTAVE_DB + bump
    return source


@pytest.mark.parametrize(("freq_hz", "word"), [(230.0, "boomy"), (600.0, "boxy"), (3000.0, "harsh"), (7000.0, "sharp")])
def test_what_sticks_out_of_a_voice_is_cut_where_it_sticks_out(freq_hz: float, word: str) -> None:
    plant = plant_of(("host", bumped(freq_hz, 12.0))).run(30.0)
    gains = [plant.value(f"eq.{n}.gain_db")[0] for n in range(1, 5)]
    n = int(np.argmin(gains)) + 1
    assert -6.0 <= gains[n - 1] < -1.5
    assert abs(np.log2(plant.value(f"eq.{n}.freq_hz")[0] / freq_hz)) < 0.4
    assert any(word in reason for reason in reasons(plant, 0, f"eq.{n}.gain_db"))


@pytest.mark.parametrize("freq_hz", [320.0, 5000.0])
def test_one_peak_between_two_regions_is_cut_once(freq_hz: float) -> None:
    plant = plant_of(("host", bumped(freq_hz, 14.0))).run(30.0)
    gains = [plant.value(f"eq.{n}.gain_db")[0] for n in range(1, 5)]
    assert sum(gain < -0.5 for gain in gains) == 1


def test_an_average_voice_is_left_alone() -> None:
    plant = plant_of(("host", bumped(1000.0, 0.0))).run(20.0)
    assert all(plant.value(f"eq.{n}.gain_db")[0] == 0.0 for n in range(1, 5))


def test_without_the_bump_the_cut_goes_away() -> None:
    plant = plant_of(("host", bumped(600.0, 12.0))).run(30.0)
    assert plant.value("eq.2.gain_db")[0] < -1.5
    plant.sources[0] = bumped(600.0, 0.0)
    plant.run(90.0)
    assert plant.value("eq.2.gain_db")[0] > -1.0


# ---------------------------------------------------------------------------------------------------------- unmask


def masked_pair(masker: str = "synth", keys_dbfs: float = -24.0) -> Plant:
    voice = Source(-30.0, centre_hz=1500.0, width_octaves=0.4)
    wide = Source(keys_dbfs, centre_hz=500.0, width_octaves=2.0)
    return plant_of(("vox lead", voice), (masker, wide))


def test_who_masks_the_lead_makes_room_and_says_so() -> None:
    plant = masked_pair()
    plant.control.set_parameter("channel", 1, "fader.level_db", 6.0)
    plant.run(25.0)
    cut_db = min(plant.value("unmask.1.gain_db")[1], plant.value("unmask.2.gain_db")[1])
    assert -6.0 <= cut_db < -1.0
    assert plant.value("unmask.1.gain_db")[0] == plant.value("unmask.2.gain_db")[0] == 0.0
    said = reasons(plant, 1, "unmask.1.gain_db")
    assert any("masks vox lead at" in s and "of the last 20 s" in s for s in said)


def test_without_the_lead_the_cut_goes_away() -> None:
    plant = masked_pair()
    plant.control.set_parameter("channel", 1, "fader.level_db", 6.0)
    plant.run(15.0)
    plant.sources[0] = Source(-np.inf)
    plant.run(15.0)
    assert plant.value("unmask.1.gain_db")[1] > -0.5


def test_the_only_active_channel_is_never_cut() -> None:
    plant = plant_of(("synth", Source(-20.0)), ("vox lead", Source(-np.inf))).run(20.0)
    assert plant.value("unmask.1.gain_db")[0] == plant.value("unmask.2.gain_db")[0] == 0.0


def test_a_cut_does_not_undo_its_own_reason() -> None:
    plant = masked_pair()
    plant.control.set_parameter("channel", 1, "fader.level_db", 6.0)
    plant.run(20.0)
    cuts = []
    for _ in range(20):
        plant.run(1.0)
        cuts.append(plant.value("unmask.1.gain_db")[1])
    assert np.ptp(cuts) < 0.8


# -------------------------------------------------------------------------------------------------------- dynamics


def test_a_noisy_snare_is_gated_between_noise_and_hits() -> None:
    def hits(t: float) -> float:
        return -20.0 if t % 0.5 < 0.15 else -np.inf

    plant = plant_of(("snare", Source(hits, crest_db=15.0, floor_dbfs=-50.0))).run(20.0)
    assert plant.value("gate.is_on")[0] == 1.0
    trim_db = plant.value("input.trim_db")[0]
    assert -50.0 + trim_db < plant.value("gate.threshold_dbfs")[0] < -20.0 + trim_db - 5.0


def test_a_quiet_snare_and_a_stereo_stem_have_no_gate() -> None:
    plant = plant_of(("snare", Source(-30.0, floor_dbfs=-95.0)), ("snare st", Source(-30.0, floor_dbfs=-55.0)),
                     stereo=("snare st",)).run(15.0)  # fmt: skip
    assert not plant.value("gate.is_on").any()


def test_dense_sources_are_not_compressed_and_lively_ones_are() -> None:
    plant = plant_of(("vox", Source(crest_db=14.0)), ("vox 2", Source(crest_db=4.0)), ("synth", Source())).run(8.0)
    assert list(plant.value("compressor.is_on")) == [1.0, 0.0, 0.0]
    assert plant.value("compressor.is_automatic")[0] == 1.0


# ------------------------------------------------------------------------------------------------- pan, sends, groups


def test_sides_are_read_from_names() -> None:
    assert [side_of(n) for n in ("OH L", "gtr_R", "piano left", "Leslie", "oh-r 2", "vocal")] == [-1, 1, -1, 0, 1, 0]


def test_the_picture_is_even_and_the_foundation_is_in_the_middle() -> None:
    names = ("kick", "bass", "vox lead", "gtr 1", "gtr 2", "keys", "bgvox 1", "bgvox 2")
    plant = plant_of(*((n, Source(-30.0)) for n in names)).run(12.0)
    pan = plant.value("pan.position")
    assert not pan[:3].any()
    assert abs(pan.mean()) < 0.1
    assert len(set(np.round(pan[3:6], 2))) == 3
    assert np.abs(pan).max() <= 0.5


def test_pan_stays_where_it_was_put() -> None:
    plant = plant_of(*((n, Source(-30.0)) for n in ("vox", "gtr 1", "gtr 2"))).run(10.0)
    before = plant.value("pan.position").copy()
    plant.sources[1] = Source(-30.0, centre_hz=5000.0, width_octaves=0.5)
    plant.run(30.0)
    assert np.array_equal(plant.value("pan.position"), before)


def test_talkers_sit_close_to_the_middle() -> None:
    plant = plant_of(*((f"guest {n}", Source()) for n in range(4))).run(8.0)
    pan = plant.value("pan.position")
    assert np.abs(pan).max() <= 0.15
    assert len(set(pan.tolist())) == 4


def test_kick_bass_and_speech_stay_dry_and_singers_get_a_room() -> None:
    plant = plant_of(*((n, Source()) for n in ("kick", "bass", "host", "vox")))
    send = plant.value("fx_send.1.level_db")
    assert list(send[:3]) == [-90.0] * 3
    assert send[3] > -25.0


@pytest.mark.parametrize(
    ("automix", "groups", "mode"),
    [(None, [1, 1, 2, 2, 0], "speech"), ("gated", [1, 1, 0, 0, 0], "gated"), ("off", [0, 0, 0, 0, 0], None)],
)
def test_groups_follow_roles_or_the_command_line(automix: str | None, groups: list[int], mode: str | None) -> None:
    names = ("host", "guest", "bgvox 1", "bgvox 2", "keys")
    plant = plant_of(*((n, Source()) for n in names), automix=automix)
    assert list(plant.value("automix.group")) == groups
    if mode is not None:
        assert plant.params["group"]["share.mode"][0] == ("off", "speech", "music", "gated").index(mode)


def test_nameless_microphones_share_gain_when_asked() -> None:
    plant = plant_of(*((f"mic {n}", Source()) for n in range(4)), automix="speech")
    assert list(plant.value("automix.group")) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("host", "playback"), [1, 2]),
        (("vox", "playback"), [0, 0]),
        (("host", "guest"), [0, 0]),
        (("host", "bass", "vox"), [1, 2, 0]),
    ],
)
def test_music_makes_way_only_where_there_is_speech(names: tuple[str, ...], parts: list[int]) -> None:
    plant = plant_of(*((n, Source()) for n in names))
    assert list(plant.value("duck.role")) == parts


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("host", "guest"), "speech"),
        (("kick", "vox"), "music"),
        (("host", "playback"), "speech"),
        (("host", "bass"), "mixed"),
    ],
)
def test_the_kind_of_session_follows_from_roles(names: tuple[str, ...], kind: str) -> None:
    assert Control(setups(*names), sample_rate_hz=RATE_HZ).scene_kind == kind


# -------------------------------------------------------------------------------------------------------- alignment


def bleeding(delay_ms: float, coherence: float = 0.9) -> Source:
    return Source(-35.0, features={"bleed_coherence": coherence, "bleed_delay_ms": delay_ms, "bleed_source": 0.0})


def no_bleed() -> Source:
    return Source(-25.0, features={"bleed_source": -1.0})


def test_the_nearer_microphone_waits_for_the_further() -> None:
    plant = plant_of(("snare", no_bleed()), ("oh", bleeding(2.0))).run(5.5)
    assert plant.value("input.delay_ms")[0] == pytest.approx(2.0)
    assert plant.value("input.delay_ms")[1] == 0.0


@pytest.mark.parametrize(("delay_ms", "coherence"), [(6.0, 0.9), (2.0, 0.3), (0.05, 0.9)])
def test_what_is_far_unsure_or_tiny_is_not_aligned(delay_ms: float, coherence: float) -> None:
    plant = plant_of(("snare", no_bleed()), ("oh", bleeding(delay_ms, coherence))).run(10.0)
    assert not plant.value("input.delay_ms").any()


def test_talkers_that_share_gain_are_not_aligned() -> None:
    plant = plant_of(("host", no_bleed()), ("guest", bleeding(2.0))).run(10.0)
    assert not plant.value("input.delay_ms").any()


# --------------------------------------------------------------------------------------------------------- mix gain


def test_the_mix_gain_is_computed_only_when_something_moved() -> None:
    control = Control([ChannelSetup(name="vox"), ChannelSetup(name="bass")], sample_rate_hz=RATE_HZ)
    first = control.mix_gain_bark()
    assert first.shape == (2, 24)
    assert control.mix_gain_bark() is first
    control.set_parameter("channel", 0, "fader.level_db", -6.0)
    second = control.mix_gain_bark()
    assert np.allclose(second[0] / first[0], 10.0 ** (-6.0 / 20.0))
    assert np.array_equal(second[1], first[1])


def test_the_mix_gain_has_the_shape_of_the_filters() -> None:
    from firmware.control import slots
    from firmware.control.mixer_state import MixerState

    state = MixerState()
    mix_gain = MixGain(state, 1)
    assert np.allclose(mix_gain.read(), 1.0)
    wishes = {"hpf.is_on": 1.0, "hpf.freq_hz": 200.0, "eq.3.freq_hz": float(BARK_HZ[14]), "eq.3.gain_db": 6.0,
              "eq.4.type": 2.0, "eq.4.freq_hz": 8000.0, "eq.4.gain_db": -6.0, "unmask.1.freq_hz": float(BARK_HZ[8]),
              "unmask.1.gain_db": -6.0}  # fmt: skip
    for name, value in wishes.items():
        state.write(slots.slot("channel", 0, name), value)
    gain_db = 20.0 * np.log10(mix_gain.read()[0])
    assert gain_db[0] < -18.0
    assert gain_db[14] == pytest.approx(6.0, abs=0.7)
    assert gain_db[8] == pytest.approx(-5.5, abs=1.0)
    assert gain_db[23] == pytest.approx(-5.5, abs=1.0)
    assert 20.0 * np.log10(mix_gain.without_unmask()[0, 8]) > -0.7
    state.write(slots.slot("channel", 0, "fader.is_muted"), 1.0)
    assert not mix_gain.read().any()


# ---------------------------------------------------------------------------------------------------- who is speaking


def test_a_microphone_learns_nothing_from_another_s_talker() -> None:
    def first(t: float) -> float:
        return -20.0 if t < 10.0 else -np.inf

    # The second microphone is 10 dB hotter and hears the first talker 14 dB down: in it he is only 4 dB softer.
    def second(t: float) -> float:
        return -24.0 if t < 10.0 else -10.0

    plant = plant_of(("host", Source(first, floor_dbfs=-80.0)), ("guest", Source(second, floor_dbfs=-70.0)))
    plant.run(9.0)
    assert plant.value("input.trim_db")[1] == 0.0
    plant.run(9.0)
    assert -10.0 + plant.value("input.trim_db")[1] == pytest.approx(-20.0, abs=1.5)
