"""A small arm64 userland for qemu-user: Debian's Python and the wheels that the box installs, a few packages in all.

Packages are fetched into a state of their own and unpacked, never installed; the machine's own apt and ``.venv`` stay
as they are. What was made is kept under ``build/aarch64`` by what it was made of.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dsp_kernels.bench.two_machines import BUILD_DIR
from dsp_kernels.build_ffi import ROOT
from firmware.errors import EvenhandError

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
DEBIAN_PACKAGES = (
    "libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libssl3", f"{PYTHON}-minimal",
    f"lib{PYTHON}-minimal", f"lib{PYTHON}-stdlib",
)  # fmt: skip
# In the versions that are installed here, so that both machines run the same.
WHEELS = ("numpy", "ai-edge-litert", "tflite-runtime", "flatbuffers", "typing-extensions", "backports.strenum",
          "cryptography", "cffi")  # fmt: skip
PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28", "manylinux_2_34")  # glibc 2.36
# What runtimes read of the processor besides what qemu says: its part number chooses kernels, and where there is none
# ai-edge-litert crashes.
CPUS = {"cortex-a72": "0xd08", "cortex-a76": "0xd0b"}  # Raspberry Pi 4, 5
CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3
"""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """An unpacked userland; ``folder`` holds ``root``, ``wheels`` and a view of the root for each processor."""

    folder: Path

    def command(self, cpu: str, *qemu: str) -> list[str]:
        """Return the words that run arm64 Python on ``cpu``; ``qemu`` are more words for the emulator."""
        view = self.folder / cpu
        return ["qemu-aarch64", "-cpu", cpu, "-L", str(view), *qemu, str(view / "usr" / "bin" / PYTHON), "-S"]

    @property
    def environment(self) -> dict[str, str]:
        """Return what its Python is to find: our rooms, and the wheels."""
        return {
            "PATH": os.environ.get("PATH", ""), "PYTHONPATH": f"{ROOT}:{self.folder / 'wheels'}",
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip


def sandbox() -> Sandbox:
    """Return the sandbox; it is made where it is not there yet, which takes half a minute and a network.

    Raises
    ------
    EvenhandError
        When a tool, a package or a wheel is not to be had.
    """
    for tool, package in (("qemu-aarch64", "qemu-user"), ("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if not shutil.which(tool):
            raise EvenhandError(f"{tool}: is not there; apt-get install {package}, on Debian")
    wheels = [f"{name}=={_installed(name)}" for name in WHEELS]
    recipe = hashlib.sha256("\0".join([*DEBIAN_PACKAGES, *wheels, Path(__file__).read_text()]).encode()).hexdigest()
    folder = BUILD_DIR / f"sandbox-{recipe[:16]}"
    if folder.is_dir():
        return Sandbox(folder=folder)
    BUILD_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD_DIR, prefix="sandbox.") as name:
        beside = Path(name) / "made"
        _unpack_debian(Path(name), beside / "root")
        _unpack_wheels(wheels, Path(name) / "fetched", beside / "wheels")
        for cpu, part in CPUS.items():
            _make_view(beside, cpu, part)
        beside.rename(folder)
    return Sandbox(folder=folder)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        raise EvenhandError(f"{name}: is not installed here; .ci/setup aarch64") from None


def _run(command: Sequence[str], cwd: Path, doing: str) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        words = " ".join((done.stderr.strip() or done.stdout.strip()).split())[-300:]
        raise EvenhandError(f"{doing} failed ({words}); is there a network? run the same again")


def _unpack_debian(scratch: Path, root: Path) -> None:
    state = scratch / "apt"
    for folder in ("lists/partial", "cache/archives/partial", "debs"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": "arm64", "APT::Architectures": "arm64", "Dir::State": state, "Dir::State::lists":
        state / "lists", "Dir::State::status": state / "status", "Dir::Cache": state / "cache",
        "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", *[word for key, value in settings.items() for word in ("-o", f"{key}={value}")]]
    _run([*apt, "update"], state, "fetching the list of Debian's arm64 packages")
    _run([*apt, "download", *DEBIAN_PACKAGES], state / "debs", "fetching Debian's arm64 packages")
    root.mkdir(parents=True)
    for package in sorted((state / "debs").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], state, f"unpacking {package.name}")
    shutil.rmtree(root / "usr" / "share", ignore_errors=True)


def _unpack_wheels(wheels: Sequence[str], fetched: Path, folder: Path) -> None:
    tags = [word for name in PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    abis = ("--abi", f"cp{PYTHON.removeprefix('python').replace('.', '')}", "--abi", "abi3", "--abi", "none")
    fetched.mkdir()
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    pip += ["--python-version", PYTHON.removeprefix("python"), *abis, *tags, "--platform", "any", "-d", "."]
    _run([*pip, *wheels], fetched, "fetching the arm64 wheels")
    for wheel in fetched.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def _make_view(beside: Path, cpu: str, part: str) -> None:
    """Make what qemu looks into first for ``cpu``: the root, and this processor's papers."""
    view = beside / cpu
    view.mkdir()
    for entry in sorted((beside / "root").iterdir()):
        (view / entry.name).symlink_to(Path("..") / "root" / entry.name)
    (view / "proc").mkdir()
    (view / "proc" / "cpuinfo").write_text(CPUINFO.format(part=part))
    cores = view / "sys" / "devices" / "system" / "cpu"
    cores.mkdir(parents=True)
    for name in ("possible", "present"):
        (cores / name).write_text("0\n")
