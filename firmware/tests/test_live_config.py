"""Which lane is which channel of which card: what a board may ask for, and what is refused in words."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from board_configs.board import Board, load_board
from firmware.errors import EvenhandError
from firmware.live_config import OUTPUT_NAMES, live_config, second_card
from firmware.live_extension import live_extension
from firmware.mixer_setup import read_setup, setup_of_board, write_setup
from firmware.tests.live_rig import started, wait_for
from firmware.tests.two_card_rig import TwoCardRig, sends_only, tone

BOARD = """\
title = "Two cards"
machine = "any"
[audio]
sample_rate_hz = 48000
period_frames = 64
n_periods = 2
[[card]]
key = "stage"
pcm = "hw:CARD=Stage"
n_capture = 8
n_playback = 4
[[card]]
key = "spot"
pcm = "hw:CARD=Spot"
role = "secondary"
n_capture = 2
n_playback = 2
[[card]]
key = "idle"
pcm = "hw:CARD=Idle"
role = "secondary"
n_capture = 2
n_playback = 2
[budget]
max_round_trip_frames = 176
min_served_percent = 98.0
max_wake_p999_us = 1200.0
"""
INPUTS = """
[[input]]
strip = 1
channel = 3
[[input]]
strip = 2
card = "spot"
channel = 1
is_stereo = true
[[input]]
strip = 3
channel = 8
"""
OUTPUTS = """
[[output]]
name = "main_l"
channel = 1
[[output]]
name = "aux_2"
channel = 2
[[output]]
name = "aux_2"
channel = 4
[[output]]
name = "aux_2"
card = "spot"
channel = 2
"""


def board_of(folder: Path, more: str = INPUTS + OUTPUTS, text: str = BOARD) -> Board:
    path = folder / "board.toml"
    path.write_text(text + more)
    return load_board(path)


def options(**changes: Any) -> argparse.Namespace:
    settings = {"pcm": None, "secondary_pcm": None, "card_timeout_ms": 500, "secondary_slack_ms": 10, "priority": 80}
    return argparse.Namespace(**{**settings, "wait_for_card": False, **changes})


def config_of(board: Board, **changes: Any) -> Any:
    ffi, lib = live_extension()
    return live_config(ffi, lib, board, setup_of_board(board), options(**changes), is_memory_locked=False)


def test_each_card_gets_the_lanes_and_outputs_that_the_board_maps_to_it(tmp_path: Path) -> None:
    config = config_of(board_of(tmp_path))
    main, second = config.card, config.secondary
    assert main.n_capture_lanes == second.n_capture_lanes == 4
    assert list(main.capture_channel)[:4] == [2, -1, -1, 7]
    assert list(second.capture_channel)[:4] == [-1, 0, 1, -1]
    main_l, aux_2 = OUTPUT_NAMES.index("main_l"), OUTPUT_NAMES.index("aux_2")
    assert list(main.playback_output)[:4] == [main_l, aux_2, -1, aux_2]
    assert list(second.playback_output)[:2] == [-1, aux_2]
    assert (main.n_capture, main.n_playback, second.n_capture, second.n_playback) == (8, 4, 2, 2)
    ffi, _ = live_extension()
    assert [ffi.string(c.capture_pcm) for c in (main, second)] == [b"hw:CARD=Stage", b"hw:CARD=Spot"]


def test_a_secondary_card_that_nothing_needs_stays_closed(tmp_path: Path) -> None:
    config = config_of(
        board_of(tmp_path, '[[input]]\nstrip = 1\nchannel = 1\n[[output]]\nname = "main_l"\nchannel = 1\n')
    )
    assert (config.secondary.n_capture, config.secondary.n_playback) == (0, 0)


def test_another_name_may_be_given_to_either_card(tmp_path: Path) -> None:
    config = config_of(board_of(tmp_path), pcm="one", secondary_pcm="two")
    ffi, _ = live_extension()
    assert [ffi.string(c.playback_pcm) for c in (config.card, config.secondary)] == [b"one", b"two"]


def test_a_set_up_keeps_the_card_of_each_strip_and_one_without_any_is_the_main_cards(tmp_path: Path) -> None:
    setup, path = setup_of_board(board_of(tmp_path)), tmp_path / "mixer.json"
    write_setup(setup, path)
    assert read_setup(path) == setup
    assert [strip.card for strip in setup.strips] == [None, "spot", None]
    record = json.loads(path.read_text())
    for strip in record["strips"]:
        del strip["card"]
    path.write_text(json.dumps(record))
    assert [strip.card for strip in read_setup(path).strips] == [None, None, None]


def test_a_card_that_is_no_word_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mixer.json"
    write_setup(setup_of_board(board_of(tmp_path)), path)
    path.write_text(path.read_text().replace('"spot"', "3"))
    with pytest.raises(EvenhandError, match="no mixer set-up"):
        read_setup(path)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (INPUTS + OUTPUTS.replace('aux_2"\nchannel = 4', 'aux_2"\ncard = "idle"\nchannel = 1'), "spot and idle"),
        (INPUTS.replace("card", "# card").replace("is_stereo", "# is_stereo"), "nothing is mapped"),
    ],
    ids=["two-cards", "no-second"],
)
def test_what_one_second_card_cannot_do_is_refused_in_words(tmp_path: Path, more: str, words: str) -> None:
    with pytest.raises(EvenhandError, match=words):
        config_of(board_of(tmp_path, more), secondary_pcm="other")


def test_a_strip_of_a_card_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    setup = setup_of_board(board_of(tmp_path))
    with pytest.raises(EvenhandError, match=r'strip "In 2" wants card "spot"; the board has virtual'):
        second_card(load_board("sim"), setup)


def test_a_second_card_does_not_take_its_channels_from_a_session(tmp_path: Path) -> None:
    board = board_of(tmp_path, text=BOARD.replace("n_capture = 2", 'n_capture = "session"', 1))
    with pytest.raises(EvenhandError, match="takes its channels from a session"):
        config_of(board)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("capture_channel", (1, 2), r"lane 2 wants input 3; the card has 2"),
        ("capture_channel", (0, 0), r"lane 1 is fed by two cards"),
        ("playback_output", (1, 12), r"output 2 is fed by bus 13; there are 12"),
        ("sample_rate_hz", 22000, r"cards at 22000 and 48000 Hz"),
        ("period_frames", 256, r"periods of 256 frames"),
        ("n_capture_lanes", 3, r"3 lanes of the mixer's 4"),
    ],
    ids=str,
)
def test_the_engine_refuses_a_second_card_that_cannot_be(tmp_path: Path, field: str, value: Any, words: str) -> None:
    ffi, lib = live_extension()
    config = config_of(board_of(tmp_path))
    if isinstance(value, tuple):
        getattr(config.secondary, field)[value[0]] = value[1]
    else:
        setattr(config.secondary, field, value)
    shape = ffi.new("eh_engine_config *", {"sample_rate_hz": 48000, "n_channels": 4, "n_capture_lanes": 4})
    hold, why = ffi.new("eh_segment_hold *"), ffi.new("char[256]")
    assert lib.eh_segment_open(hold, os.fsencode(tmp_path / "segment"), lib.EH_SIDE_ENGINE, shape) == lib.EH_HOLD_OK
    try:
        assert lib.eh_live_start(config, hold, ffi.NULL, why) == ffi.NULL
    finally:
        lib.eh_segment_close(hold)
    assert re.search(words, ffi.string(why).decode())


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        ({"sample_rate_hz": 44100}, r"\(capture\): does not run at 48000 Hz; it offers 44100"),
        ({"formats": ["S16_LE"]}, r"offers no sample format of the board; it offers S16_LE"),
    ],
    ids=str,
)
def test_a_second_card_that_is_refused_says_why_and_the_main_card_plays(offer: dict[str, Any], words: str) -> None:
    outputs = {"main": ["aux_1"], "second": ["aux_2"]}
    with TwoCardRig(main=["A"], second=["B"], outputs=outputs, second_card=offer) as rig:
        text = rig.board.read_text()
        rig.board.write_text(text.replace("n_periods = 2", 'n_periods = 2\nformats = ["S32_LE"]'))
        rig.tapes[0] = tone(997.0)
        with started(rig, sends_only(["A", "B"], {0: 0})) as lockstep:
            segment = lockstep.segment
            wait_for(lambda: segment.status().secondary_trouble, "no word about the second card")
            rig.run_both(0.5, is_second_there=False)
            status, played = segment.status(), rig.all_played()
    assert (status.state, status.secondary_state) == ("running", "no_card")
    assert re.search(words, status.secondary_trouble)
    assert abs(played[:, 0]).max() > 1e8
