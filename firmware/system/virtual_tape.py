"""Plays a session into a virtual card and hands on what the card played: by itself in a thread, or step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from firmware.errors import EvenhandError

from .virtual_card import VirtualCard
from .virtual_card_report import Direction

Blocks = Iterable[NDArray[np.float32]]
Played = Callable[[int, NDArray[np.int32]], None]  # first card frame, (n_frames, n_playback)

POLL_S = 0.005  # the rings hold 340 ms at 48 kHz


class CardPlayer:
    """Feeds ``blocks`` ((n_frames, n_lanes) float32) to a card in a thread and gives what it plays to ``on_played``.

    A block with fewer lanes than the card has channels is filled up with silence. A context manager: leaving it stops
    the thread and raises what went wrong in it.
    """

    def __init__(self, card: VirtualCard, blocks: Blocks, on_played: Played | None = None) -> None:
        self._card = card
        self._tape = _Tape(card, blocks)
        self._on_played = on_played
        self._is_stopped = threading.Event()
        self._is_done = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="card-player", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopped.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    @property
    def n_tape_frames(self) -> int:
        """How many frames the tape has given so far."""
        return self._tape.n_frames

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the card's clock has passed the end of the tape; whether it has."""
        done = self._is_done.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return done

    def _run(self) -> None:
        try:
            while not self._is_stopped.is_set():
                has_ended = self._tape.feed()
                _hand_on(self._card, self._on_played)
                if has_ended and self._card.frame >= self._tape.n_frames:
                    self._is_done.set()
                self._is_stopped.wait(POLL_S)
            _hand_on(self._card, self._on_played, everything=True)
        except BaseException as error:
            self._error = error
            self._is_done.set()
            self._card.end_tape()  # a program that reads the card must not hang


def play_through(
    card: VirtualCard,
    blocks: Blocks,
    *,
    step_frames: int,
    on_played: Played | None = None,
    directions: Iterable[Direction] = (Direction.CAPTURE,),
    on_step: Callable[[int], None] | None = None,
) -> int:
    """Run a manual clock over a whole tape as fast as the programs on ``directions`` follow; return its frames.

    With ``on_step`` the card stops every ``step_frames``, the programs at rest, for the caller to look around.
    """
    if step_frames > card.ring_frames // 4:
        raise EvenhandError(
            f"step_frames = {step_frames} is more than a quarter of the card's ring; take smaller steps"
        )
    tape = _Tape(card, blocks)
    directions = tuple(directions)
    has_ended = False
    while not has_ended or card.frame < tape.n_frames:
        has_ended = tape.feed()
        left = tape.n_fed - card.frame
        if not has_ended:  # whole steps only, so that their grid does not depend on the tape's blocks
            left -= left % step_frames
        if on_step is not None:
            left = min(left, step_frames)
        if left > 0 and card.run(left, step_frames=step_frames, directions=directions) == 0:
            raise EvenhandError(f"{card.path}: the clock has not begun; start a program on the card first")
        _hand_on(card, on_played)
        if on_step is not None:
            on_step(card.frame)
    return tape.n_frames


class _Tape:
    """The blocks of a session on their way to the card."""

    def __init__(self, card: VirtualCard, blocks: Blocks) -> None:
        self._card = card
        self._blocks: Iterator[NDArray[np.float32]] = iter(blocks)
        self._rest = np.empty((0, card.n_capture), np.float32)
        self.n_frames = 0
        self._has_ended = False

    @property
    def n_fed(self) -> int:
        return self.n_frames - len(self._rest)

    def feed(self) -> bool:
        """Feed what finds room; whether the tape has come to its end."""
        while not self._has_ended:
            self._rest = self._rest[self._card.feed(self._rest) :]
            if len(self._rest):
                return False
            block = next(self._blocks, None)
            if block is None:
                self._card.end_tape()
                self._has_ended = True
            else:
                self._rest = self._fitted(block)
                self.n_frames += len(block)
        return True

    def _fitted(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        n_missing = self._card.n_capture - block.shape[1]
        if n_missing < 0:
            raise EvenhandError(
                f"{self._card.path}: the session has {block.shape[1]} lanes, the card {self._card.n_capture} "
                "capture channels; name fewer channels in session.toml or choose another board"
            )
        return np.pad(block, ((0, 0), (0, n_missing))) if n_missing else block


def _hand_on(card: VirtualCard, on_played: Played | None, *, everything: bool = False) -> None:
    if card.n_playback == 0:
        return
    for first_frame, block in card.take(everything=everything):
        if on_played is not None:
            on_played(first_frame, block)
