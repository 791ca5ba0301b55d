"""A session plays into a virtual card by itself or step by step, and what goes wrong is told and not swallowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.errors import EvenhandError
from firmware.system.virtual_card import VirtualCard
from firmware.system.virtual_tape import CardPlayer, play_through
from firmware.tests.card_bench import Duplex, card_on_bench, played

PERIOD = 64
TIMEOUT_S = 20.0


def ramp(n_frames: int, n_lanes: int) -> NDArray[np.float32]:
    """Return frames that say their own number: frame f, lane l holds (f * n_lanes + l) / 2^24."""
    return (np.arange(n_frames * n_lanes, dtype=np.float32) / 2.0**24).reshape(n_frames, n_lanes)


def broken_session() -> Iterator[NDArray[np.float32]]:
    yield ramp(100, 2)
    raise EvenhandError("kick.wav: the file ends early")


def test_a_player_plays_to_the_end_and_says_so(tmp_path: Path) -> None:
    first_frames, n_heard = [], 0

    def listen(first_frame: int, block: NDArray[np.int32]) -> None:
        nonlocal n_heard
        first_frames.append((first_frame, n_heard))
        n_heard += len(block)

    blocks = (ramp(n, 2) for n in (1, 700, 2000))
    with VirtualCard(tmp_path / "card", n_capture=2, n_playback=1, begins_at_once=True) as card:
        with CardPlayer(card, blocks, listen) as player:
            assert player.wait(TIMEOUT_S)
            assert player.n_tape_frames == 2701
        assert n_heard >= 2701
    assert all(first == before for first, before in first_frames), "blocks do not follow each other"


def test_an_error_in_the_session_comes_out_of_the_player_and_lets_the_clock_run(tmp_path: Path) -> None:
    with VirtualCard(tmp_path / "card", n_capture=2, n_playback=1, begins_at_once=True) as card:
        with pytest.raises(EvenhandError, match=r"kick\.wav"), CardPlayer(card, broken_session()) as player:
            player.wait(TIMEOUT_S)
        assert card.report().fed_frame == 100
        before = card.frame
        while card.frame < max(before, 100) + 100:
            pass


def test_lanes_that_a_session_lacks_are_silent_and_too_many_are_refused(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, n_capture=3) as card, Duplex(card) as program:
        program.start()
        play_through(card, [ramp(PERIOD, 2)], step_frames=PERIOD, directions=[])
        frames = program.capture.read(PERIOD)[1]
        np.testing.assert_array_equal(frames[:, :2], np.arange(2 * PERIOD).reshape(PERIOD, 2) << 7)
        assert not frames[:, 2].any()
    (tmp_path / "other").mkdir()
    with card_on_bench(tmp_path / "other") as card, pytest.raises(EvenhandError, match="3 lanes, the card 2"):
        play_through(card, [ramp(PERIOD, 3)], step_frames=PERIOD)


@pytest.mark.parametrize("block_frames", [1, 50, 64, 1000])
def test_steps_do_not_depend_on_how_the_session_is_cut(tmp_path: Path, block_frames: int) -> None:
    tape = ramp(1000, 2)
    blocks = (tape[i : i + block_frames] for i in range(0, len(tape), block_frames))
    steps: list[int] = []
    read: list[NDArray[np.int32]] = []
    with card_on_bench(tmp_path) as card, Duplex(card) as program:
        program.start()

        def serve(frame: int) -> None:
            if frame % PERIOD == 0:
                read.append(program.turn()[1])
            steps.append(frame)

        play_through(card, blocks, step_frames=PERIOD, directions=[], on_step=serve)
        assert played(card).shape == (0, 2), "play_through left something behind"
    assert steps == [*range(PERIOD, 1000, PERIOD), 1000]
    np.testing.assert_array_equal(np.concatenate(read), np.arange(2 * 960).reshape(960, 2) << 7)


def test_a_clock_that_nobody_has_started_is_refused(tmp_path: Path) -> None:
    with card_on_bench(tmp_path) as card:
        with pytest.raises(EvenhandError, match="has not begun"):
            play_through(card, [ramp(PERIOD, 2)], step_frames=PERIOD)
        with pytest.raises(EvenhandError, match="quarter of the card's ring"):
            play_through(card, [ramp(PERIOD, 2)], step_frames=32768)


def test_a_program_that_does_not_come_to_rest_is_named_in_time(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.start()
        with pytest.raises(EvenhandError, match="did not come to rest"):
            card.run(PERIOD, step_frames=PERIOD, timeout_s=0.01)


def test_a_tape_of_another_shape_is_refused(tmp_path: Path) -> None:
    with card_on_bench(tmp_path) as card:
        blocks: list[Any] = [np.zeros((4, 3), np.int32), np.zeros(4, np.int32), np.zeros((4, 2), np.float64)]
        for block in blocks:
            with pytest.raises(EvenhandError, match=r"\(n_frames, 2\) int32 or float32"):
                card.feed(block)
