"""The data disk of a simulated box: an ext4 in a sparse file, so that it can be full, slow, stuck, and bad in places.

It needs the right to mount. Where that is missing the box's data lie in its folder as before, and ``lacking`` says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hil_tests.errors import HilError

SIZE_MIB = 2048  # sparse: only what is written takes memory
BLOCK_BYTES = 512
BAD_BYTE = 0xFF  # what an erased cell of flash reads; in no text
FILLER = "filled"
MARGIN_KIB, CHUNK_BYTES = 4096, 16384
THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")  # of version 1: that of all who write

# All end what they did when their standard input ends: when they are told to, and when we are no more.
_MOUNT = 'mount -o loop,noatime "$0" "$1" && echo done && { read _; umount "$1" || umount --lazy "$1"; rm -f "$0"; }'
_SLOW = 'echo "$1 $2" >"$0" && echo done && { read _; echo "$1 0" >"$0"; }'
_FREEZE = 'fsfreeze --freeze "$0" && echo done && { read _; fsfreeze --unfreeze "$0"; }'


class DataDisk:
    """One disk, mounted on ``place`` while it is on.

    Parameters
    ----------
    image
        File to make it in.
    place
        Empty folder to mount it on.
    """

    def __init__(self, image: Path, place: Path) -> None:
        self._image, self._place = image, place
        self._mount: _Keeper | None = None
        self._freeze: _Keeper | None = None
        self._slow: _Keeper | None = None
        self._kib_per_s = 0.0
        self.lacking = ""

    def mount(self) -> None:
        """Make it and put it in its place."""
        with self._image.open("wb") as file:
            file.truncate(SIZE_MIB << 20)
        try:
            _call("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", str(self._image))
            self._mount = _Keeper(_MOUNT, self._image, self._place)
        except HilError as error:
            self.lacking = f"no data disk of its own: {error}"
            self._image.unlink(missing_ok=True)
            return
        (self._place / "lost+found").rmdir()

    def unmount(self) -> None:
        """Take it away with all that is on it; nobody may use it any more."""
        self.free()
        if self._mount is not None:
            self._mount.end()
            self._mount = None

    def stick(self) -> None:
        """Let everybody who writes wait."""
        self._freeze = _Keeper(_FREEZE, self._place)

    def slow(self, kib_per_s: float) -> None:
        """Take no more than that of those who write."""
        self._kib_per_s = kib_per_s
        self._slow = _Keeper(_SLOW, THROTTLE, self._device(), int(kib_per_s * 1024))

    def hurry(self) -> None:
        """Take it as fast as ever."""
        if self._slow is not None:
            self._slow.end()
            self._slow = None

    def unstick(self) -> None:
        """Let them go on."""
        if self._freeze is not None:
            self._freeze.end()
            self._freeze = None

    def free(self) -> None:
        """Let nobody wait any more."""
        self.hurry()
        self.unstick()

    def _device(self) -> str:
        number = self._place.stat().st_dev
        return f"{os.major(number)}:{os.minor(number)}"

    @property
    def lacking_slow(self) -> str:
        """Why it cannot be slow."""
        return self.lacking or ("" if os.access(THROTTLE, os.W_OK) else f"{THROTTLE}: not there to be written")

    def fill(self, left_mib: float) -> None:
        """Leave so much room, by a file that nobody reads."""
        filler = self._place / FILLER
        with self._for_us():
            filler.unlink(missing_ok=True)
            room_kib = self._room_kib(left_mib) - MARGIN_KIB  # the file's own table of blocks takes room as well
            if room_kib > 0:
                _call("fallocate", "-l", f"{room_kib}KiB", str(filler))
            with filler.open("ab", buffering=0) as file:
                with suppress(OSError):
                    while self._room_kib(left_mib) > 0:
                        file.write(bytes(CHUNK_BYTES))
                with suppress(OSError):
                    os.fsync(file.fileno())  # else who writes to a slow disk waits for our file too

    def _room_kib(self, left_mib: float) -> int:
        return shutil.disk_usage(self._place).free // 1024 - int(left_mib * 1024)

    def empty(self) -> None:
        """Give the room back."""
        with self._for_us():
            (self._place / FILLER).unlink(missing_ok=True)

    def spoil(self, path: Path, part: float) -> None:
        """Make the block bad that lies at ``part`` (0 to 1) of a file; one that is not there stays so."""
        with self._for_us(), suppress(FileNotFoundError), path.open("r+b") as file:
            n_bytes = path.stat().st_size
            n_blocks = max(1, -(-n_bytes // BLOCK_BYTES))
            at = min(int(part * n_blocks), n_blocks - 1) * BLOCK_BYTES
            file.seek(at)
            file.write(bytes([BAD_BYTE]) * min(BLOCK_BYTES, n_bytes - at))

    def flip(self, path: Path, part: float) -> None:
        """Let the lowest bit be another of the byte that lies at ``part`` (0 to 1) of a file: a digit stays a digit."""
        with self._for_us(), suppress(FileNotFoundError), path.open("r+b") as file:
            at = min(int(part * (n_bytes := path.stat().st_size)), n_bytes - 1)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1]))

    @contextmanager
    def _for_us(self) -> Iterator[None]:
        """Inside, the rig can write to a disk that is slow or stuck; others get through as well, for that moment."""
        was_stuck, was_slow = self._freeze is not None, self._slow is not None
        self.free()
        try:
            yield
        finally:
            if was_slow:
                self.slow(self._kib_per_s)
            if was_stuck:
                self.stick()


class _Keeper:
    """A shell that has done something and will undo it."""

    def __init__(self, script: str, *arguments: object) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,  # what ends all of us must not end it
        )  # fmt: skip
        assert self._shell.stdout is not None
        if self._shell.stdout.readline() != "done\n":
            words = self._shell.communicate()[1]
            raise HilError(" ".join(words.split())[:200] or script.split()[0])

    def end(self) -> None:
        """Undo it."""
        words = self._shell.communicate()[1]
        if self._shell.returncode != 0:
            raise HilError(" ".join(words.split())[:200])


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60.0)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HilError(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise HilError(f"{command[0]}: {' '.join(done.stderr.split())[:200] or f'status {done.returncode}'}")
    return done.stdout
