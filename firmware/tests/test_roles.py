"""Roles from names, and the honest guess from sound."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import ROLES
from firmware.control.classify import PROTOTYPES, Classifier, likelihoods
from firmware.control.control import TICK_S, Control
from firmware.control.listening import Listening
from firmware.control.roles import role_from_name, role_or_refuse, words_of
from firmware.errors import EvenhandError
from firmware.observation import ChannelSetup
from firmware.tests.control_plant import Source, setups, tuned

NAMES = {
    "01_Kick.wav": "kick", "Kick In": "kick", "BD": "kick", "bass drum": "kick", "off_kick": "kick",
    "SN top": "snare", "Snare Bottom": "snare", "snare_build": "snare", "HH": "hihat", "alt hh": "hihat",
    "Hi-Hat": "hihat", "hats": "hihat", "OH L": "cymbal", "Overhead_R.wav": "cymbal", "crash_fade": "cymbal",
    "Floor Tom": "tom", "tom2": "tom", "toms": "tom", "break_beat": "drums", "Drums": "drums", "drumkit": "drums",
    "claps": "percussion", "perc_build": "percussion", "Bass DI": "bass", "bassguitar": "bass", "EBass": "bass",
    "gtr 2": "elec_guitar", "leadguitar": "elec_guitar", "El Gtr": "elec_guitar", "Acoustic Gtr": "ac_guitar",
    "ac_gtr": "ac_guitar", "Keys": "piano", "clav": "piano", "Organ": "piano", "minilogue_synth": "synth",
    "arp_dist": "synth", "Pad": "synth", "Violin 1": "strings", "horns": "brass", "Alto Sax": "woodwind",
    "Vox": "vocal_lead", "vox_lead": "vocal_lead", "LeadVox.flac": "vocal_lead", "vocals": "vocal_lead",
    "bgvox 1": "vocal_backing", "BV2": "vocal_backing", "Back Vox": "vocal_backing", "Choir L": "vocal_backing",
    "bgvox_harmony_glitch": "vocal_backing", "Host": "speech", "guest 2": "speech", "Lectern": "speech",
    "Anna lav": "speech", "playback": "playback", "Music": "playback", "room mics": "ambience", "Audience": "ambience",
}  # fmt: skip


@pytest.mark.parametrize(("name", "role"), NAMES.items())
def test_a_name_on_tape_says_the_role(name: str, role: str) -> None:
    found = role_from_name(name)
    assert found is not None, f"{name} says nothing: {words_of(name)}"
    assert found[0] == role


@pytest.mark.parametrize(
    "name", ["mic 1", "Track 07.wav", "input", "ch3", "untitled", "", "line 4", "aux", "12", "other"]
)
def test_a_name_that_says_nothing_is_not_read_into(name: str) -> None:
    assert role_from_name(name) is None


def test_all_words_lead_to_roles_of_the_contract() -> None:
    for name, role in NAMES.items():
        assert role in ROLES, name
    assert set(PROTOTYPES) <= set(ROLES)


def test_an_unknown_role_is_refused_with_near_misses() -> None:
    with pytest.raises(EvenhandError, match=r'channel "a": no role "vocal_led"; near: vocal_lead'):
        role_or_refuse("vocal_led", "a")
    with pytest.raises(EvenhandError, match="no role"):
        Control([ChannelSetup(name="x", role="flugel")], sample_rate_hz=48000.0)


def test_a_given_role_beats_the_name() -> None:
    control = Control([ChannelSetup(name="kick", role="bass")], sample_rate_hz=48000.0)
    assert control.roles == [("kick", "bass", 1.0)]


def test_prototypes_are_told_apart_from_each_other() -> None:
    from firmware.control.classify import _CENTRES

    share = likelihoods(_CENTRES)
    assert np.array_equal(share.argmax(axis=1), np.arange(len(PROTOTYPES)))


def test_what_was_not_heard_has_no_role() -> None:
    classifier = Classifier(np.array([False, False]))
    assert not classifier.listen(Listening(2, TICK_S), np.array([True, True]))
    assert classifier.roles == [("other", 0.0)] * 2


def test_a_nameless_kick_is_recognised_by_its_sound_and_mixed_as_one() -> None:
    kick = {"centroid_hz": 120.0, "flatness": 0.01, "decay_db_per_s": 150.0, "syllabic_modulation": 0.35,
            "onset": 0.1}  # fmt: skip  # ten active ticks a hit

    def hits(t: float) -> float:
        return -20.0 if t % 0.5 < 0.2 else -np.inf

    control = Control(setups("mic 1", "host"), sample_rate_hz=48000.0)
    plant = tuned(control, Source(hits, crest_db=16.0, centre_hz=70.0, width_octaves=0.8, features=kick), Source(-30.0))
    plant.run(12.0)
    name, role, confidence = control.roles[0]
    assert (name, role) == ("mic 1", "kick")
    assert 0.35 <= confidence <= 1.0
    assert plant.value("fx_send.1.level_db")[0] == -90.0
