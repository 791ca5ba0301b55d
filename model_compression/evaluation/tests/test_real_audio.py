"""Recordings from a manifest and from folders, and the box over them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_compression.errors import ModelError
from model_compression.evaluation import audio_evaluation, clip_evaluation, command, real_audio, session_folders
from model_compression.evaluation.results import Results
from model_compression.evaluation.tests.sessions_of_tones import RATE_HZ, small_session, write_manifest
from model_compression.nets.layout import IS_ACTIVE

BOX = [sys.executable, "-m", "firmware"]


def test_finished_stems_become_a_raw_session_whose_answer_is_their_sum(tmp_path: Path) -> None:
    finished, dry = real_audio.songs(write_manifest(tmp_path), seed=3)
    assert finished.reference is not None
    strips = finished.reference_strips
    assert np.sum(strips, axis=0) == pytest.approx(finished.reference)
    ratio_db = [20 * np.log10(np.abs(r).max() / np.abs(s).max()) for r, s in zip(finished.stems, strips, strict=True)]
    assert np.ptp(ratio_db) > 3.0
    assert max(np.abs(stem).max() for stem in finished.stems) <= real_audio.PEAK_LIMIT_LIN + 1e-6
    again, _ = real_audio.songs(tmp_path / "manifest.json", seed=3)
    assert np.array_equal(again.stems[0], finished.stems[0])
    assert dry.reference_name == "human"
    assert dry.reference_strips is None
    assert dry.others == {}


def test_clips_bear_our_roles(tmp_path: Path) -> None:
    assert [clip.role for clip in real_audio.clips(write_manifest(tmp_path))] == ["bass", "piano"]


@pytest.mark.parametrize("text", ["{}", "nonsense", '{"sets": 3}'])
def test_what_is_no_manifest_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: is no manifest"):
        list(real_audio.songs(path, seed=0))


def write_folder(folder: Path) -> None:
    session = small_session(1.0)
    folder.mkdir()
    for name, stem in zip(session.names, session.stems, strict=True):
        soundfile.write(folder / f"{name}.wav", stem, RATE_HZ, subtype="FLOAT")


def test_a_folder_with_a_truth_gets_the_truths_own_mix_as_reference(tmp_path: Path) -> None:
    write_folder(tmp_path / "one")
    offsets = {"natural": [[0.0, 0.0], [-3.0, -5.0], [-9.0, -9.0]]}
    channels = [
        {
            "file": f"{name}.wav",
            "role": role,
            "offset_lu": {"natural": offsets["natural"][k]},
            "pan_abs": {"natural": 0.5},
        }
        for k, (name, role) in enumerate((("vox", "vocal_lead"), ("bass", "bass"), ("synth", "synth")))
    ]
    (tmp_path / "one" / "truth.json").write_text(json.dumps({"channels": channels}))
    (session,) = session_folders.sessions(tmp_path)
    assert session.roles == ["bass", "synth", "vocal_lead"], "by file name"
    assert session.truth["offset_lu"] == [-4.0, -9.0, 0.0]
    assert session.truth["pan"] == [-0.5, 0.5, -0.5]
    assert session.reference is not None
    assert len(session.reference_strips) == 3


def test_a_folder_with_a_mix_is_compared_with_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "one")
    soundfile.write(tmp_path / "one" / "mix.wav", np.zeros((RATE_HZ, 2), np.float32), RATE_HZ)
    (session,) = session_folders.sessions(tmp_path)
    assert session.reference_name == "mix"
    assert len(session.stems) == 3


def test_folders_without_sessions_and_truths_of_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no audio files"):
        list(session_folders.sessions(tmp_path))
    write_folder(tmp_path / "one")
    (tmp_path / "one" / "truth.json").write_text('{"channels": [{"file": "other.wav"}]}')
    with pytest.raises(ModelError, match="does not name the stems"):
        list(session_folders.sessions(tmp_path))


def test_the_box_is_measured_beside_the_baselines(tmp_path: Path) -> None:
    results = Results(command="test")
    session = small_session(4.0)
    heard = audio_evaluation.evaluate([session], results, model="none", preroll_s=1.0, command=BOX)
    assert [h.truth for h in heard] == session.roles
    table = results.tables[0]
    rows = {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}
    assert {"B0 sum", "B3 Perez-Gonzalez", "rules, names given", "rules, no names"} <= set(table.columns)
    assert rows["balance_lu"]["B0 sum"] == pytest.approx(0.0, abs=0.01), "the sum is this session's reference"
    assert rows["mr_stft"]["B0 sum"] == pytest.approx(0.0, abs=0.01)
    assert rows["balance_lu"]["rules, names given"] > 0.5
    clip_evaluation.report(heard, results, tmp_path, what="tracks")
    results.write(tmp_path)
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert record["figures"][0]["name"].startswith("roles macro-F1, tracks")
    assert (tmp_path / record["plots"][0]).stat().st_size > 1000
    assert "| balance_lu |" in (tmp_path / "evaluation.md").read_text()


def test_a_clip_is_repeated_to_eight_seconds_and_a_long_one_is_left() -> None:
    clip = np.arange(RATE_HZ, dtype=np.float32)[:, None]
    assert len(clip_evaluation.repeated(clip, RATE_HZ)) == 8 * RATE_HZ
    assert clip_evaluation.repeated(np.tile(clip, (9, 1)), RATE_HZ).shape == (9 * RATE_HZ, 1)


def test_clips_and_tracks_count_alone_and_together_for_each_who_listened(tmp_path: Path) -> None:
    def heard(label: str, guess: str) -> audio_evaluation.Heard:
        return audio_evaluation.Heard(truth="bass", guess=guess, confidence=0.5, label=label)

    results = Results(command="test")
    clips = [heard("rules", "bass"), heard("model", "bass"), heard("model", "kick")]
    clip_evaluation.report_all(clips, [heard("rules, no names", "kick"), heard("model", "bass")], results, tmp_path)
    accuracy = {f.name: (f.value, f.n) for f in results.figures if f.name.startswith("roles accuracy")}
    assert accuracy == {
        "roles accuracy, clips and tracks: rules": (0.5, 2),
        "roles accuracy, clips and tracks: model": (pytest.approx(2 / 3), 3),
        "roles accuracy, clips: rules": (1.0, 1),
        "roles accuracy, clips: model": (0.5, 2),
        "roles accuracy, tracks of songs: rules": (0.0, 1),
        "roles accuracy, tracks of songs: model": (1.0, 1),
    }
    assert [f.name for f in results.figures if f.goal] == [
        "roles macro-F1, clips and tracks: rules", "roles macro-F1, clips and tracks: model",
    ]  # fmt: skip
    table = next(t for t in results.tables if t.title == "Confusion, clips and tracks: model")
    assert table.columns[1:] == ("kick", "bass")
    assert table.rows == [("kick", 0, 0), ("bass", 1, 2)]


def test_clips_and_the_songs_beside_them_are_heard_by_the_box(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    sounds = clip_evaluation.sounds_of(real_audio.clips(manifest))
    assert [len(sound.stems[0]) / RATE_HZ for sound in sounds] == [8.0, 8.0]
    songs = clip_evaluation.songs_of(real_audio.songs(manifest, seed=0))
    found = clip_evaluation.heard_by_box([sounds[0], songs[0]], models={"rules": "none"}, command=BOX)
    assert [h.truth for h in found] == ["bass", "vocal_lead", "bass", "synth"]
    assert {h.label for h in found} == {"rules"}
    x = clip_evaluation.side_by_side([clip_evaluation.inputs_of(sounds[0]), clip_evaluation.inputs_of(songs[0])])
    assert x.shape == (400, 4, 104)
    assert (x[100:, 1:, IS_ACTIVE] == -127).all(), "a song of 2 s is over"


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to measure on"),
        (["--data", "nowhere"], "--data measures a model"),
        (["--clips", "nowhere.json", "--mixes", "3"], "--mixes says more about --data"),
        (["--audio", "nowhere", "--student", "run"], "--student says more about --clips"),
        (["--data", "nowhere", "--model", "m.bundle"], r"has no test/shard_\*\.npz"),
        (["--clips", "nowhere.json"], "cannot be read"),
        (["--audio", "nowhere"], "is no folder"),
    ],
)
def test_wrong_orders_are_refused_in_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        command.run_evaluate(arguments(*words, "--out", str(tmp_path)))
