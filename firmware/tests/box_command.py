"""``evenhand-box`` as people start it, in a process of its own, and what it must not leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from board_configs.board import load_board

PATIENCE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


def start_box(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    out: int | IO[str] = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Start a command of the box; ``prefix`` is a program that starts it, such as ``nice``, in the same process."""
    command = [*prefix, sys.executable, "-m", "firmware", *map(str, arguments)]
    return subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=out,
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who started us may ignore it
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> Done:
    """Wait for its end; it must leave no process and no folder behind."""
    with process:
        try:
            out, err = process.communicate(timeout=PATIENCE_S)  # out is None where it went elsewhere
        finally:
            process.kill()
    left = left_by(process.pid)
    assert not left, left
    return Done(status=process.returncode, out=out or "", err=err)


def box(*arguments: object, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> Done:
    """Run a command of the box to its end."""
    return finished(start_box(*arguments, environment=environment, prefix=prefix))


def assert_refused(done: Done, *words: str) -> None:
    """Fail unless it ended with status 1 and one line that says all of ``words``, and said nothing else."""
    assert done.status == 1, done
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    missing = [word for word in words if word not in done.err]
    assert not missing, done.err


def left_by(pid: int) -> list[str]:
    """Return the runtime folders and the child processes of a box that has ended."""
    folders = {Path("/dev/shm"), Path(tempfile.gettempdir())}
    left = [str(path) for folder in folders if folder.is_dir() for path in folder.glob(f"evenhand-run-{pid}-*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended as we looked
            continue
        if b"--parent" in words and words[words.index(b"--parent") + 1] == str(pid).encode():
            left.append(b" ".join(words).decode(errors="replace"))
    return left


def children_of(pid: int) -> list[int]:
    """Return the processes that ``pid`` has started and that still run."""
    children = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(process.name))
        except OSError:  # it ended as we looked
            continue
    return children


def sim_board(path: Path, **changes: object) -> Path:
    """Write the simulated board with some of its values changed, and return the file; they are written as in TOML."""
    lines = load_board("sim").path.read_text().splitlines()
    for key, value in changes.items():
        assert any(line.split("=")[0].strip() == key for line in lines), key
        lines = [f"{key} = {value}" if line.split("=")[0].strip() == key else line for line in lines]
    path.write_text("\n".join(lines) + "\n")
    return path
