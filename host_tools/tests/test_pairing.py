"""Pairing: who knows the code is let in, nobody else is, and both sides are sure of each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tools.boxes import Boxes
from host_tools.device import Device, pair, split_address
from host_tools.errors import BoxAbsentError, HostError, RefusedError
from host_tools.tests.box_rig import CODE, FakeBox
from host_tools.tests.terminal import Laptop


def test_a_person_pairs_with_the_code_of_the_box_and_then_sees_how_it_is(laptop: Laptop, box: FakeBox) -> None:
    with laptop.at_terminal("pair", f"127.0.0.1:{box.port}") as terminal:
        terminal.expect("pairing code")
        terminal.type(CODE.lower().replace("0", "o"))  # as people type it
        terminal.expect("stage (sim")
        assert terminal.end() == 0
    kept = laptop.config / "boxes.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert CODE not in kept.read_text()
    done = laptop.run("status", "--json")
    assert done.status == 0, done
    (status,) = json.loads(done.out)["boxes"]
    assert (status["name"], status["version"], status["board"]) == ("stage", "0.1.0", "sim")
    assert laptop.run("pair", "stage", "--forget").status == 0
    assert "paired with this laptop" in laptop.run("status").err


def test_a_code_is_good_once_and_a_paired_laptop_shows_the_next(box: FakeBox) -> None:
    first = box.pair("first")
    with pytest.raises(RefusedError, match="wrong pairing code"):
        pair("127.0.0.1", box.port, CODE, "second")
    with Device.of(first) as device:
        told = device.get("pair")
    second = pair("127.0.0.1", box.port, told["code"], "second")
    with Device.of(second) as device:
        assert device.get("pair")["paired"] == ["first", "second"]


@pytest.mark.soak
def test_five_wrong_codes_in_a_row_close_the_door_for_a_minute(box: FakeBox) -> None:
    for _ in range(5):
        with pytest.raises(RefusedError, match="wrong pairing code"):
            pair("127.0.0.1", box.port, "0000-0000", "thief")
    with pytest.raises(RefusedError, match="5 wrong codes in a row; try again in") as refused:
        pair("127.0.0.1", box.port, CODE, "owner in haste")
    assert refused.value.status == 429


def test_a_wrong_token_opens_nothing_and_a_forgotten_one_no_longer(box: FakeBox) -> None:
    known = box.pair()
    for token in ("", "x", known.token[:-1], known.token + "x"):
        with Device("127.0.0.1", box.port, known.fingerprint, token) as device:
            for path in ("status", "pair", "backup", "scenes", "no-such-thing"):
                with pytest.raises(RefusedError, match="pair with it first") as refused:
                    device.get(path)
                assert refused.value.status == 401
            assert device.get("hello")["name"] == "stage"
    with Device.of(known) as device:
        device.send("DELETE", "pair")
        with pytest.raises(RefusedError, match="pair with it first"):
            device.get("status")


def test_tokens_outlive_a_power_cut_and_are_not_kept_as_they_are(box: FakeBox) -> None:
    known = box.pair()
    assert known.token not in (box.home / "tokens.json").read_text()
    assert (box.home / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert (box.home / "box.key").stat().st_mode & 0o777 == 0o600
    box.kill()
    with Device.of(known) as device:
        assert device.get("status")["id"] == known.box_id


def test_another_certificate_at_the_same_address_is_not_talked_to(tmp_path: Path, box: FakeBox) -> None:
    known = box.pair()
    with (
        FakeBox(tmp_path / "other") as other,
        Device("127.0.0.1", other.port, known.fingerprint, known.token) as device,
        pytest.raises(HostError, match="another certificate than when it was paired"),
    ):
        device.get("status")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("no-such-box.invalid", "no such host"),
        ("127.0.0.1:1", "Connection refused"),
        ("127.0.0.1:port", "is no address"),
        ("127.0.0.1:99999", "is no address"),
    ],
)
def test_a_wrong_address_is_one_line(laptop: Laptop, address: str, said: str) -> None:
    done = laptop.run("pair", address, "--code", CODE)
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not laptop.config.exists()


def test_an_address_is_read_as_people_write_it() -> None:
    assert split_address("box.local") == ("box.local", 4717)
    assert split_address("10.0.0.5:99") == ("10.0.0.5", 99)
    assert split_address("[fe80::1]:99") == ("fe80::1", 99)
    assert split_address("fe80::1") == ("fe80::1", 4717)


def test_which_box_is_meant_is_asked_where_it_is_not_clear(tmp_path: Path) -> None:
    boxes = Boxes(tmp_path)
    with pytest.raises(HostError, match="no box is paired"):
        boxes.find([])
    from host_tools.boxes import PairedBox

    made = [
        PairedBox(box_id=f"0{n}", name=name, board="sim", host=f"10.0.0.{n}", port=1, fingerprint="", token="")
        for n, name in enumerate(("stage", "foyer", "foyer"))
    ]
    for one in made:
        boxes.keep(one)
    assert Boxes(tmp_path).find(["10.0.0.0", "stage", "00"]) == [made[0]]
    for words, said in ((["stag"], "did you mean stage"), (["foyer"], "2 boxes are called so"), ([], "which box")):
        with pytest.raises(HostError, match=said):
            boxes.find(words)
    assert len(boxes.find([], is_all=True)) == 3


def test_settings_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text('{"boxes": [{}]}')
    with pytest.raises(HostError, match="cannot be read; move it away"):
        Boxes(tmp_path)


def test_an_absent_box_is_absent_and_not_wrong(tmp_path: Path) -> None:
    with Device("127.0.0.1", 1, "0" * 64) as device, pytest.raises(BoxAbsentError):
        device.get("hello")
