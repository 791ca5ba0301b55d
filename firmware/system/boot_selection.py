"""Which slot a box boots: the file that the boot loader reads, the slot it did boot, and the one try of the other.

On a Raspberry Pi ``autoboot.txt`` names the committed slot and the one to try; where a try was asked for with the
reboot, its firmware takes the other slot once, and forgets. A PC's GRUB has both in its environment block
(``grub_env.py``) and clears the try before it starts it. So nothing has to be undone after a slot that does not come
up: the next start is the committed one. Each change is one write over the file's one sector, in its place: a power cut
leaves the old file or the new one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from firmware.errors import EvenhandError

from .grub_env import PLACE, env_bytes, read_env

FILE_BYTES = 512  # a sector, and the most that the boot loader reads
PARTITION_OF = {"a": 2, "b": 3}
SLOT_OF = {number: slot for slot, number in PARTITION_OF.items()}
TRY = "0 tryboot"  # the reboot's parameter: partition 0 is the file's own choice


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What ``autoboot.txt`` says."""

    committed: str
    trial: str


def selection_bytes(committed: str) -> bytes:
    """Return the file that commits a slot, to its 512 bytes."""
    trial = other(committed)
    text = (
        "# Which boot partition is taken: [all] always, [tryboot] once after a reboot that asks for it.\n"
        f"[all]\ntryboot_a_b=1\nboot_partition={PARTITION_OF[committed]}\n"
        f"[tryboot]\nboot_partition={PARTITION_OF[trial]}\n"
    )
    return text.encode("ascii").ljust(FILE_BYTES, b"\n")


def read_selection(content: bytes) -> Selection:
    """Return what the file says.

    Raises
    ------
    EvenhandError
        When it names no two slots of ours.
    """
    chosen: dict[str, str] = {}
    section = "[all]"
    for raw in content[:FILE_BYTES].decode("ascii", "replace").splitlines():
        line = raw.partition("#")[0].strip()
        if line.startswith("["):
            section = line
        key, _, value = line.partition("=")
        if key.strip() == "boot_partition" and value.strip().isdigit():
            chosen[section] = SLOT_OF.get(int(value), "")
    committed, trial = chosen.get("[all]", ""), chosen.get("[tryboot]", "")
    if not committed or trial != other(committed):
        raise EvenhandError("autoboot.txt: names no two slots; write the card anew, or the file from another box")
    return Selection(committed=committed, trial=trial)


def other(slot: str) -> str:
    """Return the other slot."""
    return "b" if slot == "a" else "a"


class BootSelection:
    """The selection of this box.

    Parameters
    ----------
    root
        Where its files begin; a test has them elsewhere.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._folder = root / "boot/select"
        self._grub = self._folder / PLACE
        self._slot = root / "run/evenhand-boot/slot"  # the first root writes it
        self._reboot = root / "run/systemd/reboot-param"
        self._broken = root / "data/slots"

    @property
    def booted(self) -> str:
        """The slot that runs, as the boot loader said."""
        try:
            name = self._slot.read_text(encoding="ascii").strip().removeprefix("EVENHAND_SLOT=")
        except OSError as error:
            raise EvenhandError(
                f"{self._slot}: cannot be read ({error.strerror}); is the box one of our images?"
            ) from None
        if name not in PARTITION_OF:
            raise EvenhandError(f"{self._slot}: names {name[:20]!r}, which is no slot")
        return name

    @property
    def is_trial(self) -> bool:
        """Whether what runs is not committed: the next start is another slot."""
        return self.booted != self.committed

    @property
    def committed(self) -> str:
        """The slot that the next ordinary start takes."""
        return self._read()[0]

    @property
    def primary(self) -> str:
        """The slot that the next reboot takes: the trial, where one was asked for."""
        committed, trial = self._read()
        return trial or committed

    def ask(self, slot: str) -> None:
        """Let the next reboot take ``slot``: once where it is not committed."""
        if slot == self.committed:
            self.withdraw()
            return
        self._mark(slot, is_broken=False)
        if self._has_grub:
            self._write(self._grub, env_bytes(self.committed, slot))
            return
        self._reboot.parent.mkdir(parents=True, exist_ok=True)
        self._reboot.write_text(TRY, encoding="ascii")

    def withdraw(self) -> None:
        """Take back a try that was asked for."""
        committed, trial = self._read()
        if not trial:
            return
        if self._has_grub:
            self._write(self._grub, env_bytes(committed))
        else:
            self._reboot.unlink()

    def is_good(self, slot: str) -> bool:
        """Whether a slot may be started: one being written, or that was given up, may not."""
        return slot == self.committed or not (self._broken / f"{slot}.bad").exists()

    def commit(self) -> None:
        """Make the slot that runs the one to start from now on."""
        self._mark(self.booted, is_broken=False)
        if not self.is_trial:
            return
        if self._has_grub:
            self._write(self._grub, env_bytes(self.booted))
        else:
            self._write(self._folder / "autoboot.txt", selection_bytes(self.booted))

    def give_up(self, slot: str) -> None:
        """Keep ``slot`` from being started; the committed one stays what it is."""
        if slot == self.committed:
            return
        self._mark(slot, is_broken=True)
        self.withdraw()

    @property
    def _has_grub(self) -> bool:
        return self._grub.exists()

    def _read(self) -> tuple[str, str]:
        """Return the committed slot, and the one that the next reboot tries or ""."""
        path = self._grub if self._has_grub else self._folder / "autoboot.txt"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise EvenhandError(f"{path}: cannot be read ({error.strerror}); is the box one of our images?") from None
        if self._has_grub:
            return read_env(content)
        said = read_selection(content)
        return said.committed, said.trial if self._is_asked() else ""

    def _is_asked(self) -> bool:
        try:
            return self._reboot.read_text(encoding="ascii").strip() == TRY
        except OSError:
            return False

    def _mark(self, slot: str, *, is_broken: bool) -> None:
        mark = self._broken / f"{slot}.bad"
        if is_broken:
            self._broken.mkdir(parents=True, exist_ok=True)
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        """Overwrite a file of one sector in its place."""
        with self._writable():
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(fd, content, 0)
                os.fsync(fd)
            finally:
                os.close(fd)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        self._mount("remount,rw")
        try:
            yield
        finally:
            self._mount("remount,ro")

    def _mount(self, options: str) -> None:
        done = subprocess.run(["mount", "-o", options, str(self._folder)], capture_output=True, text=True)
        if done.returncode != 0:
            raise EvenhandError(f"{self._folder}: mount -o {options} failed ({' '.join(done.stderr.split())[:120]})")
