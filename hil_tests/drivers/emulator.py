"""One run of the emulator, from a start that the boot ROM chose or a moment that was saved, to its end."""

from __future__ import annotations

import selectors
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .boot_rom import Start
from .monitor import Monitor, MonitorError

MEMORY_MIB = 1024
CHUNK_BYTES = 65536
COMPLAINT_CHARACTERS = 300
MACHINE = ("-M", "virt", "-cpu", "cortex-a72", "-smp", "1", "-m", str(MEMORY_MIB))
# Time is counted in instructions: a busy host makes the box slow, and does not cost it periods.
CLOCK = ("-accel", "tcg", "-icount", "shift=0,sleep=on")
# Nor does one that is idle wait: what is due next comes at once, and nothing depends on the wall clock.
CLOCK_WITHOUT_REST = ("-accel", "tcg", "-icount", "shift=0,sleep=off")
# What the box wrote lies in this machine's memory, which outlives an emulator that is killed. Nobody waits for this
# machine's disk: the clock of the box would run on meanwhile.
DISK = "format=raw,cache=unsafe"


class BoxError(Exception):
    """The box did not do what was waited for; its last words are in the message."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What hangs on the machine.

    Attributes
    ----------
    disk
        Its card: an image, which is written to.
    nvram
        What a reset leaves and a loss of power does not.
    ports
        What of the box's network is reached from here: (port here, port there).
    cable
        Terminal of this machine that the box's second serial port hangs on, which ``evenhand --serial`` talks to.
    """

    disk: Path
    nvram: Path
    ports: tuple[tuple[int, int], ...] = ()
    cable: Path | None = None


class Emulator:
    """A running emulator, with the box's serial line and its own monitor on sockets.

    Parameters
    ----------
    chosen
        What the boot ROM hands over.
    clock
        What the box's time is: ``CLOCK`` or ``CLOCK_WITHOUT_REST``.
    work
        Folder for the device tree.
    saved
        File of a machine to go on from.

    Raises
    ------
    BoxError
        When it cannot go on from what was saved.
    """

    def __init__(
        self, chosen: Start, wiring: Wiring, *, clock: Sequence[str], work: Path, saved: Path | None = None
    ) -> None:
        tree = _device_tree(chosen, work)
        (self._line, their_line), (monitor, their_monitor) = socket.socketpair(), socket.socketpair()
        with their_line, their_monitor:
            self._process = subprocess.Popen(
                [*_command(chosen, wiring, clock, tree),
                 "-chardev", f"socket,id=line,fd={their_line.fileno()}", "-serial", "chardev:line",
                 "-chardev", f"socket,id=monitor,fd={their_monitor.fileno()}", "-mon", "chardev=monitor,mode=control",
                 *([] if saved is None else ["-incoming", f"exec:cat '{saved}'"])],
                pass_fds=(their_line.fileno(), their_monitor.fileno()), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        self._monitor = Monitor(monitor)
        if saved is not None:
            try:
                self._monitor.go_on_from_saved()
            except MonitorError as error:
                complaint = self.complaint()
                self.stop()
                raise BoxError(f"the emulator cannot go on: {error}; {complaint}") from None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as it does when the box resets or shuts down."""
        return self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it ended, and not because the box asked for that."""
        return bool(self._process.poll())

    def type(self, text: str) -> None:
        """Type on the serial line."""
        self._line.sendall(text.encode())

    def take(self, timeout_s: float) -> bytes | None:
        """Return what came over the serial line within a time, None where nothing did, no bytes where its end is."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._line, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                return None
        try:
            came = self._line.recv(CHUNK_BYTES)
        except ConnectionResetError:
            came = b""
        if not came:
            time.sleep(min(timeout_s, 0.05))
        return came

    def stand_still(self) -> None:
        """Let no time pass in the box.

        Raises
        ------
        BoxError
            When it is not heard.
        """
        self._tell("stop")

    def go_on(self) -> None:
        """Let time pass in it again.

        Raises
        ------
        BoxError
            When it is not heard.
        """
        self._tell("cont")

    def save(self, machine: Path) -> None:
        """Write memory and devices of a box that stands still.

        Raises
        ------
        BoxError
            When that fails.
        """
        try:
            self._monitor.save(machine)
        except MonitorError as error:
            raise BoxError(f"the emulator cannot be saved: {error}") from None

    def complaint(self) -> str:
        """Return what an emulator that is going down says of that."""
        assert self._process.stderr is not None
        self._process.kill()
        return self._process.stderr.read().decode(errors="replace")[:COMPLAINT_CHARACTERS]

    def stop(self) -> None:
        """Pull the plug."""
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._line.close()
        self._monitor.close()

    def _tell(self, request: str) -> None:
        try:
            self._monitor.ask(request)
        except MonitorError as error:
            raise BoxError(f"the emulator does not hear: {error}") from None


def _command(chosen: Start, wiring: Wiring, clock: Sequence[str], tree: Path) -> list[str]:
    forwarded = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in wiring.ports)
    cable_end = [] if wiring.cable is None else [
        "-device", "virtio-serial-pci", "-chardev", f"serial,id=cable,path={wiring.cable}",
        "-device", "virtconsole,chardev=cable",
    ]  # fmt: skip
    return [
        "qemu-system-aarch64", *MACHINE, *clock, "-nodefaults", "-display", "none", "-no-reboot", "-dtb", str(tree),
        "-kernel", str(chosen.kernel), "-initrd", str(chosen.first_root), "-append", chosen.command_line,
        "-drive", f"if=none,id=card,file={wiring.disk},{DISK}", "-device", "virtio-blk-pci,drive=card",
        "-drive", f"if=none,id=nvram,file={wiring.nvram},{DISK}",
        "-device", "virtio-blk-pci,drive=nvram,serial=nvram",
        "-netdev", f"user,id=net{forwarded}",
        "-device", "virtio-net-pci,netdev=net,romfile=",  # Debian keeps that ROM in another package
        "-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset", *cable_end,
    ]  # fmt: skip


def _device_tree(chosen: Start, work: Path) -> Path:
    """Return the machine's device tree with what the boot loader says, big-endian as everything in it."""
    tree = work / "board.dtb"
    dump = ["qemu-system-aarch64", "-M", f"virt,dumpdtb={tree}", *MACHINE[2:], "-nodefaults", "-display", "none"]
    subprocess.run(dump, check=True, capture_output=True)
    for name, number in (("partition", chosen.partition), ("tryboot", int(chosen.is_tryboot))):
        subprocess.run(
            ["fdtput", "-p", "-t", "i", str(tree), "/chosen/bootloader", name, str(number)],
            check=True, capture_output=True,
        )  # fmt: skip
    return tree
