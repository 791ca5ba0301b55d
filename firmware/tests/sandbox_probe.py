"""Run behind the sandbox of a unit, says what it could do there: a JSON list. Must not import anything of ours."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
WRITABLE_CODE = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC


def _unshare() -> None:
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER) != 0:
        raise OSError


def _see_other_processes() -> None:
    if not Path("/proc/1/status").exists():
        raise OSError


def _make_setuid() -> None:
    path = Path("/run/evenhand/probe")
    path.touch()
    try:
        path.chmod(0o4755)
    finally:
        path.unlink()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "network socket": lambda: socket.socket(socket.AF_INET),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "read the sound card": lambda: Path("/run/node").read_text(),
    "read a home": lambda: list(Path("/root").iterdir()),
    "read about the machine": lambda: Path("/proc/cpuinfo").read_text(),
    "see other processes": _see_other_processes,
    "write the shared folder": lambda: Path("/run/evenhand/probe").touch(),
    "write settings": lambda: Path("/etc/evenhand/probe").touch(),
    "write the program": lambda: Path("/opt/evenhand/probe").touch(),
    "open the kernel's log": lambda: os.open("/dev/probe", os.O_RDONLY),
    "run code from writable memory": lambda: mmap.mmap(-1, 4096, prot=WRITABLE_CODE),
    "make a set-uid file": _make_setuid,
    "become root": lambda: os.setuid(0),
    "change the host's name": lambda: socket.sethostname("probe"),
    "make a namespace": _unshare,  # the last: in there it has lost its other rights
}


def main() -> None:
    """Try everything."""
    done = []
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except OSError:
            continue
        done.append(name)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
