"""``evenhand-box devices`` tells what is plugged in, and is honest where nothing is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from board_configs.board import board_names, load_board
from firmware.__main__ import main
from firmware.devices_command import survey

from .sound import install_alsa, write_cards


@pytest.fixture(scope="module", autouse=True)
def alsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALSA_CONFIG_PATH", install_alsa(tmp_path_factory.mktemp("alsa")))
        yield


def misfits(root: Path, machine: str) -> dict[str, str | None]:
    record = survey([load_board(name) for name in board_names()], root=root, machine=machine)
    return {board["name"]: board["misfit"] for board in record["boards"]}


def test_a_card_is_told_with_its_stable_ids_and_what_it_offers(tmp_path: Path) -> None:
    record = survey([], root=write_cards(tmp_path), machine="aarch64")
    hdmi, usb = record["cards"]
    assert (usb["id"], usb["usb"], usb["driver"]) == ("USB", "1235:821d", "USB-Audio")
    (pcm,) = usb["pcms"]
    assert pcm["pcm"] == "hw:CARD=USB,DEV=0"
    assert pcm["capture"] == {
        "error": None, "formats": ("S32_LE", "S24_3LE"), "sample_rates_hz": (48000, 96000), "n_channels": (8,),
    }  # fmt: skip
    assert pcm["playback"]["n_channels"] == (4,)
    assert hdmi["pcms"][0]["capture"] is None


def test_each_board_fits_or_says_why_not(tmp_path: Path) -> None:
    told = misfits(write_cards(tmp_path), "aarch64")
    assert told["sim"] is None
    assert told["raspberry_pi_4"] == "n_capture = 20 is not offered by hw:CARD=USB,DEV=0; it offers 8"
    assert told["jetson_orin_nano"].startswith('card scarlett: no card matches usb = "1235:8215"; this machine has: ')
    assert misfits(tmp_path, "x86_64")["raspberry_pi_4"] == "is for aarch64; this machine is x86_64"


def test_a_board_whose_card_offers_all_it_asks_fits(tmp_path: Path) -> None:
    text = load_board("raspberry_pi_4").path.read_text()
    for old, new in (("n_capture = 20", "n_capture = 8"), ("n_playback = 24", "n_playback = 4")):
        text = text.replace(old, new)
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith('  { name = "'))
    (tmp_path / "venue.toml").write_text(text)
    (board,) = survey([load_board(tmp_path / "venue.toml")], root=write_cards(tmp_path), machine="aarch64")["boards"]
    assert board["misfit"] is None


def test_the_command_prints_one_object_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(record) == {"machine", "cards", "boards", "health", "complaints"}
    assert {b["name"] for b in record["boards"]} == set(board_names())


def test_the_command_tells_people_of_every_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in board_names())
    assert "  sim               fits\n" in out
    if not Path("/proc/asound/cards").exists():
        assert out.startswith("no sound card on this machine\n")


def test_an_unknown_board_fails_with_near_misses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--board", "simm"]) == 1
    assert capsys.readouterr().err.startswith('error: no board "simm"; did you mean sim or sim_preamps?')
