"""``python -m hil_tests report``: what it refuses before it touches a box."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil_tests.__main__ import main
from hil_tests.acceptance import SETTLE_S, aux_outputs, straight_scene
from hil_tests.audio_probe import AudioProbe
from hil_tests.drivers.sim_box import SimBox
from hil_tests.rig import load_rig
from hil_tests.scene import stand_still

DEAF = """
title = "A box without a card"
driver = "sim"
has = ["power", "shell"]
[sim]
board = "{board}"
"""


def test_a_box_with_fewer_outputs_than_the_mixer_has_buses_is_measured_at_those(tmp_path: Path) -> None:
    sim = load_rig("sim").path.parent
    board = (sim / "boards/sim_box.toml").read_text().replace("n_playback = 12 ", "n_playback = 8 ")
    (tmp_path / "small_box.toml").write_text(board)
    (tmp_path / "small.toml").write_text(
        DEAF.replace("power", 'audio_loopback", "power').format(board="small_box.toml")
    )
    with SimBox(load_rig(str(tmp_path / "small.toml"))) as box:
        box.power_on()
        box.wait_until_up()
        stand_still(box, straight_scene(box.audio))
        box.pass_time(SETTLE_S)
        auxes = aux_outputs(box.audio)
        assert auxes == ("aux_1", "aux_2", "aux_3", "aux_4")
        expected = tuple((ch % 4,) for ch in range(8))
        assert AudioProbe(box.audio).channel_map(auxes, expected).inputs == expected


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
