"""What an image starts with: all that the boot loader names, the kernel, the device trees, and the first root."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from firmware.errors import EvenhandError

from . import grub
from .check import Look, Wanted, look
from .device_tree import Drivers, Node, find, read_tree, suppliers
from .disk import KERNEL, command_line, is_pc
from .elf import read_elf
from .kernel import read_needs
from .layout import DATA
from .opened import Image

ARM64_MAGIC_AT, ARM64_MAGIC = 0x38, b"ARM\x64"
PC_MAGIC_AT, PC_MAGIC, PC_VERSION_AT = 0x202, b"HdrS", 0x20E
VERSION = re.compile(rb"Linux version (\S+) [^\0\n]{0,400}?(#\d+ [^\0\n]{0,200})")
# Driven before there are modules, or, of the display, not needed: no alias says so.
WITHOUT_ALIAS = {"fixed-clock", "arm,gic-400", "brcm,bcm2835-dsi0", "brcm,bcm2711-dsi1"}
NEEDED_THERE = ("squashfs", "overlay", "ext4")  # the first root mounts them
SHELL_WORDS = {
    "[", "break", "case", "continue", "do", "done", "echo", "elif", "else", "esac", "exec", "exit", "export", "fi",
    "for", "if", "in", "local", "read", "return", "set", "shift", "test", "then", "until", "while",
    "fail", "find_disk", "partition_of_disk",  # its own
}  # fmt: skip


def read_config(text: str) -> dict[str, str]:
    """Return what a ``config.txt`` sets; the first root is ``initramfs``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("initramfs "):
            found["initramfs"] = line.split()[1]
        elif "=" in line and not line.startswith(("dtparam", "dtoverlay")):
            key, _, value = line.partition("=")
            found[key] = value
    return found


def boot_looks(image: Image, wanted: Wanted) -> Iterator[Look]:
    """Look at the boot partition of slot a."""
    if is_pc(wanted.board):
        yield from _pc_looks(image, wanted)
        return
    config_file = image.boot / "config.txt"
    config = read_config(config_file.read_text(encoding="ascii", errors="replace")) if config_file.exists() else {}
    names = [config[key] for key in ("kernel", "initramfs", "cmdline", "start_file", "fixup_file") if key in config]
    names += [name for name, _ in wanted.platform.device_trees] + [name for name, _ in wanted.platform.loader_files]
    wrong = [f"{key} is not in config.txt" for key in ("kernel", "initramfs", "cmdline") if key not in config]
    wrong += [f"{name} is not there" for name in dict.fromkeys(names) if not (image.boot / name).is_file()]
    wrong += [
        f"{name} is empty" for name in names if (image.boot / name).is_file() and not (image.boot / name).stat().st_size
    ]
    yield look("boot chain", f"config.txt names {', '.join(dict.fromkeys(names))}", wrong)
    if wanted.platform.loader_files:
        yield _loader(image, wanted)
    yield _kernel(image, wanted, config.get("kernel", KERNEL))
    line = image.boot / config.get("cmdline", "cmdline.txt")
    yield _command_line(line.read_text(encoding="ascii", errors="replace") if line.exists() else "", wanted)
    for name, _ in wanted.platform.device_trees:
        yield _device_tree(image, wanted, name)


def _pc_looks(image: Image, wanted: Wanted) -> Iterator[Look]:
    path = image.boot / grub.SLOT
    lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
    words = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    names = [words.get(command, [""])[0].lstrip("/") for command in ("linux", "initrd")]
    wrong = [f"{grub.SLOT} names no {command}" for command in ("linux", "initrd") if command not in words]
    wrong += [f"{name} is not there" for name in names if name and not (image.boot / name).is_file()]
    yield look("boot chain", f"{grub.SLOT} names {', '.join(names)}", wrong)
    yield _kernel(image, wanted, names[0] or grub.KERNEL)
    line = " ".join(words.get("linux", [""])[1:])
    told = "evenhand.partition=$partition"
    yield (
        _command_line(line.replace(f" {told}", ""), wanted)
        if told in line
        else look("command line", line, ["the first root is not told which partition it came from"])
    )


def kernel_release(image: Image) -> str:
    """Return which kernel the boot partition has; "" for none."""
    for name in (KERNEL, grub.KERNEL):
        if (image.boot / name).exists() and (found := _version((image.boot / name).read_bytes())):
            return found[0]
    return ""


def _version(content: bytes) -> tuple[str, str] | None:
    """Return which Linux a kernel is, and how it was built; a PC's is packed, and says it in its head."""
    if content[PC_MAGIC_AT : PC_MAGIC_AT + 4] == PC_MAGIC:  # the kernel's Documentation/arch/x86/boot.rst
        at = int.from_bytes(content[PC_VERSION_AT : PC_VERSION_AT + 2], "little") + 512
        text = content[at : content.find(b"\0", at)].decode("ascii", "replace")
        release, _, how = text.partition(" ")
        return (release, how) if release else None
    found = VERSION.search(content)
    return (found[1].decode(), found[2].decode()) if found else None


def read_cpio(content: bytes) -> dict[str, tuple[int, bytes]]:
    """Return what a cpio archive holds: mode and content by path.

    Raises
    ------
    EvenhandError
        When it is none, or cut off.
    """
    try:
        return _read_cpio(content)
    except ValueError:
        raise EvenhandError("first root: is no cpio archive, or is cut off") from None


def _read_cpio(content: bytes) -> dict[str, tuple[int, bytes]]:
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while content[at : at + 6] == b"070701":
        fields = [int(content[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = content[at + 110 : at + 109 + fields[11]].decode()
        if name == "TRAILER!!!":
            return found
        body = (at + 110 + fields[11] + 3) // 4 * 4
        found[name] = (fields[1], content[body : body + fields[6]])
        at = (body + fields[6] + 3) // 4 * 4
    raise ValueError("no end")


def first_root_looks(image: Image, wanted: Wanted) -> Iterator[Look]:
    """Look at the first root: what it runs, what it loads, and whether that finds the disk."""
    path = image.boot / "initramfs.zst"
    try:
        if not path.exists():
            raise EvenhandError("first root: is not there")
        unpacked = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True)
        if unpacked.returncode:
            raise EvenhandError("first root: is not packed as the kernel reads it")
        files = read_cpio(unpacked.stdout)
    except EvenhandError as error:
        yield look("first root", path.name, [str(error)])
        return
    yield look(
        "first root",
        f"{len(files)} entries, {path.stat().st_size / 1e6:.1f} MB packed",
        _init_faults(image, wanted, files),
    )
    yield _first_modules(image, wanted, files)


def _loader(image: Image, wanted: Wanted) -> Look:
    wrong = []
    start = image.boot / "start4.elf"
    content = start.read_bytes() if start.exists() else b""
    if not content.startswith(b"\x7fELF"):
        wrong.append("start4.elf is no program")
    elif b"[tryboot]" not in content:
        wrong.append("start4.elf does not know [tryboot]; take a newer package")
    if not (image.boot / "LICENCE.loader").is_file():
        wrong.append("its licence is not with it, as it asks for")
    return look(
        "boot loader", f"{wanted.platform.loader_packages[0]}, {len(content) / 1e6:.1f} MB, with its licence", wrong
    )


def _kernel(image: Image, wanted: Wanted, name: str) -> Look:
    path = image.boot / name
    content = path.read_bytes() if path.exists() else b""
    found = _version(content)
    wrong = []
    at, magic, kind = (PC_MAGIC_AT, PC_MAGIC, "a PC") if is_pc(wanted.board) else (
        ARM64_MAGIC_AT, ARM64_MAGIC, "64-bit Arm")  # fmt: skip
    if content[at : at + 4] != magic:
        wrong.append(f"is no kernel for {kind}")
    if found is None:
        return look("kernel", path.name, [*wrong, "does not say which Linux it is"])
    release, how = found
    assert wanted.board.image is not None
    if "-rt-" in wanted.board.image.kernel and "PREEMPT_RT" not in how:
        wrong.append("is no real-time kernel")
    if not (image.root / "usr/lib/modules" / release).is_dir():
        wrong.append(f"the root has no modules of {release}")
    if image.record and image.record["kernel"] != release:
        wrong.append(f"image.json names {image.record['kernel']}")
    return look(
        "kernel", f"{release}, {'real time, ' if 'PREEMPT_RT' in how else ''}{len(content) / 1e6:.0f} MB", wrong
    )


def _command_line(text: str, wanted: Wanted) -> Look:
    words = text.split()
    wrong = [f"lacks {word}" for word in command_line(wanted.board).split() if word not in words]
    wrong += [
        f"has {word}: the first root finds the slot's root" for word in words if word.startswith(("root=", "init="))
    ]
    if text.count("\n") > 1 or len(text) > 1000:
        wrong.append("is more than one line, or too long for the boot loader")
    return look("command line", text.strip(), wrong)


def _device_tree(image: Image, wanted: Wanted, name: str) -> Look:
    path = image.boot / name
    try:
        root = read_tree(path.read_bytes() if path.exists() else b"")
    except EvenhandError as error:
        return look(name, "device tree", [str(error)])
    platform = wanted.platform
    devices = dict.fromkeys((*platform.first_root_devices, *platform.root_devices))
    wrong = [f"has no {device}, or it is switched off" for device in devices if not find(root, device)]
    assert wanted.board.image is not None
    console = wanted.board.image.console
    aliases = next((node for node in root.children if node.name == "aliases"), None)
    number = re.sub(r"\D+", "", console)
    if aliases is None or f"serial{number}" not in aliases.properties:
        wrong.append(f"has no serial{number} for the console {console}")
    model = root.text("model")
    return look(name, f"{model}: {', '.join(devices)}", wrong)


def _init_faults(image: Image, wanted: Wanted, files: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    mode, script = files.get("init", (0, b""))
    if not mode & 0o111 or not script.startswith(b"#!/bin/sh\n"):
        yield "/init is no program"
        return
    syntax = subprocess.run(["sh", "-n"], input=script, capture_output=True)
    if syntax.returncode:
        yield f"/init is no shell: {syntax.stderr.decode().strip()[:100]}"
    busybox = read_elf(files.get("bin/busybox", (0, b""))[1])
    if busybox is None or busybox.machine != wanted.board.machine or not busybox.is_static:
        yield "/bin/busybox does not run alone on the box's processor"
    for word in sorted(_commands(script.decode("utf-8", "replace"))):
        if f"bin/{word}" not in files:
            yield f"/init calls {word}, which is not in /bin"
    if files.get("etc/disk", (0, b""))[1].decode().strip() != image.disk_id:
        yield f"looks for a disk {files.get('etc/disk', (0, b'?'))[1].decode().strip()}, this one is {image.disk_id}"
    if files.get("etc/data", (0, b""))[1].strip() != str(DATA).encode():
        yield "does not know which partition is data"


def _commands(script: str) -> set[str]:
    """Return the programs that a script of ours calls: the first word of a command."""
    text = re.sub(r"(?m)(^|\s)#.*$", "", script)
    text = re.sub(r"\$\(\(.*?\)\)", "0", text)
    text = re.sub(r"(?m)^\S+\)", "", text)  # branches of a case
    starts = re.split(r"\$\(|[;|&]+|\n|\b(?:then|do|else|until|while|if)\b|\{ ", text)
    words = {start.split()[0] for start in starts if start.split()}
    return {word for word in words if re.fullmatch(r"[a-z][a-z_]+", word)} - SHELL_WORDS


def _first_modules(image: Image, wanted: Wanted, files: dict[str, tuple[int, bytes]]) -> Look:
    release = kernel_release(image)
    base = f"lib/modules/{release}/"
    needs = read_needs(files.get(f"{base}modules.dep", (0, b""))[1].decode())
    names = {Path(path).name.split(".")[0].replace("-", "_") for path in needs if base + path in files}
    listed = [line.replace("-", "_") for line in files.get("etc/modules", (0, b""))[1].decode().split()]
    wrong = [f"loads {name}, which is not there" for name in listed if name not in names]
    wrong += [f"{path} needs {need}, which is not there" for path, all_of in needs.items() if base + path in files
              for need in all_of if base + need not in files]  # fmt: skip
    folder = image.root / "usr/lib/modules" / release
    builtin_file = folder / "modules.builtin"
    builtin = builtin_file.read_text(encoding="utf-8") if builtin_file.exists() else ""
    has = {Path(line).stem.replace("-", "_") for line in builtin.split()} | set(listed)
    wrong += [f"cannot mount: neither loads {name} nor has the kernel it" for name in NEEDED_THERE if name not in has]
    wrong += [f"drives no {name}" for name in wanted.platform.first_root_modules
              if name.replace("-", "_") not in has]  # fmt: skip
    driven: set[str] = set(wanted.platform.first_root_modules)
    for node, drivers in _storage(image, wanted, folder):
        if (
            node.compatible
            and node.parent
            and not drivers.has_driver(node)
            and not WITHOUT_ALIAS & set(node.compatible)
        ):
            wrong.append(f"{node.path} hangs under the disk; the kernel has no driver for {node.compatible[0]}")
        for module in set(drivers.modules([node])) - set(wanted.platform.unused):
            driven.add(module)
            if module not in listed:
                wrong.append(f"{node.path} hangs under the disk; {module}, which drives it, is not loaded")
    found = f"{len(listed)} loaded; the disk hangs on {', '.join(sorted(driven)) or 'virtio'}"
    return look("first root's modules", found, dict.fromkeys(wrong))


def _storage(image: Image, wanted: Wanted, folder: Path) -> Iterator[tuple[Node, Drivers]]:
    aliases, builtin = folder / "modules.alias", folder / "modules.builtin.modinfo"
    if not (aliases.exists() and builtin.exists()):
        return
    drivers = Drivers(aliases.read_text(encoding="utf-8"), builtin.read_bytes())
    for name, _ in wanted.platform.device_trees:
        path = image.boot / name
        try:
            root = read_tree(path.read_bytes())
        except (OSError, EvenhandError):
            continue  # said already
        wanted_nodes = [node for device in wanted.platform.first_root_devices for node in find(root, device)]
        yield from ((node, drivers) for node in suppliers(root, wanted_nodes))
