"""Control's end of a model: asks each tick, takes what has come, and never waits.

Late, dead, hung or refused: the rules go on. A worker that died is started again, later each time; another bundle is
tried beside the one in force and takes over between two ticks.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from .answer import Answer, Question
from .worker import ANSWER

BACK_OFF_S, MAX_BACK_OFF_S = 0.5, 30.0
PROVEN_S = 60.0  # of answers; after that a death is a first one again
HUNG_S = 10.0  # without an answer, then the worker is replaced
START_S = 120.0  # a loaded small board tries four candidates in this time
BACKLOG = 4  # questions that wait for a worker, about
LATE_TICKS = 5  # an older answer is none


class Worker:
    """One process with one bundle; ``status`` is what it said of itself last."""

    def __init__(self, bundle: Path, keys: Sequence[Path], is_stereo: Sequence[bool], now_s: float) -> None:
        self.bundle, self.n_channels = bundle, len(is_stereo)
        self.status: dict[str, Any] = {"state": "starting"}
        self.heard_s = now_s
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link.setblocking(False)
        # Who stood still has little to catch up with; the kernel counts twice what a message takes.
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * BACKLOG * Question.size_bytes(self.n_channels))
        command = [sys.executable, "-m", "firmware.inference.worker", "--bundle", str(bundle), "--fd",
                   str(theirs.fileno()), "--parent", str(os.getpid()),
                   "--stereo", "".join("1" if s else "0" for s in is_stereo)]  # fmt: skip
        for key in keys:
            command += ["--key", str(key)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )

    def ask(self, question: Question) -> bool:
        """Send a question; False when the worker does not keep up, or is gone."""
        try:
            self._link.send(question.to_bytes())
        except OSError:
            return False
        return True

    def take(self, now_s: float) -> Answer | None:
        """Return the newest answer that has come, and read what else was said."""
        newest = None
        size = Answer.size_bytes(self.n_channels) + 1
        with suppress(OSError):
            while message := self._link.recv(max(size, 65536)):
                self.heard_s = now_s
                if message[:1] == ANSWER:
                    newest = message[1:]
                else:
                    self.status = json.loads(message[1:])
        return Answer.from_bytes(newest, self.n_channels) if newest else None

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def close(self) -> None:
        """End it at once: it has nothing to keep."""
        self._link.close()
        if not self.is_gone:
            self.process.kill()
        self.process.wait()


class Link:
    """A model beside a live control. A context manager.

    Parameters
    ----------
    is_stereo
        One a channel.
    say
        Is given a line when the model comes, goes, or is refused.
    """

    def __init__(
        self, bundle: Path, keys: Sequence[Path], is_stereo: Sequence[bool], say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._bundle, self._keys, self._is_stereo, self._say = bundle, list(keys), list(is_stereo), say
        self._worker: Worker | None = None
        self._coming: Worker | None = None  # another bundle, being tried
        self._wanted: Path | None = None
        self._is_refused = self._is_told = False
        self._back_off_s = BACK_OFF_S
        self._start_at_s = self._since_s = -1.0
        self._asked_tick = -1
        self.model = "none"  # name and version while it decides
        self.n_dropped = self.n_late = self.n_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (self._worker, self._coming):
            if worker is not None:
                worker.close()
        self._worker = self._coming = None

    def step(self, now_s: float) -> Answer | None:
        """Look after the workers and return the answer that has come since; call it once a tick."""
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            self._swap(wanted, now_s)
        self._look_after_coming(now_s)
        if self._worker is None:
            if not self._is_refused and now_s >= self._start_at_s:
                self._worker, self._since_s = self._started(self._bundle, now_s), now_s
            return None
        answer = self._worker.take(now_s)
        self._hear_status(self._worker)
        if self._worker.is_gone or now_s - self._worker.heard_s > self._patience_s(self._worker):
            self._lose(now_s)
            return None
        if answer is None:
            return None
        if answer.tick < self._asked_tick - LATE_TICKS:
            self.n_late += 1
            return None
        if now_s - self._since_s > PROVEN_S:
            self._back_off_s = BACK_OFF_S
        return answer

    def ask(self, question: Question) -> None:
        """Ask about a tick; what a busy worker cannot take is dropped."""
        self._asked_tick = question.tick
        worker = self._worker
        if worker is not None and worker.status["state"] == "ready" and not worker.ask(question):
            self.n_dropped += 1

    def want(self, bundle: Path) -> None:
        """Try another bundle from the next step on; the handler of a signal may say so, in the midst of any line."""
        self._wanted = bundle

    def _swap(self, bundle: Path, now_s: float) -> None:
        """Try another bundle; it takes over once it is ready, and the one in force stays when it is refused."""
        if self._coming is not None:
            self._coming.close()
        self._coming = self._started(bundle, now_s)

    @property
    def pid(self) -> int | None:
        """Process id of the worker in force."""
        return self._worker.process.pid if self._worker else None

    def as_record(self) -> dict[str, Any]:
        """Return what a status page says."""
        status = self._worker.status if self._worker else {"state": "refused" if self._is_refused else "waiting"}
        told = {k: status[k] for k in ("state", "candidate", "tick_us") if k in status}
        return {
            "model": self.model, "pid": self.pid, **told, "n_dropped": self.n_dropped, "n_late": self.n_late,
            "n_starts": self.n_starts,
        }  # fmt: skip

    def _started(self, bundle: Path, now_s: float) -> Worker:
        self.n_starts += 1
        self._is_told = False
        return Worker(bundle, self._keys, self._is_stereo, now_s)

    @staticmethod
    def _patience_s(worker: Worker) -> float:
        return START_S if worker.status["state"] == "starting" else HUNG_S

    def _hear_status(self, worker: Worker) -> None:
        if self._is_told or worker.status["state"] == "starting":
            return
        self._is_told = True
        if worker.status["state"] == "ready":
            self.model = worker.status["model"]
            self._say(f"model {self.model} decides with the rules ({worker.status['candidate']})")
        else:
            self._is_refused, self.model = True, "none"
            self._say(f"no model: {worker.status['reason']}; the rules decide alone")

    def _lose(self, now_s: float) -> None:
        assert self._worker is not None
        if not self._is_refused:
            how = "died" if self._worker.is_gone else "hangs"
            self._say(f"the model's process {how}; the rules decide alone, next try in {self._back_off_s:g} s")
        self._worker.close()
        self._worker, self.model = None, "none"
        self._start_at_s = now_s + self._back_off_s
        self._back_off_s = min(2.0 * self._back_off_s, MAX_BACK_OFF_S)

    def _look_after_coming(self, now_s: float) -> None:
        coming = self._coming
        if coming is None:
            return
        coming.take(now_s)
        state = coming.status["state"]
        if state == "starting" and not coming.is_gone and now_s - coming.heard_s <= START_S:
            return
        self._coming = None
        if state != "ready":
            self._say(f"model not taken: {coming.status.get('reason', 'its process died')}; all stays as it is")
            coming.close()
            return
        if self._worker is not None:
            self._worker.close()
        self._worker, self._bundle, self._since_s = coming, coming.bundle, now_s
        self._is_refused = self._is_told = False
