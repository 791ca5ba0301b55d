"""The process that holds the preamps: it does what control asks, tells what others turned, and survives its card."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from board_configs.board import load_board
from firmware.preamp_messages import Mailbox, PreampStatus, PreampWish, Setting, packed, status_of
from firmware.system.alsa_config import write_alsa_config
from firmware.system.virtual_controls import VirtualControl, VirtualControls, controls_of

CTL = "evenhand_test"
PATIENCE_S = 30.0
BOARD = load_board("sim_preamps")


class Desk:
    """The other end of the process, in a test."""

    def __init__(self, folder: Path) -> None:
        self.box, self.peer = Mailbox(folder / "control.socket"), folder / "preamps.socket"
        self.folder = folder
        config = write_alsa_config(folder, {}, {CTL: folder / "panel"})
        command = [sys.executable, "-m", "firmware.preamp_process", "--board", "sim_preamps", "--ctl", CTL]
        command += ["--socket", str(self.peer), "--control", str(self.box.path), "--parent", str(os.getpid())]
        environment = {**os.environ, "ALSA_CONFIG_PATH": str(config)}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def until(self, what: Callable[[PreampStatus], object], wish: PreampWish | None = None) -> PreampStatus:
        """Wait for a status that fits; ask meanwhile, as control does."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            if wish is not None:
                self.box.send(self.peer, packed(wish))
            for message in self.box.messages():
                status = status_of(message)
                assert status is not None, "the process sends what nobody reads"
                if what(status):
                    return status
            time.sleep(0.01)
        raise AssertionError("waited in vain")

    def end(self) -> str:
        self.process.terminate()
        with self.process, self.box:
            said = self.process.communicate(timeout=PATIENCE_S)[1]
        assert self.process.returncode == 0, said
        assert not self.peer.exists(), "its socket is left behind"
        return said


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[VirtualControls]:
    with VirtualControls(tmp_path / "panel", controls_of(BOARD.preamps)) as panel:
        yield panel


def test_it_does_what_it_is_asked_once_and_says_what_came_of_it(tmp_path: Path, panel: VirtualControls) -> None:
    desk = Desk(tmp_path)
    first = desk.until(lambda s: s.readings)
    assert [(r.channel, r.gain_db, r.is_phantom_on) for r in first.readings[:2]] == [(1, 0.0, False), (2, 0.0, False)]
    settings = (
        Setting(card="virtual", channel=2, field="gain_db", value=31.0),
        Setting(card="virtual", channel=3, field="is_phantom_on", value=1.0),
        Setting(card="nowhere", channel=1, field="gain_db", value=3.0),
    )
    done = desk.until(lambda s: s.done == 1, PreampWish(boot=first.boot, heard=0, number=1, settings=settings))
    assert (done.readings[1].gain_db, done.readings[2].is_phantom_on, done.hands) == (31.0, True, ())
    assert (panel.get("Mic 2 Gain"), panel.get("Mic 3 Phantom")) == (31, 1)
    assert desk.end() == "preamps: channel 1 of card nowhere has no preamp that the box can set\n"


def test_a_hand_is_told_until_control_has_heard_of_it(tmp_path: Path, panel: VirtualControls) -> None:
    desk = Desk(tmp_path)
    boot = desk.until(lambda s: s.readings).boot
    panel.turn("Mic 1 Gain", 17)
    (hand,) = desk.until(lambda s: s.hands).hands
    assert (hand.number, hand.channel, hand.field, hand.before, hand.after) == (1, 1, "gain_db", 0.0, 17.0)
    assert desk.until(lambda s: True).hands == (hand,)
    desk.until(lambda s: not s.hands, PreampWish(boot=boot, heard=1))
    desk.until(lambda s: True, PreampWish(boot=boot + 1, heard=9))  # of another process: says nothing about this one
    panel.turn("Mic 1 Gain", 18)
    assert [h.number for h in desk.until(lambda s: s.hands).hands] == [2]
    assert desk.end() == ""


def test_a_missing_control_costs_one_line_and_nothing_else(tmp_path: Path) -> None:
    names = [VirtualControl(name="Mic 1 Volume", min_db=0, max_db=60)]
    with VirtualControls(tmp_path / "panel", names):
        desk = Desk(tmp_path)
        assert desk.until(lambda s: True).readings == ()
        said = desk.end()
    assert said.count("\n") == 1, said
    assert 'control "Mic 1 Gain": the card has no such control; did you mean Mic 1 Volume' in said
    assert said.endswith("; digital gain does it all\n")


def test_a_card_that_comes_back_is_taken_again(tmp_path: Path, panel: VirtualControls) -> None:
    desk = Desk(tmp_path)
    desk.until(lambda s: s.readings)
    panel.plug(is_in=False)
    desk.until(lambda s: not s.readings)
    panel.plug(is_in=True)
    desk.until(lambda s: s.readings)
    said = desk.end().splitlines()
    assert len(said) == 2, said
    assert "the card is gone" in said[0]
    assert said[1] == "preamps: the preamps are back"
