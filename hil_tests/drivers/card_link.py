"""Our end of the virtual sound card: its sound, its clock and its faults. The card itself is another process's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from board_configs.board import Board
from hil_tests.board import Heard
from hil_tests.errors import HilError

from .messages import receive, send

ROOT = Path(__file__).resolve().parents[2]
STREAM_FRAMES = 4800
KINDS = ("capture_xrun", "playback_xrun", "unplug", "late_wake")  # of board.FAULTS


class CardLink:
    """The card of a simulated box, and an ``AudioPort``. A context manager: leaving it unplugs the card for good.

    Parameters
    ----------
    board
        Whose main card it is to be.
    folder
        For the card and for ALSA's configuration, which ``config_path`` names.
    segment
        Memory of the engine that will open the card: the clock waits for the control beside it.
    """

    def __init__(self, board: Board, folder: Path, segment: Path) -> None:
        card = board.main_card
        if card.n_capture is None or card.n_playback is None:
            raise HilError(f"{board.path.name}: a bench needs a card with as many channels as it says, not a session's")
        self._board, self._folder, self._segment = board, folder, segment
        self.sample_rate_hz, self.n_inputs = board.audio.sample_rate_hz, card.n_capture
        self._n_outputs = card.n_playback
        self._column = {output.name: output.channel - 1 for output in board.outputs}
        self.output_names = tuple(self._column)
        self.config_path = folder / "asound.conf"
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        words: list[object] = [
            "--fd", theirs.fileno(), "--folder", self._folder, "--pcm", self._board.main_card.pcm, "--segment",
            self._segment, "--inputs", self.n_inputs, "--outputs", self._n_outputs, "--rate", self.sample_rate_hz,
            "--period", self._board.audio.period_frames, "--parent", os.getpid(),
        ]  # fmt: skip
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hil_tests.drivers.card_bridge", *map(str, words)], cwd=ROOT,
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        self._link = ours
        self._hear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()
        self._process.communicate()

    # ---------------------------------------------------------------------------------------------------- sound

    def stream(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Heard]:
        """Play ``blocks`` and yield what was heard in the very same frames, in pieces of at most ``STREAM_FRAMES``."""
        columns = list(self._column.values())
        for block in blocks:
            if block.ndim != 2 or block.shape[1] != self.n_inputs:
                raise HilError(f"a block of shape {block.shape}; this rig plays (n_frames, {self.n_inputs})")
            for at in range(0, len(block), STREAM_FRAMES):
                part = np.ascontiguousarray(block[at : at + STREAM_FRAMES], np.float32)
                answer, samples = self._ask("stream", payload=part.tobytes())
                sound = np.frombuffer(samples, np.float32).reshape(-1, self._n_outputs)
                yield Heard(first_frame=answer["first_frame"], sound=sound[:, columns])

    def pass_time(self, seconds: float) -> None:
        """Let the box live through silence, as fast as it can."""
        self._ask("pass_time", n_frames=round(seconds * self.sample_rate_hz))

    @contextmanager
    def free_run(self) -> Iterator[None]:
        """Inside, the clock keeps to the wall clock; else it stands between two requests."""
        self._ask("free_run", is_on=True)
        try:
            yield
        finally:
            self._ask("free_run", is_on=False)

    # --------------------------------------------------------------------------------------------------- faults

    def fault(self, kind: str, amount: float) -> None:
        """Let a fault of ``KINDS`` happen; 0 ends a lasting one."""
        self._ask("fault", kind=kind, amount=amount)

    def report(self) -> dict[str, Any]:
        """Return what the card and the engine have counted.

        ``card`` (frames, opens, starts, xruns by direction), ``counters`` of the engine, its ``state``,
        ``round_trip_frames``, and ``n_not_waited``: how often control was so late that the clock went on without it.
        """
        return self._ask("report")[0]

    def _ask(self, request: str, *, payload: bytes = b"", **arguments: Any) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            try:
                send(self._link, {"do": request, **arguments}, payload)
            except OSError:
                self._give_up()
            return self._hear()

    def _hear(self) -> tuple[dict[str, Any], bytes]:
        answer, samples = receive(self._link)
        if answer is None:
            self._give_up()
        elif "error" in answer:
            raise HilError(answer["error"])
        return answer or {}, samples

    def _give_up(self) -> None:
        assert self._process.stderr is not None
        words = self._process.stderr.read().strip().splitlines()
        raise HilError(f"the virtual card is gone: {words[-1] if words else 'it said nothing'}")
