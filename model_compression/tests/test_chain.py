"""The whole chain in miniature, from seeds to a mix by the box: through the gate, the same twice, read by others."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsp_kernels.contract.archive import unpack
from model_compression.__main__ import main
from model_compression.card import write_cards
from model_compression.data.generate import data_digest
from model_compression.errors import ModelError
from model_compression.evaluation import box
from model_compression.evaluation.tests.sessions_of_tones import RATE_HZ, small_session
from model_compression.evaluation.tests.test_real_audio import BOX
from model_compression.tests.mini_shards import write_data

F32_TOLERANCE = 2e-5  # sums in another order


def make(out: Path) -> Path:
    assert main(["make", "mini", "--out", str(out), "--workers", "1"]) == 0
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where `evenhand-model make mini` left everything, which no test changes."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def data(made: Path) -> Path:
    return made / "data" / "mini"


@pytest.fixture(scope="module")
def run(made: Path) -> Path:
    return made / "runs" / "mini"


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.suffix in (".npz", ".tflite", ".f32", ".toml", ".jsonl", ".json", ".md", ".bundle")
        and p.parent.name != "evaluation"
    }


def test_the_chain_leaves_models_that_passed_the_gate_on_both_runtimes(run: Path) -> None:
    for net in ("role", "song", "mix"):
        for precision in ("int8", "f16"):
            assert (run / "tflite" / f"{net}_{precision}.tflite").stat().st_size > 10_000
    described = tomllib.loads((run / "tflite" / "net.toml").read_text())
    assert described["mix"]["is_any_channels"] is True
    for net in ("role", "song", "mix"):
        for name, shape in described[net]["golden"].items():
            assert (run / "golden" / f"golden_{net}_{name}.f32").stat().st_size == 4 * np.prod(shape)


def test_training_lowers_the_loss(run: Path) -> None:
    for stage in ("role.teacher", "role.student", "mix.teacher", "mix.student"):
        lines = [json.loads(line) for line in (run / stage / "metrics.jsonl").read_text().splitlines()]
        assert lines[-1]["loss"] < lines[0]["loss"], stage


def test_the_onnx_reference_says_what_tensorflow_says(run: Path) -> None:
    from model_compression.conversion.onnx_export import evaluator

    described = tomllib.loads((run / "tflite" / "net.toml").read_text())
    for net in ("role", "song", "mix"):
        golden = {
            name: np.fromfile(run / "golden" / f"golden_{net}_{name}.f32", "<f4").reshape(shape)
            for name, shape in described[net]["golden"].items()
        }
        expected = golden.pop(described[net]["output"])
        onnx = evaluator(run / "onnx" / f"{net}.onnx")
        rows = golden["x"].shape[1] if net == "mix" else 1
        taps = {
            k: np.zeros((rows, shape[1]), np.float32) for k, shape in described[net]["inputs"].items() if "tap" in k
        }
        first = {name: values[0] for name, values in golden.items()}
        said = dict(zip(onnx.output_names, onnx.run(None, {**first, **taps}), strict=True))
        got = next(value for name, value in said.items() if value.shape == expected[0].shape and "new" not in name)
        np.testing.assert_allclose(got, expected[0], atol=F32_TOLERANCE, err_msg=net)


def test_a_third_party_teacher_is_read_through_the_reference_evaluator(run: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    from model_compression.conversion.onnx_export import patch_teacher
    from model_compression.training.students import load

    patches = np.random.default_rng(0).uniform(-1, 1, (2, 64, 72)).astype(np.float32)
    said = patch_teacher(run / "onnx" / "role.onnx")(tf.constant(patches)).numpy()
    halved = load(run).role(tf.constant(patches)).numpy()  # its weights went through float16
    np.testing.assert_allclose(said, halved, atol=0.05)
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"no\.onnx: not an ONNX model"):
        patch_teacher(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match=r"song\.onnx: does not take patches"):
        patch_teacher(run / "onnx" / "song.onnx")


def test_the_gate_refuses_an_int8_model_that_calibration_starved(run: Path, data: Path) -> None:
    from model_compression.conversion.export import to_tflite
    from model_compression.conversion.flatbuffer import anatomy
    from model_compression.conversion.stream import Scenes
    from model_compression.training.sessions import Sessions
    from model_compression.training.students import load

    students = load(run)
    scenes = Scenes(students, Sessions(data / "valid", cache_mb=100), max_channels=16)
    feeds = [{**feed, "song": np.zeros_like(feed["song"])} for feed in scenes.feeds("mix", 20, 1)]
    assert anatomy(to_tflite(students.mix, "int8", feeds)).unmoved


def test_a_float_student_hears_recorded_clips_each_for_itself(run: Path) -> None:
    from model_compression.evaluation import clip_evaluation as clips

    stems = small_session(3.0).stems
    sounds = [
        clips.Sound(name=str(k), stems=[stem[: (3 - k) * RATE_HZ]], roles=[role], sample_rate_hz=RATE_HZ)
        for k, (stem, role) in enumerate(zip(stems, ("vocal_lead", "bass", "synth"), strict=True))
    ]
    together = clips.heard_by_student(run, sounds)
    assert [heard.truth for heard in together] == ["vocal_lead", "bass", "synth"]
    (alone,) = clips.heard_by_student(run, sounds[2:])
    assert (alone.guess, alone.confidence) == (together[2].guess, pytest.approx(together[2].confidence, abs=2e-3))


@pytest.mark.soak
def test_a_mix_network_of_the_shipped_size_keeps_its_answers_in_both_precisions(tmp_path: Path) -> None:
    from model_compression.conversion import gate
    from model_compression.conversion.export import to_tflite
    from model_compression.conversion.quantise import check_stream
    from model_compression.conversion.runtimes import RUNTIMES, run_model
    from model_compression.conversion.stream import Scenes
    from model_compression.training.recipe import load_recipe
    from model_compression.training.sessions import Sessions
    from model_compression.training.students import Students, build

    stages, rng = load_recipe("small").stages, np.random.default_rng(0)
    nets = {net: build(net, stages[f"{net}.student"].size, rng) for net in ("role", "song", "mix")}
    students = Students(**nets, temperature=1.0, context_share=0.0, sigma_scale=np.ones(5, np.float32), recipe_text="")
    scenes = Scenes(students, Sessions(write_data(tmp_path) / "valid", cache_mb=100), max_channels=8)
    feeds = list(scenes.feeds("mix", 60, 1))
    stream, expected, n_channels = check_stream(scenes, "mix")
    tolerances: dict[Any, float] = {"int8": 0.06, "f16": 0.005}
    for precision, tolerance in tolerances.items():
        model = to_tflite(students.mix, precision, feeds)
        assert len(model) <= gate.MAX_BYTES["mix"]
        for runtime in RUNTIMES:
            ran = run_model(
                runtime,
                model,
                {"plain": stream},
                delays_ticks=students.mix.delays_ticks(),
                tap_width=students.mix.size.width,
            )["plain"]
            assert ran.delegated_parts <= gate.MAX_DELEGATED_PARTS
            error = ran.outputs["y"][:, :n_channels] - expected[:, :n_channels]
            assert np.sqrt(np.mean(error**2)) < tolerance, (precision, runtime)


def test_a_damaged_model_is_reported_and_whoever_asked_survives(run: Path) -> None:
    from model_compression.conversion.runtimes import RUNTIMES, run_model

    model = (run / "tflite" / "role_int8.tflite").read_bytes()
    feeds = {"plain": {"patch": np.zeros((1, 1, 64, 72), np.float32)}}
    for runtime in RUNTIMES:
        with pytest.raises(ModelError, match=runtime):
            run_model(runtime, model[: len(model) // 3], feeds)


def test_a_run_refuses_another_recipe_and_missing_data(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["train", "small", "--data", str(data), "--out", str(run)]) == 1
    assert "made from another recipe" in capsys.readouterr().err
    assert main(["train", "mini", "--data", str(run), "--out", str(run / "new")]) == 1
    assert "evenhand-model data" in capsys.readouterr().err
    assert not (run / "new").exists()


def test_tuning_a_bundle_changes_the_mix_network_and_nothing_else(
    made: Path, run: Path, data: Path, tmp_path: Path
) -> None:
    bundle = made / "mini.bundle"
    arguments = ["train", "mini", "--from", str(bundle), "--data", str(data), "--out", str(tmp_path / "mine"), "--json"]
    assert main(arguments) == 0
    before, after = (np.load(folder / "student_weights.npz") for folder in (run, tmp_path / "mine"))
    assert set(before.files) == set(after.files)
    changed = {name.split("/")[0] for name in before.files if not np.array_equal(before[name], after[name])}
    assert changed == {"mix", "sigma_scale"}


def test_the_box_mixes_with_what_the_chain_made(made: Path, tmp_path: Path) -> None:
    session = small_session(3.0)
    with box.session_folder(session.stems, ["in 1", "in 2", "in 3"], RATE_HZ) as folder:
        rendered = box.render(
            folder,
            model=str(made / "mini.bundle"),
            keys=[made / "keys" / "evenhand.pub"],
            command=BOX,
            has_strips=False,
        )
    assert rendered.said["model"].startswith("evenhand 0.")
    assert np.abs(rendered.mix).max() > 0.01


def test_cards_and_bundle_say_what_the_model_is_made_of(made: Path, data: Path, run: Path) -> None:
    files = unpack((made / "mini.bundle").read_bytes())
    manifest, index = tomllib.loads(files["model.toml"].decode()), json.loads((data / "index.json").read_text())
    assert manifest["training"]["data_digest"] == data_digest(index)
    assert manifest["training"]["recipe_digest"] == tomllib.loads((run / "run.toml").read_text())["recipe"]
    assert manifest["ingredient"] == [
        {k: one[k] for k in ("name", "version", "licence")} for one in index["ingredients"]
    ]
    evaluation = json.loads((run / "evaluation" / "evaluation.json").read_text())
    value = next(f["value"] for f in evaluation["figures"] if f["name"] == "offset_lu MAE, int8")
    assert manifest["metrics"]["offset_lu MAE, int8"] == value
    card = files["card.md"].decode()
    for one in index["ingredients"]:
        assert f"| {one['name']} | {one['version']} | {one['licence']} |" in card
    assert manifest["training"]["trained_on"] in card
    assert "TensorFlow" in manifest["training"]["trained_on"]
    assert str(made) not in card
    assert "## test" in (run / "data_card.md").read_text()


def test_a_card_names_the_teachers_that_the_recipe_has(data: Path, run: Path, tmp_path: Path) -> None:
    assert "| role.teacher | 30 |" in (run / "card.md").read_text()
    shutil.copytree(run, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(re.sub(r"(?s)\[role\.teacher\].*?(?=\n\[)", "", recipe.read_text(), count=1))
    write_cards(tmp_path / "run", data)
    card = (tmp_path / "run" / "card.md").read_text()
    assert "teachers (song, mix)" in card
    assert "role.teacher" not in card
    assert "| role.student | 30 |" in card


def test_a_card_does_not_take_figures_of_other_networks_or_other_data(
    made: Path, data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(data, tmp_path / "data")
    words = [
        "bundle",
        str(tmp_path / "run"),
        "--key",
        str(made / "keys" / "evenhand.key"),
        "--out",
        str(tmp_path / "b"),
    ]
    figures = tmp_path / "run" / "evaluation" / "evaluation.json"
    figures.write_text(figures.read_text().replace('"model": "', '"model": "0'))
    assert main([*words, "--data", str(data)]) == 1
    assert "is of other networks" in capsys.readouterr().err
    index = tmp_path / "data" / "index.json"
    index.write_text(index.read_text() + "\n")
    assert main([*words, "--data", str(tmp_path / "data")]) == 1
    assert "was not made from" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_the_whole_chain_made_twice_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "keys", tmp_path / "keys")  # a signature is one signer's
    assert digests(make(tmp_path)) == digests(made)
