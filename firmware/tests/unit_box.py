"""A machine with Evenhand's units under a real systemd, a board and a virtual card that runs by itself."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from board_configs.board import load_board
from firmware.system.alsa_config import alsa_config_text
from firmware.system.board_units import write_board_units
from firmware.system.virtual_card import VirtualCard
from firmware.tests.live_rig import PCM
from firmware.tests.systemd_rig import REPOSITORY, SystemdRig, can_raise_limits
from firmware.tests.unit_file import UNITS

ENGINE, CONTROL, RECORDER = (f"evenhand-{name}.service" for name in ("engine", "control", "recorder"))
PROBED = ("engine", "control", "recorder")
# A machine that may not raise limits (containers) gives the engine the two rights behind them instead; all else stays.
RIGHTS = "CAP_SYS_NICE CAP_IPC_LOCK"
STAND_IN = f"[Service]\nPrivateUsers=no\nAmbientCapabilities={RIGHTS}\nCapabilityBoundingSet={RIGHTS}\n"


class Box(SystemdRig):
    """A machine with Evenhand's units, a board and a virtual card that runs by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cores = sorted(os.sched_getaffinity(0))
        self.core, self.audio_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
        board = board_file(folder / "test_box.toml", self.core, self.audio_core)
        drop_ins = folder / "drop_ins"
        drop_ins.mkdir()
        files = {
            "etc/evenhand/box.env": changed(
                (UNITS / "box.env").read_text(),
                EVENHAND_BOARD="/etc/evenhand/test_box.toml",
                EVENHAND_ENGINE_OPTIONS=f"--pcm {PCM}",
                EVENHAND_CONTROL_OPTIONS="--markers /run/evenhand/markers",
            ),
            "etc/evenhand/test_box.toml": board.read_text(),
            "etc/evenhand/asound.conf": alsa_config_text({PCM: folder / "shared/card"})
            .replace(str(folder / "shared"), "/run/shared")
            .replace(str(REPOSITORY), "/opt/evenhand"),
            f"etc/evenhand-units/{ENGINE}.d/card.conf": "[Service]\nReadWritePaths=/run/shared\n"
            "Environment=ALSA_CONFIG_PATH=/etc/evenhand/asound.conf\n",
            # A Python with a shared library looks for it where it was built, which ProtectHome= may hide.
            "etc/evenhand-units/evenhand-agent.service.d/python.conf": "[Service]\n"
            "Environment=LD_LIBRARY_PATH=/opt/python/lib\n",
        }
        files |= {
            f"etc/evenhand-units/{path.relative_to(drop_ins)}": path.read_text()
            for path in write_board_units(load_board(board), drop_ins)
        }
        files |= {f"etc/evenhand-units/probe-{name}.service": probe_unit(name) for name in PROBED}
        if not can_raise_limits():
            files[f"etc/evenhand-units/{ENGINE}.d/rights.conf"] = STAND_IN
        super().__init__(files, folder / "shared")

    def start(self) -> None:
        """Have engine and control running, whatever a test before left behind."""
        for unit in (ENGINE, CONTROL, RECORDER):
            self.run("systemctl", "reset-failed", unit, check=False)
        self.run("systemctl", "start", "evenhand.target")
        self.wait_for(lambda: self.is_active(ENGINE) and self.is_active(CONTROL), "the mixer does not start")

    def is_active(self, unit: str) -> bool:
        """Whether a service says that it is ready."""
        return self.show(unit, "ActiveState")["ActiveState"] == "active"

    def wait_for_another(self, unit: str, pid: int) -> int:
        """Return the process that took the place of ``pid``, once it is ready."""

        def found() -> int:
            now = self.main_pid(unit)
            return now if now not in (0, pid) and self.is_active(unit) else 0

        another: int = self.wait_for(found, f"{unit} is not started again")
        return another

    def inside(self, path: str) -> Path:
        """Return a path of the box as this machine sees it."""
        return Path(f"/proc/{self.init_pid}/root{path}")

    def read(self, pid: int, file: str) -> str:
        """Return a file about a process."""
        return self.run("cat", f"/proc/{pid}/{file}").stdout


@contextmanager
def box_with_a_card() -> Iterator[Box]:
    """Yield the machine, started."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="evenhand-test-", dir="/dev/shm"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "shared").mkdir()
        card = VirtualCard(folder / "shared/card", n_capture=20, n_playback=24, tape=False, recorder=False)
        stack.enter_context(card)
        yield stack.enter_context(Box(folder))


def board_file(path: Path, core: int | None, audio_core: int | None) -> Path:
    """Write a board with the channels of a real one and two cores of this machine, if it has them."""
    cores = f"[cores]\naudio = {audio_core}\nanalysis = {core}\ncontrol = [{core}]\n" if core is not None else ""
    text = re.sub(r"(?s)\[cores\].*?\n(?=\[budget)", cores, load_board("raspberry_pi_4").path.read_text())
    path.write_text(text)
    return path


def changed(text: str, **values: str) -> str:
    for key, value in values.items():
        text, n = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert n == 1
    return text


def probe_unit(name: str) -> str:
    """Return the unit of a process with its sandbox as it is, and the probe in place of the process."""
    command = "ExecStart=/opt/evenhand/.venv/bin/python /opt/evenhand/firmware/tests/sandbox_probe.py"
    text = re.sub(r"\\\n", " ", (UNITS / f"evenhand-{name}.service").read_text())
    gone = r"(?m)^(Type|ExecCondition|Restart\w*|WatchdogSec|NotifyAccess|OnFailure|PartOf|Requires)=.*\n"
    text = re.sub(gone, "", text)
    return re.sub(r"(?m)^ExecStart=.*$", f"Type=oneshot\n{command}", text)
