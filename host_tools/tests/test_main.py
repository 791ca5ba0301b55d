"""The command evenhand: what it says of itself, and that it starts on any laptop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dsp_kernels.contract.schema import load
from host_tools.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
# What Windows does not have, what needs a compiler, and what only one verb needs.
NOT_AT_START = (
    "fcntl", "termios", "pty", "grp", "pwd", "resource", "numpy", "cffi", "cryptography", "zeroconf", "serial",
    "firmware",
)  # fmt: skip


def test_version_names_the_contract_of_the_toml_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip().endswith(f"contract {load().contract_id}")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.NAME)
def test_every_verb_shows_a_worked_example(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert f"  {command.NAME} " in capsys.readouterr().out
    if command.NAME == "image":  # its words are those of the builder
        return
    assert main([command.NAME, "--help"]) == 0
    assert f"example: evenhand {command.NAME}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--no-such-thing"], ["no-such-verb"], ["status", "--no-such-thing"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "Usage: evenhand" in said.out + said.err


def test_it_starts_without_what_a_laptop_may_not_have() -> None:
    script = f"""
import sys
for name in {NOT_AT_START}:
    sys.modules[name] = None
import host_tools.__main__
sys.exit(host_tools.__main__.main(["--help"]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
