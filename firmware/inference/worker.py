"""The process that thinks for a live box: questions in, answers out, over one socket; nothing else.

Its start proves the bundle: read, verified, tried in children, loaded. It has little memory, no network where the
kernel lets go of it, less priority than control, and ends with control.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from firmware.errors import EvenhandError
from firmware.system.parent import end_with_parent

from .answer import Question
from .brain import Brain, brain_of
from .bundle import read_bundle
from .keys import trusted_keys
from .trial import MEMORY_LIMIT_BYTES, chosen

NICE = 5
ANSWER, STATUS = b"A", b"S"  # what a message to control begins with
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def _tell(link: socket.socket, **status: object) -> None:
    link.send(STATUS + json.dumps(status).encode())


def _leave_network() -> None:
    """Give up the network for good; a kernel that keeps name spaces from us keeps ours."""
    ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _started(options: argparse.Namespace, is_stereo: list[bool]) -> Brain:
    bundle = read_bundle(options.bundle, trusted_keys(options.key))
    candidate = chosen(bundle, options.bundle, options.key, n_channels=len(is_stereo), is_timed=True)
    return brain_of(options.bundle, bundle, candidate, is_stereo)


def serve(link: socket.socket, brain: Brain) -> None:
    """Answer questions until control is gone."""
    size = Question.size_bytes(brain.n_channels)
    while data := link.recv(size + 1):
        answer = brain.think(Question.from_bytes(data, brain.n_channels))
        try:
            link.send(ANSWER + answer.to_bytes(), socket.MSG_DONTWAIT)
        except BlockingIOError:  # control does not read: the next answer is as good
            continue
        except OSError:
            return


def main(argv: list[str] | None = None) -> int:
    """Load, say so, and serve; 1 when the bundle was refused."""
    parser = argparse.ArgumentParser(prog="python -m firmware.inference.worker", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle")
    parser.add_argument("--key", type=Path, action="append", default=[], help="public key to trust besides")
    parser.add_argument("--stereo", required=True, help="a digit a channel: 0 mono, 1 stereo")
    parser.add_argument("--fd", type=int, required=True, help="socket to control")
    parser.add_argument("--parent", type=int, required=True, help="end when this process, our parent, is gone")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # control ends us
    end_with_parent(options.parent, signal.SIGKILL)
    with suppress(PermissionError):  # control's unit lets no call through that moves priorities: then we keep its own
        os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # neither a file nor, as with 0, into a pipe
    with socket.socket(fileno=options.fd) as link:
        try:
            brain = _started(options, [digit == "1" for digit in options.stereo])
        except EvenhandError as error:
            _tell(link, state="refused", reason=str(error))
            return 1
        _leave_network()
        _tell(link, state="ready", model=brain.bundle.title, candidate=brain.candidate.title,
              tick_us=brain.candidate.tick_us)  # fmt: skip
        serve(link, brain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
