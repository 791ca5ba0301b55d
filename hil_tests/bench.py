"""An emulated box with its laptop and the cable between them, brought to where a test begins."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from host_tools.seeding import MARK, Seed
from host_tools.tests.cable import Cable

from .drivers.boot_rom import chosen_partition, read_file
from .drivers.emulator import BoxError
from .drivers.qemu_box import PROMPT, QemuBox
from .laptop import Laptop
from .partitions import Extent, extents
from .releases import Releases

ROOT = Path(__file__).resolve().parents[1]
START_S = 1800.0  # of a busy machine; a quiet one takes a minute
MORE_BYTES = 600 << 20  # a card is larger than its image
NAME, CODE = "testbox", "ABCD-1234"
# A board of its own. It promises next to no periods: the emulator loses some whenever this machine lets it wait. And it
# is small: vectors are what an emulator is slowest at, so that each second with sound costs this machine many.
BOARD_FILE = "/data/settings/qemu_arm64.toml"
BOARD = {"min_served_percent": "1.0", "n_capture": "2", "n_playback": "2"}
SETTINGS_FILE = "/data/settings/box.env"
SETTINGS = f"# of this venue\nEVENHAND_BOARD={BOARD_FILE}\nEVENHAND_HEALTH_SECONDS=3\n"
SYSTEM_PARTITIONS = (1, 2, 3, 5, 6)  # what boots
DATA_PARTITION = 7
AGENT_PORT = 4717


class Bench:
    """A context manager; nothing is switched on before the first test asks for it."""

    def __init__(self, releases: Releases, work: Path) -> None:
        self.releases, self._work = releases, work
        self._n_cards = 0
        self._began_s = time.monotonic()
        self._box: QemuBox | None = None
        self.laptop = Laptop(work / "laptop-0")
        self.cable = Cable(work / "cable")

    def __enter__(self) -> Self:
        self.cable.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._box is not None:
            self._box.cut_power()
        self.cable.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """Say what is seen, with how long ago the bench was set up."""
        print(f"[{time.monotonic() - self._began_s:6.0f} s] {text}", flush=True)

    @property
    def box(self) -> QemuBox:
        """The box, once ``ready`` has made it."""
        assert self._box is not None
        return self._box

    def ready(self, version: str | None = None) -> dict[str, Any]:
        """Return the status of a box that is on, paired, committed, and runs ``version`` where one is named.

        The box of the last test where it is that, else a new one with a card from the image.
        """
        if self._box is not None and self._box.is_on:
            try:
                told = self.settled()
            except BoxError:
                told = {"version": None}
            if told["version"] == (version or told["version"]):
                return told
        return self.fresh()

    def fresh(self) -> dict[str, Any]:
        """Return the status of a new box: flashed, with settings of its own, switched on, paired."""
        if self._box is not None:
            self._box.cut_power()
        self._n_cards += 1
        work = self._work / f"box-{self._n_cards}"
        work.mkdir()
        card, port = work / "card.img", _free_port()
        subprocess.run(["cp", "--sparse=always", str(self.releases.disk), str(card)], check=True)
        with card.open("r+b") as file:
            select = extents(card)[1]
            file.seek(select.start_bytes)
            at = select.start_bytes + file.read(select.size_bytes).index(MARK)
            file.seek(at)
            file.write(Seed(name=NAME, pairing_code=CODE).block())
            file.truncate(card.stat().st_size + MORE_BYTES)
        self._write_settings(card)
        self._box = QemuBox(card, work, ports=[(port, AGENT_PORT)], cable=self.cable.ends["box"])
        self.laptop = Laptop(self._work / f"laptop-{self._n_cards}")
        self._box.power_on()
        on_s = time.monotonic()
        self._box.wait_for(PROMPT, START_S)
        prompt_s = time.monotonic() - on_s
        uptime = self._box.run("cut -d' ' -f1 /proc/uptime", START_S).strip()
        self.await_health()
        self.note(
            f"first start: shell after {prompt_s:.0f} s here and {uptime} s of the box, "
            f"health after {time.monotonic() - on_s:.0f} s here"
        )
        paired = self.laptop.run(self._box, "pair", f"127.0.0.1:{port}", "--code", CODE, "--name", "laptop")
        assert paired.status == 0, paired.said
        return self.settled()

    def _write_settings(self, card: Path) -> None:
        place = f"{card}?offset={extents(card)[DATA_PARTITION].start_bytes}"
        for name, text in ((SETTINGS_FILE, SETTINGS), (BOARD_FILE, board_text())):
            source = self._work / Path(name).name
            source.write_text(text, encoding="utf-8")
            words = ["debugfs", "-w", "-R", f"write {source} {name.removeprefix('/data/')}", place]
            if name == SETTINGS_FILE:
                subprocess.run([*words[:3], "mkdir settings", place], check=True, capture_output=True)
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            assert "Allocated inode" in done.stdout, done.stderr

    def settled(self) -> dict[str, Any]:
        """Return the status of a box whose try is over, whichever way, and which has looked at its health."""
        self.await_health()
        while (told := self.laptop.status(self.box))["update"]["is_trial"] is not False:
            self.box.go_on(lambda: False, 2.0)
        return told

    def await_health(self) -> str:
        """Return what the health check has said since the last start about the slot that runs."""
        words = re.compile(r"slot [ab] (is|was) [a-z ]+")
        if not self.box.go_on(lambda: words.search(self.box.said_since_start) is not None, START_S):
            raise BoxError(f"no health check; it said: {self.box.last_words}")
        found = words.search(self.box.said_since_start)
        assert found is not None
        return found[0]

    def hush(self) -> None:
        """Stop the sound until the next start: an emulated core has time for it, or for a bundle, in minutes."""
        self.box.run("systemctl stop evenhand.target evenhand-engine evenhand-control", START_S)

    def committed(self) -> int:
        """Return the boot partition that an ordinary start takes."""
        content = read_file(self.box.disk, 1, "autoboot.txt", self.box.disk.parent).read_bytes()
        return chosen_partition(content, is_tryboot=False)[0]

    def system(self) -> dict[int, str]:
        """Return the digest of each partition that boots."""
        places = extents(self.box.disk)
        return {number: _digest(self.box.disk, places[number]) for number in SYSTEM_PARTITIONS}

    def keepsakes(self) -> dict[str, str]:
        """Return what must outlive every update: settings, who the box is, whom it knows."""
        command = "cat {} /etc/machine-id; cd /data/evenhand-agent; sha256sum box.json tokens.json *.pem; cd"
        lines = self.box.run(command.format(SETTINGS_FILE), START_S).strip()
        return {"settings": SETTINGS if lines.startswith(SETTINGS) else lines[:200], "rest": lines[len(SETTINGS) :]}


def board_text() -> str:
    """Return the board file of the bench: the shipped one, smaller."""
    text = (ROOT / "board_configs/qemu_arm64.toml").read_text(encoding="utf-8")
    for name, value in BOARD.items():
        text, n_found = re.subn(rf"(?m)^{name} *=.*$", f"{name} = {value}", text)
        assert n_found == 1, name
    return text


def _digest(disk: Path, extent: Extent) -> str:
    with disk.open("rb") as file:
        file.seek(extent.start_bytes)
        return hashlib.sha256(file.read(extent.size_bytes)).hexdigest()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
