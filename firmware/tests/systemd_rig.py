"""A real systemd of its own, as the first process of new namespaces: what the units promise is tried, not read.

It has its own processes, mounts, network and control groups; the root folder is a throw-away layer over the machine's.
Nothing of it reaches the machine, and nothing of it outlives the rig.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from firmware.tests.live_rig import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
UNITS = REPOSITORY / "firmware" / "system" / "units"
SYSTEMD = Path("/lib/systemd/systemd")
ROOMS = ("firmware", "board_configs", "dsp_kernels")
# The targets that every service and target waits for by default; here there is nothing else to boot.
STUB_TARGETS = ("basic", "sysinit", "shutdown", "umount", "multi-user", "rescue", "emergency")
LOG_FOLDER = "/run/logs"
CAP_SYS_RESOURCE = 24
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")

# Run in the new namespaces; $1 is the empty folder that becomes the root, $2 the prepared files.
BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run tmp; do mount -t tmpfs -o mode=0755 tmpfs $folder; done
chmod 1777 tmp
site_packages=opt/evenhand/.venv/lib/$PYTHON/site-packages
mkdir -p dev run/logs opt/evenhand/.venv/bin "$site_packages" opt/python etc/evenhand
mount -t tmpfs -o mode=0755 tmpfs dev
mkdir dev/pts
mount -t devpts -o ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mknod -m 666 dev/probe c 1 11
touch dev/console; mount --bind "$CONSOLE" dev/console
mkdir run/shared; mount --bind "$SHARED_FOLDER" run/shared
mount --bind "$PYTHON_PREFIX" opt/python
mount --bind "$SITE_PACKAGES" "$site_packages"
for room in $ROOMS; do mkdir opt/evenhand/$room; mount --bind -o ro "$REPOSITORY/$room" opt/evenhand/$room; done
cp -r "$2/." .
ln -sf "/opt/python/bin/$PYTHON" opt/evenhand/.venv/bin/python
printf 'home = /opt/python/bin\\n' >opt/evenhand/.venv/pyvenv.cfg
printf '0123456789abcdef0123456789abcdef\\n' >etc/machine-id
pivot_root . .
umount -l .
systemd-sysusers /etc/evenhand-units/sysusers.d/evenhand.conf
chown -R evenhand: /run/shared
exec env -i container=evenhand-test SYSTEMD_UNIT_PATH=/etc/evenhand-units PATH=/usr/bin:/bin \\
    setpriv --bounding-set=-sys_time,-sys_boot,-sys_module \\
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=console
"""


@cache
def why_not() -> str:
    """Return what this machine lacks for a systemd in namespaces, or nothing."""
    for tool in (str(SYSTEMD), "systemctl", "unshare", "nsenter", "setpriv"):
        if shutil.which(tool) is None:
            return f"{Path(tool).name} is not installed"
    if os.geteuid() != 0:
        return "needs root for namespaces"
    if not os.access(_cgroup_root(), os.W_OK):
        return "the control groups of this machine are not writable"
    mounts = "mount -t cgroup2 cgroup2 /mnt && mount -t overlay overlay -o lowerdir=/etc:/usr /mnt"
    done = subprocess.run(["unshare", *NAMESPACES, "--fork", "sh", "-c", mounts], capture_output=True, text=True)
    return f"no right to namespaces and mounts: {done.stderr.strip()}" if done.returncode != 0 else ""


def can_raise_limits() -> bool:
    """Whether this machine lets its first process raise the limits of others, as every real one does."""
    bounding = re.search(r"CapBnd:\s*(\w+)", Path("/proc/self/status").read_text())[1]
    return bool(int(bounding, 16) >> CAP_SYS_RESOURCE & 1)


class SystemdRig:
    """A booted systemd with Evenhand's units. A context manager.

    Parameters
    ----------
    files
        More files of its root folder: path without the leading slash, and text.
    shared_folder
        Folder of the machine that lies in there as ``/run/shared``, given to the user ``evenhand``.
    """

    def __init__(self, files: dict[str, str], shared_folder: Path) -> None:
        self._stack = ExitStack()
        self._files, self._shared_folder = files, shared_folder
        self.console: list[str] = []
        self.init_pid = 0

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, *command: str, check: bool = True, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in there, as root."""
        prefix = ["nsenter", "--target", str(self.init_pid), "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
        done = subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=timeout_s)
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr, "".join(self.console[-50:]))
        return done

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def main_pid(self, unit: str) -> int:
        """Return the process of a service, as that systemd counts them; 0 when there is none."""
        return int(self.show(unit, "MainPID")["MainPID"])

    def kill(self, unit: str, number: signal.Signals) -> None:
        """Send the main process of a service a signal, from outside its own manager."""
        self.run("kill", f"-{int(number)}", str(self.main_pid(unit)))

    def log(self, unit: str) -> str:
        """Return what a service has said."""
        return self.run("cat", f"{LOG_FOLDER}/{unit}.log", check=False).stdout

    def wait_for(self, condition: Any, what: str, patience_s: float = 60.0) -> Any:
        """Return what ``condition`` returns once it is true; fail with the console's last lines when it never is."""
        try:
            return wait_for(condition, what, patience_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{''.join(self.console[-60:])}") from None

    def console_text(self) -> str:
        """Return what systemd itself has said."""
        return "".join(self.console)

    # ------------------------------------------------------------------------------------------------- booting

    def _boot(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="evenhand-systemd-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        root, prepared = folder / "root", folder / "prepared"
        root.mkdir()
        units = prepared / "etc/evenhand-units"
        shutil.copytree(UNITS, units)
        for name in STUB_TARGETS:
            (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        shutil.copy(SYSTEMD.parent / "system" / "modprobe@.service", units)
        for path, text in self._files.items():
            (prepared / path).parent.mkdir(parents=True, exist_ok=True)
            (prepared / path).write_text(text)
        for service in units.glob("*.service"):
            drop_in = units / f"{service.name}.d"
            drop_in.mkdir(exist_ok=True)
            log = f"StandardOutput=append:{LOG_FOLDER}/%N.log\nStandardError=inherit\n"
            (drop_in / "log.conf").write_text(f"[Service]\n{log}")
        environment = {
            **os.environ, "PYTHON_PREFIX": sys.base_prefix, "PYTHON": f"python3.{sys.version_info.minor}",
            "SITE_PACKAGES": sysconfig.get_path("purelib"), "REPOSITORY": str(REPOSITORY), "ROOMS": " ".join(ROOMS),
            "SHARED_FOLDER": str(self._shared_folder), "CONSOLE": self._open_console(),
            "CGROUP": str(self._make_cgroup()),
        }  # fmt: skip
        enter = ["sh", "-c", 'echo $$ >"$CGROUP/cgroup.procs"; exec "$@"', "enter"]
        boot = ["unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-c", BOOT, "boot", str(root), str(prepared)]
        process = subprocess.Popen(
            [*enter, *boot], env=environment, stdin=subprocess.DEVNULL, stdout=self._slave, stderr=self._slave
        )
        self._stack.callback(self._end, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def is_up() -> bool:
            assert process.poll() is None, f"systemd did not start: {''.join(self.console)}"
            found = children.read_text().split()
            if not found or Path(f"/proc/{found[0]}/comm").read_text().strip() != "systemd":
                return False
            self.init_pid = int(found[0])
            return self.run("systemctl", "is-active", "multi-user.target", check=False).stdout.strip() == "active"

        self.wait_for(is_up, "systemd did not come up")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        with suppress(OSError):
            os.close(self._slave)

    def _open_console(self) -> str:
        """Make a terminal for systemd to log to; what it says is kept."""
        master, self._slave = pty.openpty()
        self._stack.callback(os.close, master)

        def listen() -> None:
            with suppress(OSError):
                while text := os.read(master, 4096):
                    self.console.append(text.decode(errors="replace"))

        threading.Thread(target=listen, daemon=True).start()
        return os.ttyname(self._slave)

    def _make_cgroup(self) -> Path:
        path = _cgroup_root() / f"evenhand-test-{os.getpid()}"
        path.mkdir()
        self._stack.callback(_remove_cgroup, path)
        return path


def _cgroup_root() -> Path:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return Path(next((mount[1] for mount in mounts if mount[2] == "cgroup2"), "/nonexistent"))


def _remove_cgroup(path: Path) -> None:
    until_s = time.monotonic() + 10.0
    while path.exists() and time.monotonic() < until_s:  # the last process may still be on its way out
        for folder in sorted(path.rglob("*/"), key=lambda p: -len(p.parts)):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            path.rmdir()
        time.sleep(0.02)
