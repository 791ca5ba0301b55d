"""An emulated box: a disk, a serial line, power. Each reset goes through the boot ROM, as on a board.

``python -m hil_tests.drivers.qemu_box DISK`` gives the box's serial line to this terminal.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .boot_rom import NVRAM_BYTES, RomError, Start, start
from .console import printed_by
from .emulator import CHUNK_BYTES, CLOCK, BoxError, Emulator, Wiring

PROMPT = "root@evenhand:~# "
LAST_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A box as it was: a folder with its memory and its disk, and the start that it came from."""

    folder: Path
    start: Start
    clock: Sequence[str]


class QemuBox:
    """A box from power on to power off. A context manager.

    Parameters
    ----------
    disk
        Its card: an image, which is written to.
    work
        Folder for what belongs to one box.
    ports
        What of the box's network is reached from here: (port here, port there).
    cable
        Terminal of this machine that the box's second serial port hangs on, which ``evenhand --serial`` talks to.
    clock
        What its time is: ``CLOCK`` or ``CLOCK_WITHOUT_REST``.
    """

    def __init__(
        self, disk: Path, work: Path, *, ports: Sequence[tuple[int, int]] = (), cable: Path | None = None,
        clock: Sequence[str] = CLOCK,
    ) -> None:  # fmt: skip
        self.disk, self.clock, self._work = disk, clock, work
        self._nvram = work / "nvram"
        self._wiring = Wiring(disk=disk, nvram=self._nvram, ports=tuple(ports), cable=cable)
        self.log = work / "line.log"  # all that came over the serial line, as it comes, and where each start begins
        self._nvram.write_bytes(bytes(NVRAM_BYTES))
        self._emulator: Emulator | None = None
        self.said = ""  # all that came over the serial line
        self.starts: list[Start] = []
        self._mark = 0  # how far it was waited for
        self._start_mark = 0  # where the last start begins
        self._n_commands = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_power()

    def power_on(self) -> Start:
        """Let the ROM choose and start what it chose.

        Raises
        ------
        RomError
            When the disk does not boot.
        """
        self.cut_power()
        return self._launch()

    def cut_power(self) -> None:
        """Pull the plug: what was not yet on the disk is lost, and so is a try that was asked for."""
        self._stop()
        self._nvram.write_bytes(bytes(NVRAM_BYTES))

    def wait_for_reset(self, timeout_s: float) -> Start:
        """Wait until the box resets by itself, and go on with what the ROM chooses then.

        Raises
        ------
        BoxError
            When it does not.
        """
        self._wait_until_it_ends("reset", timeout_s)
        return self._launch()

    def wait_for_power_down(self, timeout_s: float) -> None:
        """Wait until the box shuts down by itself; it has no power then.

        Raises
        ------
        BoxError
            When it does not.
        """
        self._wait_until_it_ends("shutdown", timeout_s)
        self.cut_power()

    @property
    def is_on(self) -> bool:
        """Whether it has power, and has not just reset."""
        return self._emulator is not None and self._emulator.is_running

    def go_on(self, is_over: Callable[[], bool], timeout_s: float) -> bool:
        """Let it run, through every reset, until something is so; return whether it came to be."""
        until_s = time.monotonic() + timeout_s
        while not is_over():
            if time.monotonic() > until_s:
                return False
            if not self._take(0.2) and not self.is_on:
                self.wait_for_reset(1.0)
        return True

    def wait_for(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """Wait for something on the serial line that was not waited for before.

        Raises
        ------
        BoxError
            When it does not come, or the box resets before.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            match = re.search(pattern, self.said[self._mark :])
            if match:
                self._mark += match.end()
                return match
            if time.monotonic() > until_s:
                raise BoxError(f"no {pattern!r} within {timeout_s:.0f} s; it said: {self.last_words}")
            if not self._take(0.2) and self._emulator is not None and not self._emulator.is_running:
                complaint = self._emulator.complaint()
                raise BoxError(f"it went down before {pattern!r}; {complaint}; it said: {self.last_words}")

    def type(self, text: str) -> None:
        """Type on the serial line."""
        assert self._emulator is not None
        self._emulator.type(text)

    def run(self, command: str, timeout_s: float = 60.0) -> str:
        """Run a command in the shell on the serial line and return what it printed.

        Raises
        ------
        BoxError
            When it fails or does not end.
        """
        self._n_commands += 1  # a shell that is late echoes a line twice
        name = f"end-{self._n_commands}"
        self.type(f"{command}; echo {name}:$?:\n")
        done = self.wait_for(rf"(?s)(.*?){name}:(\d+):\r?\n", timeout_s)
        printed = printed_by(done[1], name, PROMPT)
        if done[2] != "0":
            raise BoxError(f"{command}: status {done[2]}: {printed.strip()[-300:]}")
        return printed

    def attach(self) -> None:
        """Show the serial line and pass on what is typed, over every reset, until the terminal ends.

        Raises
        ------
        BoxError
            When standard input is neither a terminal nor a pipe.
        """
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(sys.stdin, selectors.EVENT_READ)
            except PermissionError:
                raise BoxError("standard input is a file; start this at a terminal, or through a pipe") from None
            while True:
                shown = len(self.said)
                self._take(0.05)
                sys.stdout.write(self.said[shown:])
                sys.stdout.flush()
                if selector.select(0.0):
                    text = os.read(sys.stdin.fileno(), CHUNK_BYTES)
                    if not text:
                        return
                    self.type(text.decode("utf-8", "replace"))
                if self._emulator is not None and not self._emulator.is_running:
                    self.wait_for_reset(1.0)

    @property
    def said_since_start(self) -> str:
        """What it has said since it was started last."""
        return self.said[self._start_mark :]

    @property
    def last_words(self) -> str:
        """The end of what it said."""
        return self.said[-LAST_CHARACTERS:]

    def save(self, folder: Path) -> Moment:
        """Keep this moment in a folder: memory, devices, disk. The box stands still meanwhile.

        Raises
        ------
        BoxError
            When the emulator does not.
        """
        assert self._emulator is not None
        self._emulator.stand_still()
        _copy(self.disk, folder / "disk")
        _copy(self._nvram, folder / "nvram")
        self._emulator.save(folder / "machine")
        self._emulator.go_on()
        return Moment(folder=folder, start=self.starts[-1], clock=self.clock)

    def restore(self, moment: Moment) -> None:
        """Go on from a moment that was saved. Connections from then are gone, those of the box do not know.

        Raises
        ------
        BoxError
            When the emulator does not.
        """
        self._stop()
        _copy(moment.folder / "disk", self.disk)
        _copy(moment.folder / "nvram", self._nvram)
        self.clock = moment.clock
        self._begin(moment.start, saved=moment.folder / "machine")

    def rest_when_idle(self) -> None:
        """Go on by ``CLOCK`` from this very moment, and from the next start on. Connections from before are gone.

        Raises
        ------
        BoxError
            When the emulator does not.
        """
        if self.clock == CLOCK:
            return
        self.clock = CLOCK
        if self._emulator is None or not self._emulator.is_running:
            return
        with tempfile.TemporaryDirectory(dir=self._work) as name:
            machine = Path(name, "machine")
            self._emulator.stand_still()
            self._emulator.save(machine)
            self._stop()
            self._begin(self.starts[-1], saved=machine)

    def _wait_until_it_ends(self, what: str, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        assert self._emulator is not None
        while self._emulator.is_running:
            if time.monotonic() > until_s:
                raise BoxError(f"no {what} within {timeout_s:.0f} s; it said: {self.last_words}")
            self._take(0.2)
        self._take(0.0)
        if self._emulator.has_failed:
            raise BoxError(f"the emulator failed: {self._emulator.complaint()}")
        self._stop()

    def _launch(self) -> Start:
        chosen = start(self.disk, self._nvram, self._work)
        self._mark = len(self.said)  # what was said before is over
        self._begin(chosen)
        return chosen

    def _begin(self, chosen: Start, *, saved: Path | None = None) -> None:
        self.starts.append(chosen)
        self._note(
            f"\n[start {len(self.starts)}, partition {chosen.partition}{', a try' * chosen.is_tryboot}]\n".encode()
        )
        self._start_mark = len(self.said)
        self._emulator = Emulator(chosen, self._wiring, clock=self.clock, work=self._work, saved=saved)

    def _take(self, timeout_s: float) -> bool:
        came = None if self._emulator is None else self._emulator.take(timeout_s)
        if came is None:
            return False
        self.said += came.decode("utf-8", "replace")
        self._note(came)
        return bool(came)

    def _note(self, came: bytes) -> None:
        with self.log.open("ab") as log:
            log.write(came)

    def _stop(self) -> None:
        if self._emulator is not None:
            self._emulator.stop()
            self._emulator = None


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)], check=True)


def main(argv: list[str] | None = None) -> int:
    """Give the box's serial line to this terminal until Ctrl-C; the disk is copied unless it may be written to."""
    parser = argparse.ArgumentParser(prog="python -m hil_tests.drivers.qemu_box", description=__doc__)
    parser.add_argument("disk", type=Path, help="image of a box")
    parser.add_argument("--write", action="store_true", help="write to this very file, not to a copy")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="evenhand-box-") as name:
        disk = options.disk
        if not options.write:
            disk = Path(name, "card.img")
            _copy(options.disk, disk)
        try:
            with QemuBox(disk, Path(name)) as box:
                box.power_on()
                box.attach()
        except (RomError, BoxError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
