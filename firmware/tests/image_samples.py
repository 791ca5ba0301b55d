"""A small image that is right in everything that is looked at, and the formats that it is made of, written by hand."""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import firmware
from board_configs.board import load_board
from firmware.image import cpio, disk, tree
from firmware.image.check import Wanted
from firmware.image.layout import disk_id, table_of
from firmware.image.opened import Image, Listed, Part
from firmware.image.platform import find_platform
from firmware.system.boot_selection import selection_bytes
from firmware.system.partition_table import SECTOR_BYTES

RELEASE = "7.0-rt-arm64"
BOARD = load_board("raspberry_pi_4")
PLATFORM = find_platform(BOARD)
WANTED = Wanted(board=PLATFORM.for_board(BOARD), platform=PLATFORM)
SITE = "opt/evenhand/.venv/lib/python3.11/site-packages"
# What drives a device, by its word in the tree.
DRIVERS = {
    "brcm,bcm2711-emmc2": "sdhci_iproc", "regulator-fixed": "fixed", "brcm,bcm2711-genet-v5": "genet",
    "raspberrypi,firmware-reset": "reset_raspberrypi",
}  # fmt: skip
FIRST = ("fixed", "sdhci_iproc", "squashfs", "overlay", "ext4")
MODULES = (
    *FIRST, "genet", "reset_raspberrypi", "snd_usb_audio", "bcm2835_wdt", "vfat", "nls_ascii", "dm_verity", "loop",
    "dm_mod", "evenhand_tryboot",
)  # fmt: skip

PROGRAMS = (
    "usr/bin/sh", "usr/bin/install", "usr/bin/sleep", "usr/bin/systemctl", "usr/bin/rauc", "usr/sbin/init",
    "usr/bin/python3", "opt/evenhand/.venv/bin/python", "usr/lib/systemd/system/systemd-networkd.service",
)  # fmt: skip


def device_tree(nodes: dict[str, dict[str, bytes]]) -> bytes:
    """Return a flattened device tree of ``nodes`` by name under the root ""; no deeper."""
    strings = bytearray()
    body = bytearray()

    def begin(name: str, properties: dict[str, bytes]) -> None:
        body.extend(struct.pack(">I", 1) + name.encode() + b"\0")
        body.extend(bytes(-len(body) % 4))
        for key, value in properties.items():
            body.extend(struct.pack(">3I", 3, len(value), len(strings)) + value + bytes(-len(value) % 4))
            strings.extend(key.encode() + b"\0")

    begin("", nodes.get("", {}))
    for name, properties in nodes.items():
        if name:
            begin(name, properties)
            body.extend(struct.pack(">I", 2))
    body.extend(struct.pack(">2I", 2, 9))
    at, names_at = 56, 56 + len(body)
    sizes = (17, 16, 0, len(strings), len(body))
    head = struct.pack(">10I", 0xD00DFEED, names_at + len(strings), at, names_at, 40, *sizes)
    return head + bytes(16) + bytes(body) + bytes(strings)


def pi_tree(*, is_card_on: bool = True) -> bytes:
    """Return the device tree of a Raspberry Pi 4, as far as it is looked at."""
    return device_tree({
        "": {"compatible": b"raspberrypi,4-model-b\0brcm,bcm2711\0", "model": b"Pi\0"},
        "aliases": {"serial1": b"/uart\0"},
        "mmc": {"compatible": b"brcm,bcm2711-emmc2\0", "vmmc-supply": struct.pack(">I", 7),
                "status": b"okay\0" if is_card_on else b"disabled\0"},
        "regulator": {"compatible": b"regulator-fixed\0", "phandle": struct.pack(">I", 7)},
        "ethernet": {"compatible": b"brcm,bcm2711-genet-v5\0"},
        "pcie": {"compatible": b"brcm,bcm2711-pcie\0"},
        "reset": {"compatible": b"raspberrypi,firmware-reset\0"},
    })  # fmt: skip


def static_program() -> bytes:
    """Return a compiled program for the box that needs nothing: its head."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<2HI3QI6H", 2, 183, 1, 0, 0, 0, 0, 64, 56, 0, 0, 0, 0)


def compiled_module() -> bytes:
    """Return this machine's engine as if it were the box's, which names no folder of who built it."""
    rooms = Path(firmware.__file__).parent
    checkout = bytes(rooms.parent)
    built = next(rooms.glob("_engine.*.so")).read_bytes().replace(checkout, b"x" * len(checkout))
    return built[:18] + struct.pack("<H", 183) + built[20:]


def write_first_root(boot: Path, *, modules: tuple[str, ...] = FIRST, without: str = "") -> None:
    """Write a first root with ``modules``, without one file."""
    base = f"lib/modules/{RELEASE}/"
    names = ("cat", "cp", "cut", "dd", "echo", "hexdump", "mkdir", "modprobe", "mount", "reboot", "sh", "sleep",
             "switch_root", "sync", "umount")  # fmt: skip
    entries = {
        "init": cpio.Entry.file((Path(disk.__file__).parent / "initramfs_init").read_bytes(), is_program=True),
        "bin/busybox": cpio.Entry.file(static_program(), is_program=True),
        "etc/modules": cpio.Entry.file("".join(f"{name}\n" for name in modules).encode()),
        "etc/disk": cpio.Entry.file(f"{disk_id(BOARD):08x}\n".encode()), "etc/data": cpio.Entry.file(b"7\n"),
        base + "modules.dep": cpio.Entry.file("".join(f"kernel/{name}.ko:\n" for name in modules).encode()),
        **{f"bin/{name}": cpio.Entry.link("busybox") for name in names},
        **{f"{base}kernel/{name}.ko": cpio.Entry.file(b"module") for name in modules},
    }  # fmt: skip
    entries.pop(without, None)
    packed = subprocess.run(["zstd", "-q", "-c"], input=cpio.archive(entries, 0), capture_output=True, check=True)
    (boot / "initramfs.zst").write_bytes(packed.stdout)


def write_boot(boot: Path) -> None:
    """Write the boot partition."""
    boot.mkdir()
    kernel = bytearray(4096)
    kernel[0x38:0x3C] = b"ARM\x64"
    kernel += f"Linux version {RELEASE} (somebody) (gcc) #1 SMP PREEMPT_RT Debian\n\0".encode()
    more = {"bcm2711-rpi-4-b.dtb": pi_tree(), "start4.elf": b"\x7fELF [tryboot]", "fixup4.dat": b"fixup",
            "LICENCE.loader": b"licence"}  # fmt: skip
    for name, content in disk.boot_files(WANTED.board, bytes(kernel), b"", PLATFORM, more).items():
        (boot / name).write_bytes(content)
    write_first_root(boot)


def write_root(root: Path, certificate: Path) -> None:
    """Write the root."""
    tree.write_system(
        root, WANTED.board, tree.Release(version="1.0", board=BOARD.name, is_development=False), certificate
    )
    modules = root / f"usr/lib/modules/{RELEASE}"
    for name in MODULES:
        path = modules / ("updates" if name == "evenhand_tryboot" else "kernel") / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"vermagic={RELEASE} SMP\0".encode())
    paths = sorted(str(path.relative_to(modules)) for path in modules.rglob("*.ko"))
    (modules / "modules.dep").write_text("".join(f"{path}:\n" for path in paths))
    (modules / "modules.builtin").write_text("kernel/drivers/pci/controller/pcie-brcmstb.ko\n")
    (modules / "modules.builtin.modinfo").write_bytes(b"pcie_brcmstb.alias=of:N*T*Cbrcm,bcm2711-pcie\0")
    (modules / "modules.alias").write_text("".join(f"alias of:N*T*C{c} {m}\n" for c, m in DRIVERS.items()))
    (root / "etc/modules-load.d/evenhand.conf").write_text("snd-usb-audio\nbcm2835_wdt\nevenhand_tryboot\n")
    for name in PROGRAMS:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for name in ("bin", "sbin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "opt/evenhand/firmware").mkdir(parents=True)
    for name in ("_engine", "_live"):
        path = root / f"opt/evenhand/firmware/{name}.cpython-311-aarch64-linux-gnu.so"
        path.write_bytes(compiled_module())
    libraries = root / "usr/lib/aarch64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"):
        (libraries / name).write_bytes(static_program())
    for name, content in (
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), ("etc/group", "root:x:0:\n"), ("etc/shadow", "root:*:1::::::\n"),
        ("etc/gshadow", "root:*::\n"), ("var/lib/dpkg/status", "Package: rauc\nStatus: ok\nVersion: 1.8-2\n\n"),
        (f"opt/evenhand/board_configs/{BOARD.name}.toml", "x"),
        ("opt/evenhand/firmware/inference/pretrained/evenhand.bundle", "x"),
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / SITE / "h11-0.16.0.dist-info").mkdir(parents=True)


def listing_of(root: Path) -> dict[str, Listed]:
    """Return what ``unsquashfs`` would say of a folder whose files are root's."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        kind = "l" if path.is_symlink() else "d" if path.is_dir() else "-"
        name = str(path.relative_to(root))
        mode = 0o640 if name in ("etc/shadow", "etc/gshadow") else stat.S_IMODE(status.st_mode)
        found[name] = Listed(kind=kind, mode=mode, uid=0, gid=0)
    return found


def sample_image(folder: Path, certificate: Path) -> Image:
    """Return an image in which nothing is wrong."""
    write_boot(folder / "boot")
    write_root(folder / "root", certificate)
    select = folder / "select"
    select.mkdir()
    (select / "autoboot.txt").write_bytes(selection_bytes("a"))
    (select / disk.SEED).write_bytes(disk.seed_block())
    kinds = {0x0C: "c", 0x0F: "f", 0x83: "83"}
    table = table_of(WANTED.board)
    parts = {
        p.number: Part(kind=kinds[p.kind], start_bytes=p.start * SECTOR_BYTES, size_bytes=p.n_sectors * SECTOR_BYTES)
        for p in table.partitions
    }
    file = folder / "evenhand.img"
    file.write_bytes(b"")
    record = {"board": BOARD.name, "platform": PLATFORM.name, "version": "1.0", "compatible": f"evenhand-{BOARD.name}",
              "kernel": RELEASE, "is_development": False, "date_s": 1_764_115_200, "files": {}}  # fmt: skip
    bill = {"components": [
        {"name": "rauc", "version": "1.8-2", "purl": "pkg:deb/debian/rauc@1.8-2"},
        {"name": "h11", "version": "0.16.0", "purl": "pkg:pypi/h11@0.16.0"},
    ]}  # fmt: skip
    return Image(
        file=file, size_bytes=table.partitions[-1].end * SECTOR_BYTES, disk_id=f"{disk_id(BOARD):08x}", label="dos",
        parts=parts, select=select, boot=folder / "boot", root=folder / "root", listing=listing_of(folder / "root"),
        data_check="", data_names=("lost+found",), record=json.loads(json.dumps(record)), bill=bill,
    )  # fmt: skip


def copy_of(image: Image, folder: Path) -> Image:
    """Return an image of one's own to spoil."""
    shutil.copytree(image.file.parent, folder, symlinks=True)
    return dataclasses.replace(
        image, file=folder / image.file.name, select=folder / "select", boot=folder / "boot", root=folder / "root",
        listing=dict(image.listing), parts=dict(image.parts), record=json.loads(json.dumps(image.record)),
        bill=json.loads(json.dumps(image.bill)),
    )  # fmt: skip
