"""The command evenhand-model data: what it refuses, in one line, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_compression.__main__ import main


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_help_shows_a_worked_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["data", "--help"])
    assert done.value.code == 0
    assert "evenhand-model data mini --out out/data/mini" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["data"], ["data", "mini", "--workers", "0"], ["data", "mini", "--split", "x"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2


def test_an_unknown_recipe_is_refused_with_near_misses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean mini" in refusal(["data", "minni", "--out", str(tmp_path / "set")], capsys)
    assert not (tmp_path / "set").exists()


def test_a_bad_recipe_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[data]\nsede = 1\n")
    said = refusal(["data", str(recipe), "--out", str(tmp_path / "set")], capsys)
    assert "data.sede is not known; did you mean seed" in said
    assert not (tmp_path / "set").exists()
