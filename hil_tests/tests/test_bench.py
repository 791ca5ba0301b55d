"""A bench as far as it can be tried without wires: relay, serial console and interface are programs of their own."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hil_tests.board import Box, play
from hil_tests.drivers.alsa_link import CLICK_FRAMES, AlsaLink, InterfaceWiring
from hil_tests.drivers.choice import box_of
from hil_tests.drivers.console import printed_by
from hil_tests.errors import HilError
from hil_tests.evidence import evidence_of
from hil_tests.rig import load_rig
from hil_tests.tap import Tap

from .bench_rig import RATE_HZ, Bench, Interface

WIRING = InterfaceWiring(
    interface="interface", n_playback=4, n_capture=4, to_box=(3, 1), from_box={"main_l": 2, "main_r": 1},
    reference=(4, 3),
)  # fmt: skip
CABLES = ("3:2", "1:1", "4:3")  # box input 1 comes out of main_l, input 2 out of main_r; the reference
CODE_LIN = 2.0**-31  # a step of the converter

needs_alsa_utils = pytest.mark.skipif(shutil.which("aplay") is None, reason="alsa-utils is not installed")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


def noise(n_frames: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_frames, 2)).astype(np.float32)


# -------------------------------------------------------------------------------------------------------- relay, shell


def test_board_is_switched_asked_and_shut_down_by_its_wires(bench: Bench) -> None:
    with box_of(load_rig(bench.rig_path)) as box:
        assert bench.log("relay") == ["off"]  # whatever it was before
        box.power_on()
        box.wait_until_up(30.0)
        assert box.run("echo $((6 * 7))") == "42\n"
        with pytest.raises(HilError, match=r"false: status 1"):
            box.run("false")
        box.put(b"x = 1\n" * 1000, "/data/evenhand/scenes/my scene.toml")
        assert box.get("/data/evenhand/scenes/my scene.toml") == b"x = 1\n" * 1000
        box.configure(EVENHAND_CONTROL_OPTIONS="--amount 0")
        box.configure(EVENHAND_HEALTH_SECONDS="10")
        settings = (bench.folder / "data/settings/box.env").read_text()
        assert settings == "EVENHAND_CONTROL_OPTIONS=--amount 0\nEVENHAND_HEALTH_SECONDS=10\n"
        box.start("engine", "control")
        both = "evenhand-engine evenhand-control"
        assert bench.log("systemctl")[-2:] == [f"restart {both}", f"is-active {both}"]
        box.start("recorder")  # which is off unless the settings say otherwise
        assert "EVENHAND_RECORDER=on\n" in (bench.folder / "data/settings/box.env").read_text()
        box.faults.begin("control_killed")
        show = "show --property=MainPID --value evenhand-control"  # until another process is its main one
        assert bench.log("systemctl")[-3:] == [show, "kill -s SIGKILL evenhand-control", show]
        box.faults.begin("clock_jump_s", 3600)
        box.faults.end("clock_jump_s")
        forth, back = (int(words.removeprefix("-s @")) for words in bench.log("date"))
        assert 3590 <= forth - time.time() <= 3600
        assert -3610 <= back - time.time() <= -3600, "as if the clock had been set"
        box.power_off()
        assert bench.log("relay") == ["off", "on", "off"]
    assert bench.log("relay")[-1] == "off"


@pytest.mark.parametrize(
    "said",
    [
        "uname; echo end-7:$?:\r\nLinux\r\n",
        "uname; echo end-7:$?:\r\nroot@evenhand:~# Linux\r\n",
        "unroot@evenhand:~# ame; echo end-7:$?:\r\nLinux\r\n",
        "root@evenhand:~# uname; echo end-7:$?root@evenhand:~# :\r\nLinux\r\n",
    ],
)
def test_what_a_command_printed_is_told_from_its_echo_and_from_a_prompt_that_comes_late(said: str) -> None:
    assert printed_by(said, "end-7", "root@evenhand:~# ") == "Linux\n"


def test_board_is_as_new_again_after_a_test_that_changed_it(bench: Bench) -> None:
    with box_of(load_rig(bench.rig_path)) as box:
        box.power_on()
        box.wait_until_up(30.0)
        assert box.is_as_new
        box.put(b"", "/data/evenhand/scenes/left.toml")
        assert not box.is_as_new
        box.renew()
        assert box.is_as_new
        assert not list((bench.folder / "data/evenhand/scenes").iterdir())


def test_power_cut_ends_the_board_at_once_and_the_next_start_is_a_new_one(bench: Bench) -> None:
    with box_of(load_rig(bench.rig_path)) as box:
        for _ in range(2):
            box.power_on()
            box.wait_until_up(30.0)
            assert box.serial.wait_for("", 1.0) == ""
            box.cut_power()
            with pytest.raises(HilError, match=r"no .* within 0 s"):
                box.run("true", 0.3)


def test_board_that_does_not_boot_is_told_with_its_last_words(bench: Bench) -> None:
    (bench.folder / "relay").write_text("#!/bin/sh\nexit 0\n")
    with box_of(load_rig(bench.rig_path)) as box:
        box.power_on()
        with pytest.raises(HilError, match="within 0 s; it said: nothing"):
            box.wait_until_up(0.3)


def test_what_came_over_the_serial_line_is_evidence_as_text_without_what_only_a_terminal_heeds(bench: Bench) -> None:
    with box_of(load_rig(bench.rig_path)) as box:
        box.power_on()
        box.wait_until_up(30.0)
        box.run(r"printf 'a \033[1;31mred\033[0m word\a\n'")
        (line,) = [piece["text"] for piece in evidence_of(box) if piece["title"] == "the serial line"]
    assert line.startswith("Linux version 6.1\nevenhand login: root (automatic login)\nroot@evenhand:~# "), line
    assert "\na red word\n" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("/relay\", \"off\"", "/absent\", \"off\""), "absent: No such file"),
        (("exit 0", "exit 3"), "relay off: status 3"),
        (("/laptop\"", "/elsewhere\""), "cannot be opened"),
        (("to_box = [3, 1]", "to_box = [3, 5]"), "to_box names a channel outside 1 to 4"),
        (("to_box = [3, 1]", "to_box = [3, 4]"), "output 4 of the interface has two cables"),
        (("main_r = 1", "main_r = 2"), "input 2 of the interface has two cables"),
        (('board = "raspberry_pi_4"', 'board = "sim"'), "to_box: 2 cables, sim has 0 inputs"),
        (("main_r", "mian_r"), 'unknown key "mian_r"; did you mean main_r'),
        (("power_on = [", "power_on = [1, "), "power_on must be a command as a list of words"),
        (('"shell"', '"shell", "network"'), 'has "network", so it needs address and pairing_code'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_bench_is_one_line(change: tuple[str, str], words: str, bench: Bench) -> None:
    for path in (bench.rig_path, bench.folder / "relay"):
        path.write_text(path.read_text().replace(*change))
    with pytest.raises(HilError, match=re.escape(words)) as caught:
        box_of(load_rig(bench.rig_path)).__enter__()
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------------- sound


@needs_alsa_utils
def test_sound_over_cables_comes_back_in_its_own_frame_and_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    sound = noise(2 * CLICK_FRAMES + 777, seed=1)
    with Interface(tmp_path, CABLES):
        port = AlsaLink(WIRING, RATE_HZ)
        heard = play(port, sound, tail_frames=100)
        again = play(port, sound[:4800])
    assert np.abs(heard.sound[: len(sound)] - sound).max() <= 2 * CODE_LIN
    assert not heard.sound[len(sound) :].any()
    assert (heard.first_frame, again.first_frame) == (0, len(sound) + 100)
    assert np.abs(again.sound - sound[:4800]).max() <= 2 * CODE_LIN


@needs_alsa_utils
def test_stream_of_many_blocks_is_one_recording_also_through_the_tap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    sound = noise(CLICK_FRAMES, seed=4)
    with Interface(tmp_path, CABLES) as interface:
        port = Tap(AlsaLink(WIRING, RATE_HZ))
        pieces = [part.sound for part in port.stream(np.split(sound, 10))]
        n_opens = interface.ask(do="report")["card"]["playback"]["n_opens"]
    assert n_opens == 1
    assert np.abs(np.concatenate(pieces) - sound).max() <= 2 * CODE_LIN
    played, heard = port.last()
    assert np.array_equal(played, sound)
    assert np.array_equal(heard, np.concatenate(pieces))


@needs_alsa_utils
def test_frames_that_an_interface_loses_are_its_own_fault_and_not_the_boxs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    with Interface(tmp_path, CABLES) as interface:

        def blocks() -> Iterator[NDArray[np.float32]]:
            yield from np.split(noise(2 * CLICK_FRAMES, seed=2), 10)
            interface.ask(do="fault", kind="capture_xrun", amount=1)
            yield from np.split(noise(2 * CLICK_FRAMES, seed=3), 10)

        with pytest.raises(HilError, match="the interface lost frames"):
            list(AlsaLink(WIRING, RATE_HZ).stream(blocks()))


@needs_alsa_utils
@pytest.mark.parametrize(
    ("cables", "interface", "words"),
    [(CABLES[:2], "interface", "no click of the reference came back; is there a cable from its output 4 to its input"),
     (CABLES, "nobody", "nobody: arecord ended: ")],
    ids=["no cable", "no interface"],
)  # fmt: skip
def test_missing_cable_and_missing_interface_are_told_apart(
    cables: tuple[str, ...], interface: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    wiring = InterfaceWiring(**{**vars(WIRING), "interface": interface})
    silence = np.zeros((20 * CLICK_FRAMES, 2), np.float32)
    with Interface(tmp_path, cables), pytest.raises(HilError, match=re.escape(words)):
        play(AlsaLink(wiring, RATE_HZ), silence)


def test_bench_has_the_face_of_every_rig(bench: Bench) -> None:
    box: Box = box_of(load_rig(bench.rig_path))
    assert box.board.name == "raspberry_pi_4"
