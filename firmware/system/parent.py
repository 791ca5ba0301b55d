"""Ends a child when the supervisor that started it is gone, however it went."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int, death: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel for ``death`` at the death of ``parent_pid``, our parent; end at once if it is dead already.

    A process that is stopped takes no SIGTERM: one that has nothing to put in order asks for SIGKILL.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death))
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), death)
