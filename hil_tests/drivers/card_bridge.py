"""The virtual sound card as a process of its own: it makes the card, feeds it, moves its clock, hears it and breaks it.

The one file of this room that knows a module of ``firmware``: the virtual card is no part of what runs on a box but the
world around it, and has no command of its own. Nothing of the box is reached through it, but how far control is: the
card's clock waits for control after each tick, as it does in ``evenhand-box run --board sim``.

It is started by ``card_link.py``, which speaks with it in the messages of ``messages.py``.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.errors import EvenhandError
from firmware.segment import LiveStatus, Segment
from firmware.system.alsa_config import write_alsa_config
from firmware.system.parent import end_with_parent
from firmware.system.virtual_card import VirtualCard
from firmware.system.virtual_card_report import Direction

from .messages import receive, send

TICKS_PER_S = 50
CONTROL_PATIENCE_S = 20.0  # for one tick of a control that lives; one that is dead or stopped is not waited for
DROPPED_PATIENCE_S = 0.3  # for one that was away
REST_S = 60.0  # for one tick of the audio thread, however loaded the machine is
LOOK_AGAIN_S = 0.2  # whether it has died or been stopped meanwhile
LATE_STEPS = 8  # to a period, while wake-ups are late
BEHIND_S = 0.25  # a clock further behind than this does not catch up any more
LOOK_S = 0.0003


class Bridge:
    """Answers requests about one card until the other end closes."""

    def __init__(
        self, card: VirtualCard, *, period_frames: int, sample_rate_hz: int, segment: Path, has_tape: bool
    ) -> None:
        self._card, self._period, self._rate_hz, self._path = card, period_frames, sample_rate_hz, segment
        self._segment: Segment | None = None
        self._step = period_frames  # of the clock, around which the audio thread comes to rest
        self._tick_frames = sample_rate_hz // TICKS_PER_S
        self._has_tape = has_tape
        # The engine sleeps on capture and plays meanwhile; two programs at the ends of a cable sleep each for itself.
        self._directions = (Direction.CAPTURE,) if has_tape else tuple(Direction)
        self._n_not_waited = self._n_dropped = 0
        self._is_free = False  # the clock keeps to the wall clock between requests
        self._began_s, self._began_frame = 0.0, 0
        self._requests: dict[str, Callable[..., Any]] = {
            "stream": self._stream, "pass_time": self._pass_time, "free_run": self._free_run,
            "report": self._report, "fault": self._fault,
        }  # fmt: skip

    def serve(self, link: socket.socket) -> None:
        """Answer until the link ends."""
        while True:
            if self._is_free and not select.select([link], [], [], self._pace())[0]:
                continue
            request, payload = receive(link)
            if request is None:
                return
            try:
                answer = self._requests[request.pop("do")](payload, **request)
                reply, samples = answer if isinstance(answer, tuple) else (answer or {}, b"")
            except EvenhandError as error:
                reply, samples = {"error": str(error)}, b""
            send(link, reply, samples)

    # ------------------------------------------------------------------------------------------------- requests

    def _stream(self, payload: bytes) -> tuple[dict[str, Any], bytes]:
        self._must_have_begun()
        block = np.frombuffer(payload, np.float32).reshape(-1, self._card.n_capture)
        first_frame = self._card.frame
        heard: list[NDArray[np.int32]] = []
        for at in range(0, len(block), self._tick_frames):
            self._move(block[at : at + self._tick_frames], heard)
        sound = (np.concatenate(heard) / 2.0**31).astype(np.float32)
        if len(sound) != len(block):
            raise EvenhandError(f"the card played {len(sound)} of {len(block)} frames at frame {first_frame}")
        return {"first_frame": first_frame}, sound.tobytes()

    def _pass_time(self, _: bytes, n_frames: int) -> None:
        self._must_have_begun()
        silence = np.zeros((self._tick_frames, self._card.n_capture), np.float32)
        while n_frames > 0:
            self._move(silence[:n_frames], [])
            n_frames -= self._tick_frames

    def _free_run(self, _: bytes, is_on: bool) -> None:
        self._is_free = is_on
        self._began_s, self._began_frame = time.monotonic(), self._card.frame

    def _report(self, _: bytes) -> dict[str, Any]:
        status = self._status()
        counters = status.counters if status else {}
        return {
            "card": asdict(self._card.report()), "n_not_waited": self._n_not_waited, "counters": counters,
            "round_trip_frames": status.round_trip_frames if status else None,
            "state": status.state if status else "absent",
        }  # fmt: skip

    def _fault(self, _: bytes, kind: str, amount: float) -> None:
        """``amount`` 0 ends what does not end by itself."""
        card, n = self._card, int(amount)
        if kind == "unplug":
            card.unplug() if n else card.replug()
        elif kind == "late_wake":
            card.wake_late(Direction.CAPTURE, n)
            self._step = self._period // LATE_STEPS if n else self._period  # else any lateness is a whole period
        elif kind == "capture_xrun":
            card.xrun(Direction.CAPTURE, n)
        elif kind == "playback_xrun":
            card.xrun(Direction.PLAYBACK, n)
        else:
            raise EvenhandError(f"the card knows no fault {kind!r}")

    # --------------------------------------------------------------------------------------------------- moving

    def _move(self, block: NDArray[np.float32], heard: list[NDArray[np.int32]]) -> None:
        """Feed a tick or less, move the clock by as much, and let control finish what that gave it to do."""
        if self._has_tape and self._card.feed(block) != len(block):
            raise EvenhandError(f"the card's tape took no {len(block)} frames at frame {self._card.frame}")
        self._advance(self._card.frame + len(block))
        heard += [sound.copy() for _, sound in self._card.take(everything=True)]
        self._wait_for_control()

    def _advance(self, end_frame: int) -> None:
        """Move the clock a period at a time while the audio thread keeps up; past one that is dead or stopped."""
        until_s = time.monotonic() + REST_S
        while (frame := self._card.frame) < end_frame:
            report = self._card.report()
            owners = [side.owner_pid for side in (report.capture, report.playback) if side.state != "closed"]
            if not all(_is_awake(pid) for pid in owners):
                self._card.advance(min(self._step, end_frame - frame))
                continue
            try:
                self._card.run(
                    end_frame - frame, step_frames=self._step, timeout_s=LOOK_AGAIN_S, directions=self._directions
                )
            except EvenhandError:
                if time.monotonic() > until_s:
                    raise

    def _must_have_begun(self) -> None:
        if not self._card.report().has_begun:
            raise EvenhandError("the card's clock has not begun: no engine has opened it yet; give the box power")

    def _pace(self) -> float:
        """Move the clock to where the wall clock is; return how long nothing is due."""
        ahead_s = (self._card.frame - self._began_frame) / self._rate_hz - (time.monotonic() - self._began_s)
        if ahead_s > 0:
            return ahead_s
        if ahead_s < -BEHIND_S:
            self._began_s -= ahead_s
        if not self._card.report().has_begun:
            return self._period / self._rate_hz
        self._move(np.zeros((self._period, self._card.n_capture), np.float32), [])
        return 0.0

    def _wait_for_control(self) -> None:
        began_s = time.monotonic()
        while True:
            status = self._status()
            if status is None or status.state not in ("running", "no_card"):
                return
            if not (_is_awake(status.control_pid) and _is_awake(status.engine_pid)):  # it lives by what that tells
                return
            due_frame = status.counters["frames"] // self._tick_frames * self._tick_frames
            n_dropped = status.counters["observations_dropped"] + status.counters["taps_dropped"]
            if status.control_frame >= due_frame:
                self._n_dropped = n_dropped
                return
            # It was away, and what was dropped meanwhile never comes: the next tick brings it up to date.
            waited_s, is_complete = time.monotonic() - began_s, n_dropped == self._n_dropped
            if waited_s > (CONTROL_PATIENCE_S if is_complete else DROPPED_PATIENCE_S):
                self._n_not_waited += is_complete
                return
            time.sleep(LOOK_S)

    def _status(self) -> LiveStatus | None:
        """Return what engine and control say of themselves; None while there is no engine."""
        if self._segment is not None and not self._segment.is_current:
            self._segment.close()
            self._segment = None
            self._n_dropped = 0
        if self._segment is None:
            with suppress(EvenhandError):
                self._segment = Segment(self._path, is_control=False)
        return self._segment.status() if self._segment else None


def _is_awake(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "TtZX"


def main(argv: list[str] | None = None) -> int:
    """Serve one card over an inherited socket; return 0, or 1 when there can be none."""
    parser = argparse.ArgumentParser(prog="python -m hil_tests.drivers.card_bridge", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the socket")
    parser.add_argument("--folder", type=Path, required=True, help="for the card's file and ALSA's configuration")
    parser.add_argument("--pcm", required=True, help="name that ALSA gives the card")
    parser.add_argument("--segment", type=Path, required=True, help="memory of the engine, to see how far control is")
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--outputs", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--period", type=int, required=True)
    parser.add_argument("--cable", action="append", default=[], metavar="OUT:IN",
                        help="join these channels, from 1: an interface for other programs")  # fmt: skip
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # leaving unplugs the card: no engine waits for it for ever
    end_with_parent(options.parent)
    link = socket.socket(fileno=options.fd)
    os.set_inheritable(options.fd, False)
    path = options.folder / "card"
    cables = [tuple(int(end) - 1 for end in text.split(":")) for text in options.cable]
    try:
        write_alsa_config(options.folder, {options.pcm: path})
        with VirtualCard(
            path, n_capture=options.inputs, n_playback=options.outputs, sample_rate_hz=options.rate, clock="manual",
            cable=[(out, back) for out, back in cables] or None, tape=not cables, recorder=not cables,
        ) as card:  # fmt: skip
            send(link, {})
            bridge = Bridge(
                card, period_frames=options.period, sample_rate_hz=options.rate, segment=options.segment,
                has_tape=not cables,
            )  # fmt: skip
            bridge.serve(link)
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
