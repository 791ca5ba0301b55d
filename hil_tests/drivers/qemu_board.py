"""The emulated box behind the interface of every rig: shell over its serial line, ``evenhand`` over its network.

Its services are systemd's, its settings those of the data partition. The guest runs only while its line is read, so
whatever waits here reads on.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self, TypeVar

from board_configs.board import BoardError, load_board
from hil_tests.board import COMMAND_S
from hil_tests.errors import HilError
from hil_tests.rig import Rig
from hil_tests.tap import Tap
from host_tools.seeding import MARK, Seed

from .boot_rom import RomError, partition_offset_bytes
from .built_image import built_image
from .emulator import CLOCK, CLOCK_WITHOUT_REST, BoxError
from .loop_link import LoopLink
from .qemu_box import PROMPT, Moment, QemuBox
from .systemd_box import SystemdBox
from .systemd_shell import PLAIN_LINE

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("qemu-system-aarch64", "mcopy", "fdtput", "rauc")
START_S = 1800.0  # of a busy machine; a quiet one takes a minute
MORE_BYTES = 600 << 20  # a card is larger than its image
SELECT_BYTES = 40 << 20  # the partition that the seed lies in
AGENT_PORT = 4717
NAME, PAIRING_CODE = "bench", "BNCH-C0DE"
SETTLE_S = 8.0  # of a clock that was exchanged
SLOWER = 20.0  # than a box: how much longer a command may take
ASKING = ("pair", "status")  # commands that may be given again
# Too early: the emulator takes what nobody listens to yet.
GAVE_UP = re.compile(r"timed out|no answer|reset by peer|EOF occurred")
AWAKE = "(chrt --idle 0 sh -c 'while :; do :; done' >/dev/null 2>&1 & echo $! >/run/awake)"
REST = "kill $(cat /run/awake)"
CHANGING = ("update", "rollback", "restore")  # commands of the laptop after which a box is another
T = TypeVar("T")


class QemuBoard(SystemdBox):
    """A ``Box`` of ``hil_tests.board``.

    Settings of the rig's table: ``board``; ``images``, the folder of this checkout's images, and ``keys``, that of the
    bench's own, both from the rig's folder. EVENHAND_IMAGE and EVENHAND_KEYS name an image and keys that win.

    Raises
    ------
    HilError
        When the rig says what cannot be.
    """

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        try:
            self.board = load_board(rig.settings.text("board"))
            self._images, self._keys = (
                (rig.path.parent / rig.settings.text(key)).resolve() for key in ("images", "keys")
            )
            rig.settings.close()
        except BoardError as error:
            raise HilError(str(error)) from None
        self._is_paired = False
        self._moment: Moment | None = None

    def __enter__(self) -> Self:
        self._image = self.find_image()
        self._disk = max(self._image.glob("*.img"), key=lambda path: path.stat().st_size)
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="evenhand-hil-")))
        self._stack.callback(self.cut_power)
        self._make_card()
        return self

    def find_image(self) -> Path:
        """Return the image's folder: the one that is named, else that of this checkout, built now where it must be.

        Raises
        ------
        HilError
            When there is none, or a program is missing.
        """
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing:
            raise HilError(f"rig {self.rig.name}: not installed: {', '.join(missing)}; `.ci/setup image` installs them")
        named = os.environ.get("EVENHAND_IMAGE")
        if not named:
            return built_image(self.board.name, self._images, self._keys, partial(print, flush=True))
        self._keys = Path(os.environ.get("EVENHAND_KEYS") or self._keys).resolve()
        if not list(Path(named).glob("*.img")):
            raise HilError(
                f"{named}: no image is there; `evenhand image build --board {self.board.name} --development "
                "--keyring KEYS/ca.pem` makes one, without EVENHAND_IMAGE this checkout's is built"
            )
        return Path(named).resolve()

    def renew(self) -> None:
        """Give it a new card from the image."""
        self.cut_power()
        self._make_card()

    def restore(self) -> bool:
        """Go on from the first moment at which it was up, paired and as new."""
        moment = self._moment
        if moment is None:
            return False
        self._guarded(lambda: self._box.restore(moment))
        self._start_of_shell = len(self._box.starts)
        self._tap.forget()
        self._is_touched = False
        return True

    # --------------------------------------------------------------------------------------------------- power

    @property
    def has_power(self) -> bool:
        """Whether the emulator runs."""
        return self._box.is_on

    def power_on(self) -> None:
        """Let its boot loader choose and start."""
        self._guarded(self._box.power_on)

    def power_off(self) -> None:
        """Shut down in order."""
        self._box.type("systemctl poweroff\n")
        self._guarded(lambda: self._box.wait_for_power_down(START_S))

    def cut_power(self) -> None:
        """Pull the plug."""
        self._box.cut_power()

    def wait_until_up(self, timeout_s: float = START_S) -> None:
        """Wait for the shell, for what is mounted after it, and for engine and control."""
        until_s = time.monotonic() + timeout_s
        self._wait_for_shell(timeout_s)
        self.run("systemctl start data.mount evenhand-folders.service", timeout_s / SLOWER)
        self._wait_for_services(until_s)
        if self._moment is None and self.is_as_new:
            self._pair()
            folder = self.folder / "moment"
            folder.mkdir()
            self._moment = self._guarded(lambda: self._box.save(folder))

    # --------------------------------------------------------------------------------------------------- shell

    def run(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a command in the shell on its serial line."""
        return self._guarded(lambda: self._box.run(command, timeout_s * SLOWER))

    def pass_time(self, seconds: float) -> None:
        """Let the box sleep for so long, by its own clock."""
        self.run(f"sleep {seconds}", COMMAND_S + seconds)

    # --------------------------------------------------------------------------------------------------- wires

    @property
    def audio(self) -> Tap:
        """Its sound, over the far end of its card."""
        self.rig.need("audio_loopback")
        return self._tap

    @property
    def serial(self) -> QemuSerial:
        """Its console."""
        return QemuSerial(self._box, self._guarded)

    @property
    def network_address(self) -> tuple[str, int]:
        """Where its update agent is reached from here."""
        return "127.0.0.1", self._port

    def evenhand(self, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """Run the laptop's command, paired when it is first needed, while the box goes on through its resets."""
        self._pair()
        if arguments[0] in CHANGING:
            self._is_touched = True
            self._rest_when_idle()
        return self._on_laptop(*arguments, timeout_s=timeout_s * SLOWER)

    @cached_property
    def release(self) -> Path:
        """A bundle of the image itself, signed with the rig's keys."""
        made = self.folder / "release.raucb"
        words: list[object] = ["--image", self._image, "--keys", self._keys, "--out", made]
        done = subprocess.run(
            [sys.executable, "-m", "firmware.image", "bundle", *map(str, words)], cwd=ROOT, capture_output=True,
            text=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise HilError(f"no bundle of {self._image}: {done.stderr.strip()[-300:]}")
        return made

    # -------------------------------------------------------------------------------------------------- inside

    def _make_card(self) -> None:
        """Copy the image to a card that is larger, with a name and a code in its seed."""
        card = self.folder / "card.img"
        subprocess.run(["cp", "--sparse=always", str(self._disk), str(card)], check=True)
        with card.open("r+b") as file:
            start = self._guarded(lambda: partition_offset_bytes(card, 1))
            file.seek(start)
            at = file.read(SELECT_BYTES).find(MARK)
            if at < 0:
                raise HilError(f"{self._disk}: has no seed to write a pairing code into; build it anew")
            file.seek(start + at)
            file.write(Seed(name=NAME, pairing_code=PAIRING_CODE).block())
            file.truncate(card.stat().st_size + MORE_BYTES)
        shutil.rmtree(self.folder / "laptop", ignore_errors=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = int(probe.getsockname()[1])
        self._box = QemuBox(card, self.folder, ports=[(self._port, AGENT_PORT)], clock=CLOCK_WITHOUT_REST)
        self._tap = Tap(LoopLink(self.board, self.run))
        shutil.rmtree(self.folder / "moment", ignore_errors=True)
        self._moment = None
        self._is_touched = self._is_paired = False
        self._start_of_shell = 0  # how many starts it had when its shell was there

    def _wait_for_shell(self, timeout_s: float) -> None:
        if self._start_of_shell != len(self._box.starts):
            self._guarded(lambda: self._box.wait_for(PROMPT, timeout_s))
            self.run(PLAIN_LINE)
            self._start_of_shell = len(self._box.starts)

    def _rest_when_idle(self) -> None:
        """Go on by a clock that rests. An emulator whose box leaps through its idle time does not hear its monitor.

        For some seconds after that the box's clock runs ahead and stands, until it has found the wall's: it sleeps
        meanwhile, and a question that may be asked again shows that it is well.
        """
        if self._box.clock == CLOCK:
            return
        self._wait_for_shell(START_S)
        self.run(AWAKE)
        self._guarded(self._box.rest_when_idle)
        self._start_of_shell = len(self._box.starts)
        self.run(REST)
        self.pass_time(SETTLE_S)
        self._on_laptop("status", timeout_s=START_S)

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Let the box never idle, where time would leap while it does, and the patience of both ends with it."""
        if self._box.clock == CLOCK:
            yield
            return
        self._wait_for_shell(START_S)
        self.run(AWAKE)
        yield
        self._wait_for_shell(START_S)
        self.run(REST)

    def _pair(self) -> None:
        if not self._is_paired:
            self._on_laptop("pair", f"127.0.0.1:{self._port}", "--code", PAIRING_CODE, timeout_s=START_S)
            self._is_paired = True

    def _on_laptop(self, *words: str, timeout_s: float) -> str:
        """Run a command while the box goes on; one that only asks, again where it did not wait for the answer."""
        until_s = time.monotonic() + timeout_s
        while True:
            with self._awake():
                status, said, complaint = self._tried_on_laptop(*words, timeout_s=until_s - time.monotonic())
            if status == 0:
                return said
            if status is None or words[0] not in ASKING or not GAVE_UP.search(complaint):
                how = f"no end within {timeout_s:.0f} s" if status is None else f"status {status}"
                raise HilError(f"evenhand {words[0]}: {how}: {complaint[-400:]}")

    def _tried_on_laptop(self, *words: str, timeout_s: float) -> tuple[int | None, str, str]:
        """Return how a command ended, None where it did not, and what it said."""
        environment = {**os.environ, "EVENHAND_CONFIG": str(self.folder / "laptop")}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "host_tools", *words], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err,
            )  # fmt: skip
            try:
                is_over = self._guarded(lambda: self._box.go_on(lambda: process.poll() is not None, timeout_s))
            finally:
                process.kill()
                process.wait()
            out.seek(0), err.seek(0)
            return process.returncode if is_over else None, out.read(), err.read().strip()

    def _guarded(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except (BoxError, RomError) as error:
            raise HilError(f"rig {self.rig.name}: {error}") from None


class QemuSerial:
    """The ``SerialLine`` of ``hil_tests.board``."""

    def __init__(self, box: QemuBox, guarded: Callable[[Callable[[], Any]], Any]) -> None:
        self._box, self._guarded = box, guarded

    def wait_for(self, pattern: str, timeout_s: float) -> str:
        """Return what matched."""
        return str(self._guarded(lambda: self._box.wait_for(pattern, timeout_s))[0])

    def type(self, text: str) -> None:
        """Type on it."""
        self._box.type(text)

    @property
    def said(self) -> str:
        """All that came over it, and where each start began."""
        return self._box.log.read_text(encoding="utf-8", errors="replace")
