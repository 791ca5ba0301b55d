"""A render with a model: the same bits twice, and everything told; a wrong bundle is one line and no output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from firmware.__main__ import main
from firmware.inference import inline
from firmware.render import render
from firmware.render_job import RenderJob
from firmware.tests.tiny_bundle import PUBLIC, tiny_data, write_tiny

RATE_HZ = 48000
SECONDS = 12


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    random = np.random.default_rng(5)
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    pulse = np.exp(-8.0 * (time_s % 0.5))
    soundfile.write(folder / "kick.wav", 0.5 * pulse * np.sin(2 * np.pi * 60 * time_s), RATE_HZ)
    voice = 0.1 * np.sign(np.sin(2 * np.pi * 180 * time_s)) * (1 + np.sin(2 * np.pi * 4 * time_s))
    soundfile.write(folder / "vocal.wav", voice, RATE_HZ)
    soundfile.write(folder / "gtr.wav", 0.1 * np.sin(2 * np.pi * 440 * time_s) * (time_s % 1.0), RATE_HZ)
    soundfile.write(folder / "in 4.wav", random.normal(0.0, 0.03, len(time_s)) * pulse, RATE_HZ)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("bundle"))


def mixed(session: Path, folder: Path, **options: Any) -> tuple[dict[str, Any], bytes, list[dict[str, Any]]]:
    job = RenderJob(
        session=session, out=folder / "mix.wav", decisions=folder / "d.jsonl", model_keys=(PUBLIC,), **options
    )
    record = render(job).as_record()
    lines = [json.loads(line) for line in (folder / "d.jsonl").read_text().splitlines()]
    return record, job.out.read_bytes(), lines


@pytest.fixture(scope="module")
def with_model(session: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, bytes, list[dict]]:
    return mixed(session, tmp_path_factory.mktemp("with"), model=str(bundle))


def test_a_render_with_a_model_repeats_to_the_bit(
    session: Path, bundle: Path, with_model: tuple[dict, bytes, list[dict]], tmp_path: Path
) -> None:
    _, first, lines = with_model
    _, second, again = mixed(session, tmp_path, model=str(bundle))
    assert first == second
    assert lines == again


def test_the_json_and_the_lines_tell_the_model_and_its_part(with_model: tuple[dict, bytes, list[dict]]) -> None:
    record, _, lines = with_model
    assert record["model"] == "tiny 1"
    assert all(0.0 <= channel["importance"] <= 1.0 for channel in record["channels"])
    told = [line for line in lines if "sigma" in line["evidence"]]
    assert told
    assert any("model +" in line["cause"] or "model -" in line["cause"] for line in told)
    assert any(line["cause"].endswith(")") for line in told), "no line says why the model wants it"
    assert {line["source"] for line in lines} <= {"rules", "model", "safety"}


def test_the_page_shows_what_the_model_heard(session: Path, bundle: Path, tmp_path: Path) -> None:
    mixed(session, tmp_path, model=str(bundle), report=tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    for words in ("model tiny 1", "What the model heard", "Genre", "Section", "Key", "matters "):
        assert words in text


def test_without_a_model_nothing_of_it_is_told(session: Path, tmp_path: Path) -> None:
    record, _, lines = mixed(session, tmp_path, model="none")
    assert record["model"] == "none"
    assert all("importance" not in channel for channel in record["channels"])
    assert not any("sigma" in line["evidence"] for line in lines)


@pytest.mark.parametrize("style", ["upfront", "spacious"])
def test_another_style_is_another_mix(
    session: Path, bundle: Path, with_model: tuple[dict, bytes, list[dict]], tmp_path: Path, style: str
) -> None:
    assert mixed(session, tmp_path, model=str(bundle), style=style)[1] != with_model[1]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[:5000], "is no bundle, or damaged"),
        (lambda data: data.replace(b"tick_ms = 20", b"tick_ms = 10"), "damaged"),
        (lambda _data: tiny_data(**{r'contract_id = "\w+"': 'contract_id = "ffff"'}), "was made for contract ffff"),
    ],
)
def test_a_wrong_bundle_ends_a_render_in_one_line(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, reason: str
) -> None:
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(spoil(tiny_data()))
    out = tmp_path / "mix.wav"
    arguments = ["render", session, "--out", out, "--model", bad, "--model-key", PUBLIC]
    assert main([str(a) for a in arguments]) == 1
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_bundle_by_a_stranger_needs_his_key(
    session: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(session), "--out", str(tmp_path / "m.wav"), "--model", str(bundle)]) == 1
    assert "--model-key" in capsys.readouterr().err


def test_a_shipped_bundle_that_is_spoilt_leaves_the_rules_alone_with_a_note(
    session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "shipped.bundle"
    bad.write_bytes(tiny_data()[:-1])
    monkeypatch.setattr(inline, "SHIPPED", bad)
    result = render(RenderJob(session=session, out=tmp_path / "mix.wav", model="shipped"))
    assert result.model == "none"
    assert any("the rules decided alone" in note for note in result.notes)


def test_the_mix_does_not_overwrite_the_bundle_it_is_made_with(
    session: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "model.wav"
    copy.write_bytes(bundle.read_bytes())
    arguments = ["render", str(session), "--out", str(copy), "--model", str(copy), "--model-key", str(PUBLIC)]
    assert main(arguments) == 1
    assert "would be overwritten" in capsys.readouterr().err
