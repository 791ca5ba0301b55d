"""The engine process: loads the board, opens the cards, hands everything to C threads, and waits.

Nothing heavy is imported here: all of the process is locked in memory, and after a crash it must be back at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from board_configs.board import Board, BoardError, load_board

from .errors import EvenhandError
from .live_config import live_config
from .live_extension import live_extension
from .mixer_setup import MixerSetup, read_setup
from .recorder.native import Native
from .recorder.ring_file import RingOwner
from .system.cores import refuse_missing_cores
from .system.notify import Notifier
from .system.process import Stop, serve

AUDIO_PRIORITY = 80
CARD_TIMEOUT_MS = 500
SECONDARY_SLACK_MS = 10
LOOK_S = 0.1
WHY_BYTES = 256
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class EngineProcess:
    """One engine, from start to stop.

    Raises
    ------
    EvenhandError
        When the card, the segment or the mixer is refused; with the reason in words.
    """

    def __init__(self, board: Board, setup: MixerSetup, options: argparse.Namespace) -> None:
        self._ffi, self._lib = live_extension()
        self._board, self._setup, self._options = board, setup, options
        self._hold = self._ffi.new("eh_segment_hold *")
        self._live = self._ffi.NULL
        self._ring_owner: RingOwner | None = None

    def start(self) -> None:
        """Open everything and let the threads go."""
        is_locked = self._lib.eh_lock_memory() == 0
        if not is_locked:
            _say("memory is not locked: no right to it (RLIMIT_MEMLOCK); pages may be swapped out under load")
        self._open_segment()
        if self._options.record_ring:
            self._ring_owner = RingOwner(
                Native(ffi=self._ffi, lib=self._lib),
                self._options.record_ring,
                sample_rate_hz=self._setup.sample_rate_hz,
                n_input_lanes=sum(len(strip.card_channels) for strip in self._setup.strips),
                generation=time.monotonic_ns(),
            )
        config = live_config(self._ffi, self._lib, self._board, self._setup, self._options, is_memory_locked=is_locked)
        why = self._ffi.new("char[]", WHY_BYTES)
        ring = self._ring_owner.ring if self._ring_owner else self._ffi.NULL
        self._live = self._lib.eh_live_start(config, self._hold, ring, why)
        if self._live == self._ffi.NULL:
            self.stop()
            raise EvenhandError(self._text(why))
        status = self.status()
        if not status.is_realtime and self._options.priority > 0:
            _say("no right to real-time priority (RLIMIT_RTPRIO): the audio thread is an ordinary one, expect dropouts")

    def wait(self, stop: Stop, notifier: Notifier) -> None:
        """Watch the threads until ``stop`` is set; the watchdog is fed while the audio thread makes progress."""
        notifier.tell("READY=1")
        beat_ns, trouble, secondary_trouble = -1, "", ""
        while not stop.wait(LOOK_S):
            status = self.status()
            if status.engine_beat_ns != beat_ns:
                beat_ns = status.engine_beat_ns
                notifier.tell("WATCHDOG=1")
            now_troubled = self._text(status.trouble)
            if now_troubled != trouble:
                trouble = now_troubled
                _say(f"no card: {trouble}; trying again" if trouble else "the card is back")
                notifier.tell(f"STATUS={trouble or 'running'}")
            now_troubled = self._text(status.secondary_trouble)
            if now_troubled != secondary_trouble:
                secondary_trouble = now_troubled
                _say(f"no second card: {now_troubled}; trying again" if now_troubled else "the second card is back")

    def stop(self) -> None:
        """Fade out and let go of everything."""
        if self._live != self._ffi.NULL:
            self._lib.eh_live_stop(self._live)
            self._live = self._ffi.NULL
        if self._ring_owner:
            self._ring_owner.close()
        self._lib.eh_segment_close(self._hold)

    def status(self) -> Any:
        """Return the C struct ``eh_live_status``."""
        status = self._ffi.new("eh_live_status *")
        self._lib.eh_segment_status(self._hold, status)
        return status

    def _text(self, chars: Any) -> str:
        return self._ffi.string(chars).decode(errors="replace")

    def _open_segment(self) -> None:
        config = self._ffi.new("eh_engine_config *")
        config.sample_rate_hz = self._setup.sample_rate_hz
        config.n_channels = len(self._setup.strips)
        config.n_capture_lanes = sum(len(strip.card_channels) for strip in self._setup.strips)
        for index, strip in enumerate(self._setup.strips):
            config.is_stereo[index] = strip.is_stereo
        path = os.fsencode(self._options.segment)
        status = self._lib.eh_segment_open(self._hold, path, self._lib.EH_SIDE_ENGINE, config)
        if status != self._lib.EH_HOLD_OK:
            raise EvenhandError(self._text(self._hold.why))
        if self._hold.is_replaced:
            _say(f"{self._text(self._hold.why)}; it was put aside and a new one made")


def _say(text: str) -> None:
    print(f"engine: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware.engine_process", description=__doc__)
    parser.add_argument("--board", required=True, help="name or file of the board")
    parser.add_argument("--mixer", type=Path, required=True, help="strips, as firmware/mixer_setup.py writes them")
    parser.add_argument("--segment", type=Path, required=True, help="file of the shared memory")
    parser.add_argument("--record-ring", type=Path, help="file of the ring that a recorder reads")
    parser.add_argument("--pcm", help="ALSA name of the card instead of the board's")
    parser.add_argument("--secondary-pcm", help="ALSA name of the second card instead of the board's")
    parser.add_argument("--secondary-slack-ms", type=int, default=SECONDARY_SLACK_MS,
                        help="how late its thread may be without a gap; its sound is later by as much")  # fmt: skip
    parser.add_argument("--wait-for-card", action="store_true", help="start without a card and take it when it comes")
    parser.add_argument("--priority", type=int, default=AUDIO_PRIORITY, help="of SCHED_FIFO; 0 for an ordinary thread")
    parser.add_argument("--card-timeout-ms", type=int, default=CARD_TIMEOUT_MS, help="after which a still card is gone")
    return parser


def _run(options: argparse.Namespace, stop: Stop) -> None:
    try:
        board = load_board(options.board)
    except BoardError as error:
        raise EvenhandError(str(error)) from None
    refuse_missing_cores(board, ("audio", "analysis"))
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)  # the start looks out for them itself
    try:
        process = EngineProcess(board, read_setup(options.mixer), options)
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
    try:
        process.wait(stop, Notifier())
    finally:
        process.stop()


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return 0, or 1 when the start was refused."""
    return serve(_arguments(), argv, _run)


if __name__ == "__main__":
    sys.exit(main())
