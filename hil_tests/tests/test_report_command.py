"""``python -m hil_tests report``: what it refuses before it touches a box."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil_tests.__main__ import main
from hil_tests.rig import load_rig

DEAF = """
title = "A box without a card"
driver = "sim"
has = ["power", "shell"]
[sim]
board = "{board}"
"""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--rig", "simm"], 'no rig "simm"; did you mean sim'),
        (["--rig", "./deaf.toml"], 'rig deaf has no "audio_loopback"'),
        (["--rig", "sim", "--limits", "absent.toml"], "absent.toml: no limits can be read"),
    ],
)
def test_a_wrong_wish_is_one_line_and_leaves_no_page(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deaf.toml").write_text(DEAF.format(board=load_rig("sim").path.parent / "boards/sim_box.toml"))
    assert main(["report", *words, "--out", "pages"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert why in said
    assert said.count("\n") == 1
    assert not (tmp_path / "pages").exists()
