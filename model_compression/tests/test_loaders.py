"""Loaders of data sets, each on a tiny tree of its shape; and what they say of trees that are not."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dsp_kernels.contract.generated.contract import ROLES
from model_compression.errors import ModelError
from model_compression.loaders.catalogue import LOADERS
from model_compression.loaders.licences import LICENCES
from model_compression.loaders.session import LoadedSession
from model_compression.loaders.vocabulary import role_of_name, tables


def write(path: Path, level: float = 0.1, *, seconds: float = 0.2, rate_hz: int = 44100, n_lanes: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    x = level * rng.uniform(-1, 1, (round(seconds * rate_hz), n_lanes))
    soundfile.write(path, x, rate_hz, subtype="PCM_16")


def loaded(set_name: str, root: Path) -> list[LoadedSession]:
    sessions = list(LOADERS[set_name](root))
    for session in sessions:
        assert session.set_name == set_name
        assert set(session.roles) <= set(ROLES)
        stems, mix = session.read()
        lengths = {len(x) for x in stems} | ({len(mix)} if mix is not None else set())
        assert len(lengths) == 1, "channels and mix differ in length"
        assert lengths.pop() == pytest.approx(48000 * session.duration_s(), abs=48)
    return sessions


def medleydb(root: Path) -> Path:
    song = root / "Audio" / "Band_Song"
    write(song / "Band_Song_MIX.wav", n_lanes=2)
    for n in (1, 2):
        write(song / "Band_Song_STEMS" / f"Band_Song_STEM_0{n}.wav", n_lanes=2)
    for n in (1, 2):
        write(song / "Band_Song_RAW" / f"Band_Song_RAW_01_0{n}.wav")
    (song / "Band_Song_METADATA.yaml").write_text(
        "genre: Rap\nhas_bleed: 'yes'\nstems:\n"
        "  S01: {component: '', filename: Band_Song_STEM_01.wav, instrument: drum set, raw: {\n"
        "    R01: {filename: Band_Song_RAW_01_01.wav, instrument: kick drum},\n"
        "    R02: {filename: Band_Song_RAW_01_02.wav, instrument: snare drum}}}\n"
        "  S02: {component: melody, filename: Band_Song_STEM_02.wav, instrument: [male rapper, vocalists], raw: {}}\n"
    )
    (root / "mixing_coefficients.yaml").write_text("Band_Song: {1: 0.5, 2: 1.25}\n")
    return root


def test_medleydb_yields_stems_raws_bleed_and_weights(tmp_path: Path) -> None:
    (song,) = loaded("medleydb", medleydb(tmp_path))
    assert song.roles == ("drums", "vocal_lead")
    assert [raw.role for raw in song.channels[0].raws] == ["kick", "snare"]
    assert [channel.mix_gain_lin for channel in song.channels] == [0.5, 1.25]
    assert (song.genre, song.has_bleed, song.licence.is_non_commercial) == ("hiphop", True, True)
    assert song.channels[0].raws[0].read().shape == (9600, 1)


def test_medleydb_without_weights_has_none(tmp_path: Path) -> None:
    (medleydb(tmp_path) / "mixing_coefficients.yaml").unlink()
    (song,) = loaded("medleydb", tmp_path / "Audio")
    assert song.channels[0].mix_gain_lin is None


def test_musdb18_hq_yields_four_stems_and_their_mix(tmp_path: Path) -> None:
    for name in ("mixture", "drums", "bass", "other", "vocals"):
        write(tmp_path / "train" / "Artist - Title" / f"{name}.wav", n_lanes=2)
    (song,) = loaded("musdb18", tmp_path)
    assert song.roles == ("drums", "bass", "other", "vocal_lead")
    assert song.name == "Artist - Title"


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="containers are read by the command ffmpeg")
def test_musdb18_containers_are_read_stream_by_stream(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    levels = (0.5, 0.05, 0.1, 0.2, 0.3)
    command = ["ffmpeg", "-v", "error", "-nostdin"]
    for n, level in enumerate(levels):
        command += ["-f", "lavfi", "-i", f"sine=frequency={200 * (n + 1)}:duration=0.5,volume={8 * level}"]
    for n in range(5):
        command += ["-map", f"{n}:a"]
    subprocess.run(
        [*command, "-ac", "2", "-c:a", "aac", "-f", "mp4", str(tmp_path / "test/A - B.stem.mp4")], check=True
    )
    (song,) = LOADERS["musdb18"](tmp_path)
    assert song.duration_s() == pytest.approx(0.5, abs=0.05)
    peaks = [np.abs(stem).max() for stem in song.read()[0]]
    assert [peak / peaks[0] for peak in peaks] == pytest.approx([level / levels[1] for level in levels[1:]], rel=0.2)
    assert len(song.read(0.1, 0.2)[1]) == pytest.approx(9600, abs=2)


def moisesdb(root: Path) -> Path:
    song = root / "moisesdb_v0.1" / "0a1b"
    tracks = {
        "vocals": [("v1", "lead female singer"), ("v2", "background vocals")],
        "drums": [("d1", "kick drum"), ("d2", "overheads")],
        "bass": [("b1", "bass synthesizer (moog etc)")],
        "other": [("x1", "click track"), ("x2", "fx/processed sound, scratches, gun shots, explosions etc")],
    }
    for family, members in tracks.items():
        for identity, _ in members:
            write(song / family / f"{identity}.wav")
    stems = [
        {
            "stemName": family,
            "tracks": [
                {"id": identity, "trackType": label, "extension": "wav", "has_bleed": identity == "d2"}
                for identity, label in members
            ],
        }
        for family, members in tracks.items()
    ]
    (song / "data.json").write_text(
        json.dumps({"artist": "A", "song": "S", "genre": "singer/songwriter", "stems": stems})
    )
    return root


def test_moisesdb_yields_tracks_without_the_click(tmp_path: Path) -> None:
    (song,) = loaded("moisesdb", moisesdb(tmp_path))
    assert song.roles == ("vocal_lead", "vocal_backing", "kick", "cymbal", "bass", "other")
    assert (song.name, song.genre, song.has_bleed, song.mix) == ("A - S", "folk", True, None)


def test_slakh_tells_guitars_apart_and_skips_what_was_not_rendered(tmp_path: Path) -> None:
    track = tmp_path / "train" / "Track00001"
    stems = [("S00", "Guitar", 24, False), ("S01", "Guitar", 29, False), ("S02", "Drums", 128, True)]
    lines = [
        f"  {key}: {{inst_class: {name}, program_num: {program}, is_drum: {str(drum).lower()}, audio_rendered: true}}"
        for key, name, program, drum in stems
    ]
    lines.append("  S03: {inst_class: Piano, program_num: 0, is_drum: false, audio_rendered: false}")
    for key, *_ in stems:
        write(track / "stems" / f"{key}.flac")
    write(track / "mix.flac")
    (track / "metadata.yaml").write_text("stems:\n" + "\n".join(lines) + "\n")
    (song,) = loaded("slakh2100", tmp_path)
    assert song.roles == ("ac_guitar", "elec_guitar", "drums")
    assert not song.licence.is_non_commercial


def test_cambridge_songs_are_read_by_their_names_in_both_layouts(tmp_path: Path) -> None:
    for folder in ("BandSong_Full", "1234/tracks"):
        for name in ("01_KickIn", "02_SnareUp", "03_BassDI", "04_LeadVox", "05_BackingVox1", "06_ElecGtr2"):
            write(tmp_path / folder / f"{name}.wav", rate_hz=48000)
    songs = loaded("cambridge_mt", tmp_path)
    assert {song.name for song in songs} == {"BandSong", "1234"}
    for song in songs:
        assert song.roles == ("kick", "snare", "bass", "vocal_lead", "vocal_backing", "elec_guitar")


def test_enst_takes_have_their_microphones(tmp_path: Path) -> None:
    for microphone in ("kick", "snare", "hi-hat", "overhead_L", "overhead_R", "tom_1", "wet_mix", "dry_mix"):
        write(tmp_path / "drummer_1" / "audio" / microphone / "001_hits.wav", n_lanes=2 if "mix" in microphone else 1)
    (take,) = loaded("enst_drums", tmp_path)
    assert sorted(take.roles) == ["cymbal", "cymbal", "hihat", "kick", "snare", "tom"]
    assert take.mix is not None


def test_dsd100_pairs_mixtures_with_sources(tmp_path: Path) -> None:
    write(tmp_path / "Mixtures/Dev/051 - A - B/mixture.wav", n_lanes=2)
    for name in ("bass", "drums", "other", "vocals"):
        write(tmp_path / f"Sources/Dev/051 - A - B/{name}.wav", n_lanes=2)
    (song,) = loaded("dsd100", tmp_path)
    assert song.name == "051 - A - B"


def test_ami_knows_from_the_words_who_spoke_when(tmp_path: Path) -> None:
    audio = tmp_path / "amicorpus" / "ES2002a" / "audio"
    for name in ("Headset-0", "Headset-1", "Array1-01", "Mix-Headset"):
        write(audio / f"ES2002a.{name}.wav", seconds=2.0, rate_hz=16000)
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "ES2002a.B.words.xml").write_text(
        '<nite:root xmlns:nite="http://nite.sourceforge.net/">'
        '<w starttime="0.50" endtime="0.70">so</w><w starttime="0.80" endtime="1.10">well</w>'
        '<w starttime="1.10" endtime="1.10" punc="true">.</w><vocalsound starttime="1.2" endtime="1.3"/>'
        '<w starttime="1.60" endtime="1.80">yes</w></nite:root>'
    )
    (meeting,) = loaded("ami", tmp_path)
    assert meeting.roles == ("speech", "speech", "ambience")
    assert (meeting.scene_kind, meeting.has_bleed) == ("speech", True)
    assert meeting.channels[0].activity is None
    assert meeting.channels[1].activity == ((0.5, 1.1), (1.6, 1.8))


def test_a_folder_of_stems_and_a_mix_is_a_session(tmp_path: Path) -> None:
    for name in ("kick", "lead vox", "my song mixdown", "keys"):
        write(tmp_path / f"{name}.flac", n_lanes=2 if "mix" in name else 1)
    (session,) = loaded("stems", tmp_path)
    assert session.roles == ("piano", "kick", "vocal_lead")
    assert session.mix.path.name == "my song mixdown.flac"


def test_recordings_shorter_than_the_mix_end_in_silence(tmp_path: Path) -> None:
    write(tmp_path / "kick.wav", seconds=0.1)
    write(tmp_path / "mix.wav", seconds=0.3, n_lanes=2)
    (session,) = loaded("stems", tmp_path)
    stem = session.read()[0][0]
    assert np.abs(stem[:4800]).max() > 0
    assert not stem[4900:].any()


# ------------------------------------------------------------------------------------------------------- refusals


def refusal(set_name: str, root: Path) -> str:
    with pytest.raises(ModelError) as refused:
        [session.read() for session in LOADERS[set_name](root)]
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("set_name", LOADERS)
def test_an_empty_folder_and_no_folder_are_refused(set_name: str, tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(set_name, tmp_path)
    assert "nowhere" in refusal(set_name, tmp_path / "nowhere")


def test_a_missing_stem_is_named(tmp_path: Path) -> None:
    (medleydb(tmp_path) / "Audio/Band_Song/Band_Song_STEMS/Band_Song_STEM_02.wav").unlink()
    assert "STEM_02.wav: is not there" in refusal("medleydb", tmp_path)


@pytest.mark.parametrize("content", ["stems: [", "- 1", "genre: Rock", "stems: {S01: 3}"])
def test_broken_metadata_is_named(content: str, tmp_path: Path) -> None:
    (medleydb(tmp_path) / "Audio/Band_Song/Band_Song_METADATA.yaml").write_text(content)
    assert "Band_Song_METADATA.yaml" in refusal("medleydb", tmp_path)


def test_broken_json_and_broken_sound_are_named(tmp_path: Path) -> None:
    song = moisesdb(tmp_path) / "moisesdb_v0.1" / "0a1b"
    (song / "drums" / "d1.wav").write_bytes(b"not a sound")
    assert "d1.wav: cannot be read as sound" in refusal("moisesdb", tmp_path)
    (song / "data.json").write_text("{")
    assert "data.json, line 1: is no JSON" in refusal("moisesdb", tmp_path)


def test_two_mixes_are_refused(tmp_path: Path) -> None:
    for name in ("kick", "mix", "master"):
        write(tmp_path / f"{name}.wav")
    assert "keep one" in refusal("stems", tmp_path)


# ---------------------------------------------------------------------------------------------------------- words


def test_every_table_speaks_our_words_and_every_set_has_its_terms() -> None:
    assert len(tables()["medleydb"]) > 100
    assert set(LICENCES) == set(LOADERS)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("03_KickOut", "kick"), ("BGVox_lead", "vocal_backing"), ("bass drum", "kick"), ("12_HiHat", "hihat"),
        ("OH_L", "cymbal"), ("LeadVox2", "vocal_lead"), ("track 07", "other"), ("ElecGtrSolo", "elec_guitar"),
        ("BassDI", "bass"), ("RoomMics", "ambience"), ("AcGtr", "ac_guitar"), ("Host mic", "speech"),
    ],
)  # fmt: skip
def test_file_names_say_the_role(name: str, role: str) -> None:
    assert role_of_name(name) == role
