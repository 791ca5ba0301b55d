"""A model in its child process, from files to the table of figures."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.archive import pack, unpack
from dsp_kernels.contract.generated.contract import ROLES
from dsp_kernels.offline_features import extract
from model_compression.errors import ModelError
from model_compression.evaluation import box, model_child, model_files
from model_compression.evaluation.tests.sessions_of_tones import RATE_HZ, arrays_of, band_noise, write_shard
from model_compression.evaluation.tests.test_real_audio import BOX, arguments
from model_compression.signing import signature_of
from model_compression.toml_text import toml_text

FIXTURES = Path(__file__).parents[3] / "firmware" / "tests" / "fixtures"
TINY = FIXTURES / "tiny.bundle"
SECONDS = 8.0
ROUNDED = 0.011  # the box tells confidence and importance to two decimals
SURE_WITHIN = 0.02  # a confidence is 8 s of int8 answers, each of which turns on the last bits of what was played


def test_a_model_is_run_causally_and_its_order_of_channels_does_not_matter() -> None:
    arrays = arrays_of(1, n_channels=5, seconds=3)
    x, m = arrays["x"], arrays["m"]
    order = np.array([3, 0, 4, 1, 2])
    later = x.copy()
    later[100:] = 0
    roles = np.eye(21)[arrays["role"]]
    inputs = [
        {"x": x, "m": m},
        {"x": later, "m": m},
        {"x": x, "m": m, "role_prob": roles},
        {"x": x[:, order], "m": m, "role_prob": roles[order]},
    ]
    whole, changed, told, permuted = model_child.answers(TINY, "f16", inputs)
    assert whole["y"].shape == (150, 5, 44)
    assert whole["role_prob"].shape == (3, 5, 21)
    assert whole["role_prob"].sum(axis=2) == pytest.approx(1.0, abs=1e-5)
    assert np.abs(whole["y"] - changed["y"])[:100].max() == 0, "the future does not change the past"
    assert np.abs(whole["y"] - changed["y"])[100:].max() > 0.1
    assert np.abs(permuted["y"] - told["y"][:, order]).max() < 1e-5


@pytest.mark.soak
def test_the_command_measures_a_model_on_a_data_set(tmp_path: Path) -> None:
    from model_compression.evaluation.command import run_evaluate

    for split in ("train", "test"):
        write_shard(tmp_path / split, [arrays_of(k, n_channels=4, seconds=8) for k in range(3)])
    out = tmp_path / "out"
    run_evaluate(
        arguments("--model", str(TINY), "--data", str(tmp_path), "--out", str(out),
                  "--ablation", f"same={TINY}")
    )  # fmt: skip
    record = json.loads((out / "evaluation.json").read_text())
    names = [figure["name"] for figure in record["figures"]]
    assert "offset_lu MAE, int8" in names
    titles = [table["title"] for table in record["tables"]]
    assert {"By number of channels", "Baselines on the same sessions", "Trained without: same"} <= set(titles)
    assert all((out / plot).stat().st_size > 1000 for plot in record["plots"])


@pytest.fixture(scope="module")
def sure_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny bundle, but sure enough of roles to name them, the mix network's opinion among them."""
    files = unpack(TINY.read_bytes())
    manifest = tomllib.loads(files["model.toml"].decode())
    manifest["evidence"] |= {"temperature": 0.2, "context_share": 0.6, "memory_s": 10.0}
    text = toml_text(manifest).encode()
    path = tmp_path_factory.mktemp("sure") / "sure.bundle"
    path.write_bytes(pack(files | {"model.toml": text, "signature": signature_of(text, FIXTURES / "tiny.key")}))
    return path


@pytest.mark.parametrize("n_channels", [1, 4])
def test_networks_are_run_as_the_box_runs_them(sure_bundle: Path, tmp_path: Path, n_channels: int) -> None:
    """The box with its hands tied, so that its trims stay where features are taken offline; names that say nothing.

    Alone and among others, since the mix network's share in roles hangs on how many are heard.
    """
    time_s = np.arange(int(SECONDS * RATE_HZ))[:, None] / RATE_HZ
    talking, pulse = 0.3 + (time_s % 2.0 < 1.2), np.exp(-8.0 * (time_s % 0.5))
    wide = band_noise(100, 5000, SECONDS, 4)
    stems = [
        band_noise(300, 3000, SECONDS, 1) * talking, band_noise(50, 200, SECONDS, 2, 0.2) * pulse,
        band_noise(1000, 8000, SECONDS, 3, 0.02) * (time_s > 3.0), np.concatenate([wide, wide], axis=1),
    ][-n_channels:]  # fmt: skip
    with box.session_folder(stems, [f"in {k}" for k in range(1, n_channels + 1)], RATE_HZ) as folder:
        line = [*BOX, "render", folder, "--out", tmp_path / "mix.wav", "--json", "--amount", "0"]
        line += ["--model", sure_bundle, "--model-key", FIXTURES / "tiny.pub"]
        done = subprocess.run([str(word) for word in line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["channels"]
    heard = extract(np.concatenate(stems, axis=1), RATE_HZ, [stem.shape[1] == 2 for stem in stems])
    x, m = (np.concatenate([rows[:1], rows[:-1]]) for rows in (heard.x, heard.m))  # answers are a tick late
    (mine,) = model_child.answers(sure_bundle, "int8", [{"x": x, "m": m}])

    logit = model_files.read(sure_bundle).heads("mix")["importance"].read(mine["y"])[1:, :, 0]
    importance = np.zeros(len(stems))
    for row in 1.0 / (1.0 + np.exp(-logit)):  # smoothed over 2 s
        importance += 0.02 / 2.0 * (row - importance)
    assert [channel["importance"] for channel in told] == pytest.approx(importance.tolist(), abs=ROUNDED)
    opinion = mine["role_prob"][-1]
    assert [channel["role"] for channel in told] == [ROLES[k] for k in opinion.argmax(axis=1)]
    assert [channel["role_confidence"] for channel in told] == pytest.approx(
        opinion.max(axis=1).tolist(), abs=SURE_WITHIN
    )


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        model_files.read(tmp_path / "missing.bundle")
    (tmp_path / "model.toml").write_text('[[net]]\nname = "role"\nprecision = "int8"\nfile = "role.tflite"\n')
    with pytest.raises(ModelError, match=r"role\.tflite is missing"):
        model_files.read(tmp_path)
    (tmp_path / "odd.bundle").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="is no bundle"):
        model_files.read(tmp_path / "odd.bundle")
