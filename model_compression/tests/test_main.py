"""The command evenhand-model: what it says of itself."""

from __future__ import annotations

import sys

import pytest

from dsp_kernels.contract.schema import load
from model_compression.__main__ import main


def test_version_names_the_contract_of_the_toml_files(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out.strip().endswith(f"contract {load().contract_id}")


def test_help_shows_a_worked_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "example: evenhand-model " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--no-such-thing"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        sys.exit(main(arguments))
    assert done.value.code == 2
    assert "usage: evenhand-model" in capsys.readouterr().err
