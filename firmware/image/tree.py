"""Our part of a box's root: programs, compiled C, Python packages, units, kernel modules, settings of the board."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from board_configs.board import Board
from dsp_kernels.build_ffi import ROOT
from dsp_kernels.contract.generated.contract import CONTRACT_ID
from firmware.errors import EvenhandError
from firmware.system.board_units import SERVICES, drop_in_text

from . import wheels
from .cross import Cross, key_of_sources
from .device_tree import Drivers, find, read_tree, suppliers
from .kernel import Kernel, closure, paths_of, read_needs, stage_modules
from .layout import BOOT, DATA, SELECT, partition_id
from .layout import ROOT as ROOT_PARTITIONS
from .platform import Platform
from .recipe import FOLDER, Recipe
from .rootfs import copy_programs
from .target import ARM64, Target

FILES = FOLDER / "files"
UNITS = ROOT / "firmware/system/units"
# Of an image the owner's settings lie on the data partition.
SETTINGS_BY_HAND, SETTINGS = "--settings /etc/evenhand/box.env", "--settings /data/settings/box.env"
SITE_PACKAGES = "opt/evenhand/.venv/lib/python3.11/site-packages"
ENABLED: dict[str, tuple[str, ...]] = {
    "multi-user.target.wants": (
        "evenhand.target", "evenhand-health.service", "evenhand-agent.service", "evenhand-restart.path",
        "evenhand-seed.service", "systemd-networkd.service",
    ),
    "timers.target.wants": ("evenhand-trial.timer",),
    "local-fs.target.wants": ("evenhand-data.service", "evenhand-folders.service"),
}  # fmt: skip
# Questions at the first start, and programs of other processors.
MASKED = ("systemd-firstboot.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount")
AUTOLOGIN = """\
# An image for development: whoever holds the cable is root.
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --keep-baud 115200,57600,38400,9600 %I $TERM
"""
LAUNCHER = """\
#!/bin/sh
# The commands of the box, from any folder.
PYTHONPATH=/opt/evenhand exec /opt/evenhand/.venv/bin/python -m firmware "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """Which build of what this is; a box tells it from ``/usr/lib/evenhand/release.json``."""

    version: str
    board: str
    is_development: bool

    @property
    def compatible(self) -> str:
        """What a bundle must name to be taken by this board."""
        return f"evenhand-{self.board}"

    def as_json(self) -> str:
        """Return the file's text."""
        record = {"version": self.version, "board": self.board, "compatible": self.compatible,
                  "contract_id": CONTRACT_ID, "is_development": self.is_development}  # fmt: skip
        return json.dumps(record, indent=2) + "\n"


def device(board: Board, number: int) -> str:
    """Return the name that a partition of the box's disk has whatever else is plugged in."""
    return f"/dev/disk/by-partuuid/{partition_id(board, number)}"


def unit_of(path: str) -> str:
    """Return systemd's name for a device."""
    return re.sub(r"[^A-Za-z0-9_.:/]", lambda m: rf"\x{ord(m[0]):02x}", path.strip("/")).replace("/", "-") + ".device"


def words_of(board: Board, release: Release) -> dict[str, str]:
    """Return what stands for the ``@NAMES@`` in our files."""
    data = device(board, DATA)
    assert board.image is not None
    return {
        "HEALTH_SECONDS": str(board.image.health_seconds),
        "COMPATIBLE": release.compatible, "SELECT": device(board, SELECT), "DATA": data, "DATA_UNIT": unit_of(data),
        "BOOT_A": device(board, BOOT[0]), "BOOT_B": device(board, BOOT[1]),
        "ROOT_A": device(board, ROOT_PARTITIONS[0]), "ROOT_B": device(board, ROOT_PARTITIONS[1]),
    }  # fmt: skip


def filled(text: str, words: dict[str, str]) -> str:
    """Return a text with its ``@NAMES@`` filled in; KeyError for one that nobody knows."""
    return re.sub(r"@([A-Z_]+)@", lambda m: words[m[1]], text)


def keyring_text(path: Path) -> str:
    """Return the certificates in a file.

    Raises
    ------
    EvenhandError
        When there are none, or a key that must not get into an image.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise EvenhandError(
            f"{path}: cannot be read as a certificate ({error}); make one with: evenhand keys"
        ) from None
    if "BEGIN CERTIFICATE" not in text or "PRIVATE KEY" in text:
        raise EvenhandError(f"{path}: must hold certificates, and no key; make one with: evenhand keys")
    return text


def write_system(tree: Path, board: Board, release: Release, keyring: Path) -> None:
    """Write units, settings and the board's own files."""
    words = words_of(board, release)
    for path in sorted(FILES.rglob("*")):
        if path.is_file():
            _put(tree, str(path.relative_to(FILES)), filled(path.read_text(encoding="utf-8"), words),
                 is_program=os.access(path, os.X_OK))  # fmt: skip
    system = "etc/systemd/system"
    for path in sorted(path for path in UNITS.iterdir() if path.suffix in (".service", ".target", ".path")):
        _put(tree, f"{system}/{path.name}", path.read_text(encoding="utf-8").replace(SETTINGS_BY_HAND, SETTINGS))
    for service in SERVICES:
        _put(tree, f"{system}/{service}.service.d/board.conf", drop_in_text(board))
    _put(tree, "etc/tmpfiles.d/evenhand.conf", (UNITS / "tmpfiles.d/evenhand.conf").read_text(encoding="utf-8"))
    for path in sorted((UNITS / "dbus").glob("*.conf")):
        _put(tree, f"etc/dbus-1/system.d/{path.name}", path.read_text(encoding="utf-8"))
    settings = (UNITS / "box.env").read_text(encoding="utf-8")
    _put(tree, "etc/evenhand/box.env", re.sub(r"(?m)^EVENHAND_BOARD=.*$", f"EVENHAND_BOARD={board.name}", settings))
    assert board.image is not None
    _put(tree, "etc/modules-load.d/evenhand.conf", "".join(f"{name}\n" for name in board.image.modules))
    _put(tree, "etc/hostname", "evenhand\n")
    _put(tree, "etc/environment", "")
    _put(tree, "etc/default/locale", "LANG=C.UTF-8\n")
    _put(tree, "etc/hosts", "127.0.0.1 localhost evenhand\n::1 localhost evenhand\n")
    _put(tree, "etc/machine-id", "")  # empty: made at the start, and nobody is asked questions
    for place in ("etc/.updated", "var/.updated"):  # as old as everything else: nothing is to be set up anew
        _put(tree, place, "")
    _put(tree, "etc/rauc/keyring.pem", keyring_text(keyring))
    _put(tree, "usr/lib/evenhand/release.json", release.as_json())
    _put(tree, "opt/evenhand/pyproject.toml", project_text(release.version))
    _put(tree, "usr/bin/evenhand-box", LAUNCHER, is_program=True)
    kept = ("var/lib/evenhand", "var/lib/evenhand-agent", "var/lib/systemd/coredump")
    for folder in ("boot/select", "data", *kept, "var/log", "var/cache"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for target, units in ENABLED.items():
        for unit in units:
            place = "/usr/lib/systemd/system" if unit.startswith("systemd-") else f"/{system}"
            _link(tree, f"{system}/{target}/{unit}", f"{place}/{unit}")
    for unit in MASKED:
        _link(tree, f"{system}/{unit}", "/dev/null")
    if release.is_development:
        _put(tree, "etc/inputrc", "set enable-bracketed-paste off\n")
        _put(tree, f"{system}/serial-getty@.service.d/development.conf", AUTOLOGIN)


def project_text(version: str) -> str:
    """Return the project file that the programs tell their version from."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.sub(r'(?m)^version = ".*"$', lambda _: f'version = "{version}"', project, count=1)


def write_programs(
    tree: Path, fetched: list[Path], headers: Path, work: Path, cache: Path, recipe: Recipe, target: Target = ARM64,
) -> list[wheels.Package]:  # fmt: skip
    """Write our programs with their compiled C and the Python packages; return the packages."""
    site_packages = tree / SITE_PACKAGES
    site_packages.mkdir(parents=True)
    packages = wheels.install(
        [path for path in fetched if path.suffix == ".whl"], site_packages, recipe.is_removed_of_wheel
    )
    _put(
        tree, "opt/evenhand/.venv/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
    )
    _link(tree, "opt/evenhand/.venv/bin/python", "/usr/bin/python3")
    copy_programs(ROOT, tree / "opt/evenhand")
    compiled = cache / f"compiled-{key_of_sources(target)}"
    if not compiled.exists():
        part = compiled.with_name(f".{compiled.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        Cross(headers, part, target).build()
        part.rename(compiled)
    for built in sorted(compiled.rglob("*.so")):
        (tree / "opt/evenhand" / built.relative_to(compiled)).write_bytes(built.read_bytes())
    cross = Cross(headers, work / "bindings", target)
    packages += [cross.alsaaudio(source, site_packages) for source in fetched if source.suffix == ".gz"]
    return packages


def write_modules(
    tree: Path, kernel: Kernel, board: Board, recipe: Recipe, platform: Platform, own: list[Path]
) -> None:
    """Write the kernel modules that the running box needs, with some of our own."""
    needs = read_needs((kernel.modules / "modules.dep").read_text(encoding="utf-8"))
    assert board.image is not None
    loaded = [name for name in board.image.modules if name not in {path.stem for path in own}]
    built_in = {Path(line).stem.replace("-", "_") for line in (kernel.modules / "modules.builtin").read_text().split()}
    for name in loaded:
        if not paths_of(needs, [name]) and name.replace("-", "_") not in built_in:
            raise EvenhandError(f"{board.path.name}: kernel {kernel.release} has no module {name}; see its [image]")
    named = paths_of(needs, [*loaded, *device_modules(kernel, platform)])
    stage_modules(kernel, closure(needs, [*recipe.root_modules, *platform.hot_plugged, *named]), tree / "usr", own)


def device_modules(kernel: Kernel, platform: Platform, devices: tuple[str, ...] = ()) -> list[str]:
    """Return the modules that drive what the platform's device trees name, or only ``devices`` and their suppliers.

    Raises
    ------
    EvenhandError
        When a device is in none of the trees.
    """
    drivers = Drivers(
        (kernel.modules / "modules.alias").read_text(encoding="utf-8"),
        (kernel.modules / "modules.builtin.modinfo").read_bytes(),
    )
    found: set[str] = set()
    for _, place in platform.device_trees:
        root = read_tree((kernel.device_trees / place).read_bytes())
        wanted = [node for device in devices for node in find(root, device)]
        if devices and not wanted:
            raise EvenhandError(f"{place}: has none of {', '.join(devices)}; look at [kernel] of {platform.name}.toml")
        found.update(drivers.modules(suppliers(root, wanted) if devices else (n for n in root.walk() if n.is_there)))
    return sorted(found - set(platform.unused))


def _put(tree: Path, place: str, text: str, *, is_program: bool = False) -> None:
    path = tree / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755 if is_program else 0o644)


def _link(tree: Path, place: str, target: str) -> None:
    path = tree / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
