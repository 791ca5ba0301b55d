"""Reads a channel's role from its name: what engineers write on tape."""

from __future__ import annotations

import re

from dsp_kernels.contract.generated.contract import ROLES
from firmware.errors import EvenhandError

from .slots import near_misses

# Words of each role, English and the usual abbreviations. A two-word entry must stand together. What is more telling
# comes first: "lead vox" is a voice, "bass drum" a drum, "bgvox lead" a backing voice.
_WORDS: tuple[tuple[str, float, str], ...] = (
    ("vocal_backing", 0.95, "bgvox bgv bgvs bvox bvs bv bvx backing backvox bkgvox choir choirs chorus harmony "
     "harmonies harm gang doubles vocal_backing bgvocal bgvocals backup"),
    ("speech", 0.95, "host hosts cohost guest guests speaker speakers speech moderator panel panelist panellist "
     "presenter lectern podium pulpit preacher pastor announcer announce narrator narration interview interviewer "
     "interviewee podcast lav lavalier lapel headset talk talker talkback mc emcee voiceover vo dialog dialogue "
     "commentary commentator audience_mic chairman chair talking voice_over"),
    ("kick", 0.95, "kick kik kck kd bd bassdrum bass_drum kickdrum kick_drum 808kick subkick"),
    ("snare", 0.95, "snare snares sn snr sd rimshot rim snaredrum"),
    ("hihat", 0.95, "hihat hihats hh hat hats hi_hat highhat hh_closed chh ohh"),
    ("tom", 0.95, "tom toms rack racktom floortom floor_tom ft rack_tom"),
    ("cymbal", 0.95, "oh ohs ovh overhead overheads over_head cymbal cymbals cym crash ride splash china oh_l oh_r"),
    ("percussion", 0.95, "perc percussion percs conga congas bongo bongos shaker shakers tamb tambourine cowbell clap "
     "claps cajon tabla djembe timbale timbales triangle woodblock claves guiro maraca maracas timpani cabasa snap "
     "snaps fingersnaps udu bell bells glock glockenspiel"),
    ("drums", 0.95, "drum drums drumkit drumset kit beat breakbeat break beats drumloop loop drm drms groove edrums"),
    ("bass", 0.95, "bass bs bassgtr bassguitar bass_guitar bass_gtr bassdi bass_di ebass ubass subbass contrabass "
     "doublebass double_bass upright_bass upright uprightbass bassamp bass_synth synth_bass synthbass basssynth"),
    ("ac_guitar", 0.95, "acgtr acgt acoustic acou acgtrs acousticguitar acoustic_guitar ac_gtr ac_guitar agtr agt "
     "nylon ukulele uke mandolin banjo dobro steelstring classical_guitar ac_gt"),
    ("elec_guitar", 0.95, "egtr elgtr el_gtr elec_gtr electric_guitar electricguitar elec_guitar e_gtr leadguitar "
     "leadgtr rhythmguitar rhythmgtr gtrlead guitarsolo lead_guitar lead_gtr distgtr cleangtr crunch strat tele "
     "lespaul guitaramp gtramp"),
    ("elec_guitar", 0.8, "gtr gtrs guitar guitars git gt gitarre guit"),
    ("piano", 0.95, "piano pno pianos grand rhodes wurli wurlitzer ep epiano e_piano clav clavinet keys key keyboard "
     "keyboards kbd kbds organ hammond b3 harpsichord celesta accordion"),
    ("synth", 0.95, "synth synths syn pad pads arp arps arpeggio moog minilogue juno prophet lead_synth synthlead "
     "sequencer seq supersaw microkorg nord synthesizer synthesiser pluck"),
    ("strings", 0.95, "strings string str violin violins vln vla viola violas cello celli vc vlc fiddle quartet "
     "orchestra orch harp"),
    ("brass", 0.95, "brass trumpet tpt trp trumpets trombone tbn trombones horn horns frenchhorn tuba flugelhorn "
     "cornet euphonium"),
    ("woodwind", 0.95, "woodwind woodwinds sax saxes saxophone altosax tenorsax barisax flute flutes clarinet oboe "
     "bassoon recorder piccolo whistle"),
    ("playback", 0.95, "playback pb music musicbed bed backingtrack track_playback bgm dj ipod laptop player jingle "
     "jingles video mp3 aux_in pc computer spotify media"),
    ("ambience", 0.95, "amb ambience ambient ambi room rooms roommic crowd audience aud hall applause atmos atmo"),
    ("vocal_lead", 0.95, "vox voc vocal vocals lv ldvox leadvox leadvocal leadvocals lead_vocal lead_vox vocal_lead "
     "mainvox singer sing voxlead rap rapper ldv"),
    ("vocal_lead", 0.6, "voice voices"),
    ("other", 0.6, "fx sfx effect effects texture riser noise sweep"),
)  # fmt: skip
_TABLE: dict[str, tuple[str, float]] = {}
for _role, _confidence, _words in _WORDS:
    for _word in _words.split():
        _TABLE.setdefault(_word, (_role, _confidence))
_RANK = {word: n for n, word in enumerate(_TABLE)}

_BACKING = {"bg", "back", "backing", "harmony", "harm", "high", "low", "alto", "tenor", "soprano", "echo", "dbl"}
_VOICE = {"vox", "voc", "vocal", "vocals", "voice", "voices", "singer"}
_SPLIT = re.compile(r"[^a-z0-9]+|(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_AUDIO_SUFFIX = re.compile(r"\.(wav|flac|ogg|mp3|aiff?|m4a)$", re.IGNORECASE)


def words_of(name: str) -> list[str]:
    """Return the words of a name, in lower case: ``01_KickIn.wav`` gives kick, in."""
    plain = _CAMEL.sub(" ", _AUDIO_SUFFIX.sub("", name)).lower()
    return [word for word in _SPLIT.split(plain) if word and not word.isdigit()]


def role_from_name(name: str) -> tuple[str, float] | None:
    """Return role and confidence, or None when the name says nothing (``mic 1``, ``track 07``, ``input``)."""
    words = words_of(name)
    found: list[tuple[int, str, float]] = []
    position = 0
    while position < len(words):
        for length in (3, 2, 1):
            together = words[position : position + length]
            if len(together) < length:
                continue
            key = next((k for k in ("_".join(together), "".join(together)) if k in _TABLE), None)
            key = key or (_singular_in_table(together[0]) if length == 1 else None)
            if key is not None:
                found.append((_RANK[key], *_TABLE[key]))
                position += length - 1
                break
        position += 1
    if not found:
        return None
    if _BACKING & set(words) and _VOICE & set(words):
        return "vocal_backing", 0.9
    _, role, confidence = min(found)
    return role, confidence if len({r for _, r, _ in found}) == 1 else 0.9 * confidence


def _singular_in_table(word: str) -> str | None:
    return word[:-1] if word.endswith("s") and len(word) > 3 and word[:-1] in _TABLE else None


def role_or_refuse(role: str, channel_name: str) -> str:
    """Return ``role`` when the contract has it.

    Raises
    ------
    EvenhandError
        With near misses, or the whole list.
    """
    if role in ROLES:
        return role
    near = near_misses(role, list(ROLES)) or f"; there are {', '.join(ROLES)}"
    raise EvenhandError(f'channel "{channel_name}": no role "{role}"{near}')
