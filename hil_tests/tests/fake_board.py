"""Stands for a board on a bench: a program on the far end of a serial cable, with a shell and a few of its commands.

Its ``/data`` is a folder; ``systemctl`` and ``journalctl`` note what they were asked for. Switching it off is a signal.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tty
from pathlib import Path

PROMPT = "root@evenhand:~# "


def main() -> int:
    """Boot, then answer line by line until the shutdown or the relay."""
    port, folder = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY), Path(sys.argv[2])
    tty.setraw(port)
    environment = {**os.environ, "PATH": f"{folder / 'commands'}:{os.environ['PATH']}", "FOLDER": str(folder)}
    os.write(port, f"Linux version 6.1\r\nevenhand login: root (automatic login)\r\n{PROMPT}".encode())
    line = b""
    while True:
        key = os.read(port, 1)
        if key != b"\n":
            line += key
            continue
        text, line = line.decode(), b""
        os.write(port, f"{text}\r\n".encode())
        here = text.replace("/data/", f"{folder}/data/")
        done = subprocess.run(["bash", "-c", here], env=environment, capture_output=True, text=True)
        os.write(port, (done.stdout + done.stderr).replace("\n", "\r\n").encode())
        if "poweroff" in text:
            os.write(port, b"[   42.0] reboot: Power down\r\n")
            return 0
        os.write(port, PROMPT.encode())


if __name__ == "__main__":
    sys.exit(main())
