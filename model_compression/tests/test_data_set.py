"""Data sets: the same bytes every time, resumed after any end, refused when damaged or asked for wrongly."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import ROLES
from model_compression.data.generate import data_digest, generate
from model_compression.data.recipe import BUILT_IN, find_recipe, read_recipe
from model_compression.data.shard_job import drawn_scenes, planned, run
from model_compression.data.shards import INDEX, read_index, read_items
from model_compression.data.topology import LineUp, read_line_ups, thinned
from model_compression.data_command import only_our_words
from model_compression.errors import ModelError

from .session_material import MadeStage, band

RECIPE = """
[data]
name = "tiny"
seed = 0
takes = 2
seconds = [2.0, 2.5]
scene_kinds = { speech = 1.0, music = 2.0 }
difficulties = { clean = 1.0, bleed = 1.0, hard = 1.0 }
[data.splits.train]
performances = 2
clip_groups = 1
[data.splits.test]
performances = 1
clip_groups = 0
[data.clips]
per_group = 4
seconds = [1.0, 2.0]
[data.shards]
performances = 1
clip_groups = 1
"""


def recipe_file(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name[0] != "."}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished data set, which no test changes."""
    folder = tmp_path_factory.mktemp("made")
    generate(read_recipe(recipe_file(folder)), folder / "set", MadeStage(), audio=folder / "audio")
    return folder


def test_every_array_of_the_design_is_there_with_its_shape(made: Path) -> None:
    sessions = list(read_items(made / "set", "train", "scenes"))
    assert len(sessions) == 4
    for s in sessions:
        n_ticks, n_channels, n_inputs = s["x"].shape
        n_seconds = -(-n_ticks // 50)
        assert (n_inputs, s["x"].dtype) == (104, np.int8)
        shapes = {
            "m": (n_ticks, 56), "role": (n_channels,), "active": (n_ticks, n_channels),
            "importance": (n_ticks, n_channels), "offset_lu": (3, n_seconds, n_channels), "pan_abs": (3, n_channels),
            "tone_db": (n_channels, 4), "compressor": (n_channels, 2), "send_db": (3, n_seconds, n_channels),
            "sigma": (5,), "genre": (), "scene_kind": (), "section": (n_ticks,), "boundary": (n_ticks,),
            "beat": (n_ticks,), "key": (), "tempo_bpm": (), "bleed_db": (n_channels, n_channels),
            "is_bleed": (n_ticks, n_channels), "gain_fault_db": (n_channels,), "eq_fault_db": (n_channels, 4),
            "difficulty": (), "family": (n_channels,),
        }  # fmt: skip
        assert {name: s[name].shape for name in shapes} == shapes
        assert set(s) == {*shapes, "x"}


def test_truth_follows_the_performance(made: Path) -> None:
    by_kind = {int(s["scene_kind"]): s for s in read_items(made / "set", "train", "scenes")}
    music, talk = by_kind[1], by_kind[0]
    assert int(music["genre"]) >= 0
    assert int(music["key"]) == 21  # A minor: pitch class 9 and 12 for minor
    assert sorted(set(music["section"].tolist())) == [1, 4]
    assert music["boundary"].sum() == 1
    assert np.flatnonzero(music["beat"]).tolist() == list(range(0, len(music["beat"]), 25))
    assert np.flatnonzero(music["beat"] == 2).tolist() == list(range(0, len(music["beat"]), 100))
    assert int(talk["genre"]) == int(talk["key"]) == -1
    assert set(talk["section"].tolist()) == {-1}


def test_a_clip_is_one_channel_with_its_role(made: Path) -> None:
    clips = list(read_items(made / "set", "train", "clips"))
    assert len(clips) >= 4
    for clip in clips:
        assert clip["x"].shape == (len(clip["active"]), 104)
        assert 50 <= len(clip["x"]) <= 100
        assert clip["role"].shape == clip["family"].shape == ()


def test_a_family_has_one_number_in_sessions_and_clips_alike(made: Path) -> None:
    number = {ROLES.index(role): zlib.crc32(f"made.{role}".encode()) for role in ROLES}
    music = [s for s in read_items(made / "set", "train", "scenes") if int(s["scene_kind"]) == 1]
    told = [(r, f) for s in music for r, f in zip(s["role"].tolist(), s["family"].tolist(), strict=True) if f]
    told += [(int(clip["role"]), int(clip["family"])) for clip in read_items(made / "set", "train", "clips")]
    assert len(told) > 10
    assert all(number[role] == family for role, family in told)


def test_a_split_may_have_takes_of_its_own(tmp_path: Path) -> None:
    text = RECIPE.replace("performances = 1\nclip_groups = 0", "performances = 1\ntakes = 3\nclip_groups = 0")
    recipe = read_recipe(recipe_file(tmp_path, text))
    assert {split: size.takes for split, size in recipe.splits.items()} == {"train": 2, "test": 3}
    assert run(planned(recipe, ("test",), MadeStage(), (), None)[0])[1]["items"] == 3


def test_the_index_says_what_is_in_it_and_under_which_licence(made: Path) -> None:
    index = read_index(made / "set")
    assert index["is_complete"]
    assert index["ingredients"] == [{"name": "made", "version": "0", "licence": "Apache-2.0"}]
    assert index["splits"]["train"]["scenes"]["items"] == 4
    assert sum(index["splits"]["train"]["scenes"]["difficulties"].values()) == 4
    assert index["splits"]["train"]["clips"]["roles"]
    for entry in index["shards"]:
        assert (made / "set" / entry["file"]).stat().st_size == entry["bytes"]


def test_a_session_folder_holds_a_file_a_channel_and_its_truth(made: Path) -> None:
    folders = sorted((made / "audio").iterdir())
    assert len(folders) == 6
    truth = json.loads((folders[0] / "truth.json").read_text())
    assert {path.name for path in folders[0].glob("*.flac")} == {c["file"] for c in truth["channels"]}
    assert not any(word in path.name for path in folders[0].iterdir() for word in ("kick", "vocal", "speech"))


def test_the_same_recipe_gives_the_same_bytes_on_any_number_of_workers(made: Path, tmp_path: Path) -> None:
    generate(read_recipe(recipe_file(tmp_path)), tmp_path / "again", MadeStage(), n_workers=2)
    assert bytes_of(tmp_path / "again") == bytes_of(made / "set")


@pytest.mark.soak
def test_a_dask_cluster_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    generate(read_recipe(recipe_file(tmp_path)), tmp_path / "dask", MadeStage(), n_workers=2, dask="local")
    assert bytes_of(tmp_path / "dask") == bytes_of(made / "set")


def _generate_in(folder: Path) -> None:
    generate(read_recipe(recipe_file(folder)), folder / "set", MadeStage())


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(made: Path, tmp_path: Path) -> None:
    job = multiprocessing.get_context("spawn").Process(target=_generate_in, args=(tmp_path,))
    job.start()
    index = tmp_path / "set" / INDEX
    deadline_s = time.monotonic() + 60.0
    while not index.exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGKILL)
    job.join()
    kept = read_index(tmp_path / "set")
    assert not kept["is_complete"], "this test should kill it before the end"
    (tmp_path / "set" / "train" / ".shard_0001.npz.part").write_bytes(b"half of it")
    first = tmp_path / "set" / kept["shards"][0]["file"]
    before = first.stat().st_mtime_ns
    _generate_in(tmp_path)
    assert bytes_of(tmp_path / "set") == bytes_of(made / "set")
    assert first.stat().st_mtime_ns == before, "what was done is not done again"


def test_a_damaged_shard_is_noticed_and_made_anew(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "set", tmp_path / "set")
    path = tmp_path / "set" / "train" / "shard_0001.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    with pytest.raises(ModelError, match=r"shard_0001.npz: is damaged"):
        list(read_items(tmp_path / "set", "train", "scenes"))
    _generate_in(tmp_path)
    assert path.read_bytes() == whole


def test_one_split_can_be_made_alone(made: Path, tmp_path: Path) -> None:
    index = generate(read_recipe(recipe_file(tmp_path)), tmp_path / "set", MadeStage(), splits=("test",))
    assert not index["is_complete"]
    assert [entry["file"] for entry in index["shards"]] == ["test/shard_0000.npz"]
    assert bytes_of(tmp_path / "set")["test/shard_0000.npz"] == bytes_of(made / "set")["test/shard_0000.npz"]
    with pytest.raises(ModelError, match="holds no train scenes; it holds test scenes"):
        next(read_items(tmp_path / "set", "train", "scenes"))


def test_a_folder_of_another_recipe_is_left_alone(made: Path, tmp_path: Path) -> None:
    before = bytes_of(made / "set")
    other = read_recipe(recipe_file(tmp_path, RECIPE.replace("seed = 0", "seed = 5")))
    with pytest.raises(ModelError, match="was made from another recipe; name another --out"):
        generate(other, made / "set", MadeStage())
    assert bytes_of(made / "set") == before


def test_sessions_differ_between_takes_performances_and_splits(made: Path) -> None:
    index = read_index(made / "set")
    assert len({entry["sha256"] for entry in index["shards"]}) == len(index["shards"])
    first, second = list(read_items(made / "set", "test", "scenes"))
    assert first["x"].shape != second["x"].shape or not np.array_equal(first["x"], second["x"])
    assert len(data_digest(index)) == 64


def test_shares_hold_and_meet_in_all_combinations() -> None:
    recipe = read_recipe(BUILT_IN / "small.toml")
    jobs = planned(recipe, ("train",), MadeStage(), (), None)
    assert sum(job.last - job.first for job in jobs if job.kind == "scenes") == recipe.splits["train"].performances
    drawn = drawn_scenes(recipe, "train")
    n = len(drawn)
    assert n == recipe.splits["train"].performances
    assert [kind for kind, _ in drawn].count("music") / n == pytest.approx(0.65, abs=1.0 / n)
    for kind in ("music", "mixed"):
        of_kind = [genre for which, genre in drawn if which == kind]
        counts = [of_kind.count(genre) for genre in recipe.genres]
        assert max(counts) - min(counts) <= 1


def test_a_job_runs_alike_in_this_process(made: Path) -> None:
    recipe = read_recipe(made / "tiny.toml")
    job = planned(recipe, ("test",), MadeStage(), (), None)[0]
    content, entry = run(job)
    assert content == (made / "set" / entry["file"]).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("takes = 2", "take = 2"), r"data.take is not known; did you mean takes"),
        (("takes = 2", "takes = 0"), r"data.takes = 0 is no whole number from 1 to 32"),
        (("takes = 2\n", ""), r"data.takes is missing"),
        (("clip_groups = 0", "clip_groups = 0\ntakes = 99"), r"data.splits.test.takes = 99 is no whole number"),
        (("takes = 2", 'takes = 2\nsounds = "al"'), r"data.sounds = 'al' is no set of sounds; did you mean all"),
        (("hard = 1.0", "herd = 1.0"), r"data.difficulties.herd is not known; did you mean hard"),
        (("music = 2.0", "music = -1"), r"data.scene_kinds.music = -1 is no share"),
        (("seconds = [2.0, 2.5]", "seconds = [9, 3]"), r"data.seconds = \[9, 3\] is no \[shortest, longest\]"),
        (("takes = 2", "takes = 2\ndoubled_share = 2"), r"data.doubled_share = 2 is no share from 0 to 1"),
        (("splits.test", "splits.tset"), r"data.splits.tset is not known; did you mean test"),
        (('name = "tiny"', 'name = "../x"'), r"data.name = '../x' is no plain word"),
        (("[data]", "[data"), r"is no TOML"),
        (("[data", "[date"), r"has no table \[data\]"),
    ],
)
def test_a_bad_recipe_is_refused_by_file_key_and_near_miss(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"tiny\.toml: .*" + message):
        read_recipe(recipe_file(tmp_path, RECIPE.replace(*change)))


def test_a_recipe_is_found_by_name_and_a_wrong_name_has_near_misses() -> None:
    for name, sounds in (("mini", "core"), ("small", "all"), ("large", "all")):
        recipe = read_recipe(find_recipe(name))
        assert (recipe.name, recipe.sounds) == (name, sounds)
    with pytest.raises(ModelError, match="did you mean small"):
        find_recipe("smal")


def test_line_ups_come_from_medleydb_metadata(tmp_path: Path) -> None:
    raw = {"R01": {"instrument": "kick drum"}, "R02": {"instrument": "snare drum"}}
    stems = {
        "S01": {"instrument": "drum set", "component": "", "raw": raw},
        "S02": {"instrument": "electric bass", "component": "bass", "raw": {}},
        "S03": {"instrument": "male singer", "component": "melody", "raw": {}},
        "S04": {"instrument": "female singer", "component": "", "raw": {}},
    }
    (tmp_path / "A_B_METADATA.yaml").write_text(json.dumps({"genre": "Singer/Songwriter", "stems": stems}))
    (line_up,) = read_line_ups(tmp_path)
    roles = {"kick": 1, "snare": 1, "bass": 1, "vocal_lead": 1, "vocal_backing": 1}
    assert (line_up.genre, dict(line_up.roles)) == ("folk", roles)
    summary = {"A_B": {"genre": "Rap", "stems": {"S01": {"instrument": "x", "raw_instruments": ["synthesizer"]}}}}
    (tmp_path / "medleydb_tracks.json").write_text(json.dumps(summary))
    assert read_line_ups(tmp_path) == (LineUp(genre="hiphop", roles=(("synth", 1),)),)
    with pytest.raises(ModelError, match="no song of MedleyDB in it"):
        read_line_ups(tmp_path / "nothing")


def test_a_line_up_thins_a_performance_but_keeps_who_leads() -> None:
    performance = band(np.random.default_rng(0), 1.0)
    left = thinned(np.random.default_rng(1), performance, LineUp(genre="rock", roles=(("bass", 1), ("drums", 1))))
    assert {s.role for s in left.stems} == {"kick", "snare", "hihat", "bass", "vocal_lead", "elec_guitar"}


def test_a_silent_source_leaves_the_bleed_matrix_in_bounds(made: Path) -> None:
    for split in ("train", "test"):
        for session in read_items(made / "set", split, "scenes"):
            matrix = session["bleed_db"].astype(float)
            assert matrix.max() <= 6.0
            assert matrix.min() >= -100.0


def test_what_a_plug_in_prints_does_not_get_between_our_words(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with only_our_words():
        os.write(1, b"a plug-in of this process\n")
        subprocess.run(["echo", "a plug-in of a worker"], check=True)
    print("after", flush=True)
    assert capfd.readouterr().out == "before\nafter\n"
