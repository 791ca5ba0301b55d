"""Others on the machine of a simulated box, who want its processor and its memory. They end by themselves.

Memory is fenced: the processes of the box and a hog share a control group that may hold only so much more than they
have, so that the machine beneath is never short. The hog is the first that the kernel would end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hil_tests.errors import HilError

CPU_S = 60  # of a core; then the kernel ends it
MAX_CPU_HOGS = 4
MAX_MEMORY_MIB = 256
GONE_S = 10.0
CHUNK_MIB = 1

_SPIN = "import resource as r; r.setrlimit(r.RLIMIT_CPU, ({s}, {s}))\nwhile True: pass"
_TAKE = """
import time
from pathlib import Path
Path("/proc/self/oom_score_adj").write_text("1000")
Path({procs!r}).write_text("0")
held, usage = [], Path({usage!r})
while len(held) * {chunk} < {most} and int(usage.read_text()) < {limit} - ({chunk} << 20):
    held.append(b"x" * ({chunk} << 20))
print(len(held), flush=True)
time.sleep({life})
"""


MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")  # of version 1: with version 2 only who owns a whole subtree may
LIMIT, USAGE, PROCESSES = "memory.limit_in_bytes", "memory.usage_in_bytes", "cgroup.procs"


class CpuHogs:
    """Processes that want a core each."""

    def __init__(self) -> None:
        self._hogs: list[subprocess.Popen[bytes]] = []

    def begin(self, n_hogs: int) -> None:
        """Start so many."""
        if not 1 <= n_hogs <= MAX_CPU_HOGS:
            raise HilError(f"{n_hogs} hogs; this rig starts 1 to {MAX_CPU_HOGS}")
        self.end()
        command = [sys.executable, "-c", _SPIN.format(s=CPU_S)]
        self._hogs = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(n_hogs)]

    def end(self) -> None:
        """End them all."""
        for hog in self._hogs:
            hog.kill()
            hog.wait()
        self._hogs = []


class MemoryFence:
    """Holds processes in a group that has little memory left."""

    def __init__(self) -> None:
        self._hog: subprocess.Popen[str] | None = None
        self._group = _own_group() / f"evenhand-hil-{os.getpid()}-{id(self):x}"
        self.lacking = self._look()

    def begin(self, pids: Iterable[int], left_mib: float) -> None:
        """Let the group of ``pids`` have ``MAX_MEMORY_MIB`` more than now, and a hog all of that but ``left_mib``."""
        self.end()
        group = self._group
        group.mkdir()
        for pid in pids:
            with suppress(OSError):  # it has just died
                (group / PROCESSES).write_text(str(pid))
        limit = int((group / USAGE).read_text()) + (MAX_MEMORY_MIB << 20)
        (group / LIMIT).write_text(str(limit))
        code = _TAKE.format(
            procs=str(group / PROCESSES), usage=str(group / USAGE), chunk=CHUNK_MIB, most=MAX_MEMORY_MIB,
            limit=limit - (int(left_mib) << 20), life=CPU_S,
        )  # fmt: skip
        self._hog = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self._hog.stdout is not None
        self._hog.stdout.readline()  # it has taken it all, or the kernel has ended it

    def end(self) -> None:
        """Give the memory back and let everybody out."""
        if self._hog is not None:
            self._hog.kill()
            self._hog.communicate()
            self._hog = None
        until_s = time.monotonic() + GONE_S
        while self._group.exists():
            for pid in (self._group / PROCESSES).read_text().split():
                with suppress(OSError):
                    (self._group.parent / PROCESSES).write_text(pid)
            with suppress(OSError):  # whoever dies just now still belongs to it
                self._group.rmdir()
                return
            if time.monotonic() > until_s:
                raise HilError(f"{self._group}: cannot be removed")
            time.sleep(0.01)

    def _look(self) -> str:
        try:
            self._group.mkdir()
        except OSError as error:
            return f"no control group for memory can be made here: {error.strerror}"
        has = (self._group / LIMIT).exists()
        self._group.rmdir()
        return "" if has else "control groups here have no limit of memory"


def _own_group() -> Path:
    found = re.search(r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    return MEMORY_GROUPS / (found[1] if found else "")
