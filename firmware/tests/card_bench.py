"""A virtual card under test: made in a scratch folder, known to alsa-lib by name, with a duplex program in-process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.system.alsa_config import CARD_PLUGIN, write_alsa_config
from firmware.system.virtual_card import VirtualCard
from firmware.tests.alsa_client import CAPTURE, PLAYBACK, Pcm, forget_configuration

NAME = "evenhand_test"
WAKE_TIMEOUT_S = 20.0
EAGAIN, EBUSY, ENODEV, EINVAL, EPIPE, ESTRPIPE, ENOENT = -11, -16, -19, -22, -32, -86, -2


@contextmanager
def alsa_names(folder: Path, cards: dict[str, Path], *, plugin: Path = CARD_PLUGIN) -> Iterator[None]:
    """Let alsa-lib know ``cards`` by their names, in this process and its children."""
    before = os.environ.get("ALSA_CONFIG_PATH")
    os.environ["ALSA_CONFIG_PATH"] = str(write_alsa_config(folder, cards, plugin=plugin))
    forget_configuration()
    try:
        yield
    finally:
        if before is None:
            del os.environ["ALSA_CONFIG_PATH"]
        else:
            os.environ["ALSA_CONFIG_PATH"] = before
        forget_configuration()


@contextmanager
def card_on_bench(folder: Path, **settings: Any) -> Iterator[VirtualCard]:
    """Make a card, 2 by 2 channels on a manual clock unless ``settings`` say otherwise, under the name ``NAME``."""
    settings = {"n_capture": 2, "n_playback": 2, "clock": "manual", **settings}
    with VirtualCard(folder / "card", **settings) as card, alsa_names(folder, {NAME: card.path}):
        yield card


def noise(n_frames: int, n_channels: int, seed: int = 1) -> NDArray[np.int32]:
    """Return seeded int32 noise at full scale, extremes included."""
    frames = np.random.default_rng(seed).integers(-(2**31), 2**31, (n_frames, n_channels), dtype=np.int64)
    frames[0, :] = 2**31 - 1
    frames[1 % n_frames, :] = -(2**31)
    return frames.astype(np.int32)


def played(card: VirtualCard) -> NDArray[np.int32]:
    """Return everything that was played since the last call, as one array."""
    blocks = [np.empty((0, card.n_playback), np.int32), *(block for _, block in card.take(everything=True))]
    return np.concatenate(blocks)


class Sleeper:
    """A thread that sleeps in an ALSA call of a program; leaving it pulls the plug rather than wait for ever."""

    def __init__(self, card: VirtualCard, call: Callable[[], int]) -> None:
        self._card = card
        self._answer: list[int] = []
        self._thread = threading.Thread(target=lambda: self._answer.append(call()))

    def __enter__(self) -> Sleeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(0)
        if self._thread.is_alive():
            self._card.close()
        self._thread.join()

    @property
    def is_asleep(self) -> bool:
        return self._thread.is_alive()

    def answer(self) -> int | None:
        """Wait for the call to return; None if it does not."""
        self._thread.join(WAKE_TIMEOUT_S)
        return self._answer[0] if self._answer else None


class Duplex:
    """A program on both directions, as the engine is one: it plays what it reads, ``n_prefill`` periods later."""

    def __init__(self, card: VirtualCard, *, period_frames: int = 64, n_prefill: int = 2, **settings: Any) -> None:
        self.card, self.period_frames, self.n_prefill = card, period_frames, n_prefill
        settings = {"period_frames": period_frames, "buffer_frames": 4 * period_frames, **settings}
        self.capture = Pcm(NAME, CAPTURE, n_channels=card.n_capture, **settings)
        self.playback = Pcm(NAME, PLAYBACK, n_channels=card.n_playback, **settings)

    def __enter__(self) -> Duplex:
        return self

    def __exit__(self, *_: object) -> None:
        self.capture.close()
        self.playback.close()

    def start(self) -> None:
        for pcm in (self.capture, self.playback):
            pcm.call("drop")
            assert pcm.call("prepare") == 0
        silence = np.zeros((self.n_prefill * self.period_frames, self.card.n_playback), np.int32)
        assert self.playback.write(silence) == len(silence)
        assert self.playback.call("start") == 0
        assert self.capture.call("start") == 0

    def turn(self) -> tuple[int, NDArray[np.int32]]:
        """Read a period and play its first channels; return the first error, or how many frames went through."""
        got, frames = self.capture.read(self.period_frames)
        if got < 0:
            return got, frames
        out = np.zeros((got, self.card.n_playback), np.int32)
        n_shared = min(self.card.n_capture, self.card.n_playback)
        out[:, :n_shared] = frames[:, :n_shared]
        return self.playback.write(out), frames

    def step(self) -> NDArray[np.int32]:
        """Let one period pass and serve it."""
        assert self.card.advance(self.period_frames) == self.period_frames
        done, frames = self.turn()
        assert done == self.period_frames
        return frames
