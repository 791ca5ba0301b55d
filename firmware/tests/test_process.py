"""What begins and ends a process of the box: a signal is heard whenever it comes."""

from __future__ import annotations

import subprocess
import sys

from firmware.system.process import Stop

# A handler of Python runs between two lines of whatever the main thread is at: here in the midst of its waiting.
INTERRUPTED = """
import random, signal
from firmware.system.process import Stop
stop, n_heard, rng = Stop(), 0, random.Random(1)
def hear(*_):
    global n_heard
    n_heard += 1
    stop.set()
    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 5e-5))
signal.signal(signal.SIGALRM, hear)
hear()
while n_heard < 5000:
    stop.wait(0.0)
signal.setitimer(signal.ITIMER_REAL, 0.0)
print(stop.wait(60.0), stop.is_set())
"""


def test_a_signal_that_falls_into_the_waiting_for_it_is_heard() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_nobody_is_asked_to_end_who_was_not() -> None:
    stop = Stop()
    assert not stop.wait(0.001)
    assert not stop.is_set()
