"""The root of an image as a system: units, modules, programs with their libraries, RAUC, packages and their bill."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from firmware.errors import EvenhandError

from .check import Look, Wanted, look
from .check_boot import kernel_release
from .device_tree import Drivers, find, read_tree, suppliers
from .elf import Elf, read_elf
from .kernel import read_needs
from .layout import BOOT, DATA, ROOT, SELECT
from .opened import Image
from .target import BY_MACHINE, Target
from .tree import ENABLED

SITE = "opt/evenhand/.venv/lib/python3.11/site-packages"
LIBRARIES = ("usr/lib/{0}", "usr/lib", "usr/lib/systemd", "usr/lib/{0}/systemd")  # of a processor
# What a box does with its kernel; built in or a module.
FEATURES = {
    "snd_usb_audio": "USB sound cards", "overlay": "the layer over the root", "squashfs": "the root",
    "ext4": "the data", "vfat": "the boot partitions", "nls_ascii": "names on them", "dm_verity": "updates",
    "loop": "updates", "dm_mod": "updates",
}  # fmt: skip
UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system")


def root_looks(image: Image, wanted: Wanted) -> Iterator[Look]:
    """Look at the root."""
    yield _units(image)
    yield _modules(image, wanted)
    yield _features(image, wanted)
    yield _libraries(image, BY_MACHINE[wanted.board.machine])
    yield _updates(image, wanted)
    yield _mounts(image)
    yield _packages(image)


def _resolve(image: Image, path: str, depth: int = 0) -> Path | None:
    """Return a file of the root, its links followed as the box would; None where they end nowhere."""
    place = image.root
    parts = [part for part in path.split("/") if part]
    for n, part in enumerate(parts):
        if part == "..":
            place = place.parent if place != image.root else place
            continue
        place = place / part
        if place.is_symlink():
            if depth > 20:
                return None
            target = str(place.readlink())
            before = "" if target.startswith("/") else "/".join(place.parent.relative_to(image.root).parts) + "/"
            return _resolve(image, "/".join([before + target, *parts[n + 1 :]]), depth + 1)
    return place if place.exists() else None


def _units(image: Image) -> Look:
    wrong = []
    wants = [f"{UNIT_FOLDERS[0]}/{target}/{unit}" for target, units in ENABLED.items() for unit in units]
    wrong += [f"{name.rpartition('/')[2]} is not enabled" for name in wants if not (image.root / name).is_symlink()]
    enabled = sorted(path for path in image.root.glob(f"{UNIT_FOLDERS[0]}/*.wants/*"))
    for path in enabled:
        if _resolve(image, str(path.relative_to(image.root))) is None:
            wrong.append(f"{path.name} is enabled and not there")
    n_programs = 0
    for folder in UNIT_FOLDERS:
        for path in sorted((image.root / folder).glob("*.service")):
            if path.is_symlink() or not path.is_file():
                continue
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                program = re.match(r"Exec(?:Start|StartPre|Stop|Reload)=[-@:+!]*(/\S+)", line)
                if program is None or (folder != UNIT_FOLDERS[0] and path.name not in {p.name for p in enabled}):
                    continue
                n_programs += 1
                if _resolve(image, program[1]) is None:
                    wrong.append(f"{path.name} runs {program[1]}, which is not there")
                elif not _mode(image, program[1]) & 0o111:
                    wrong.append(f"{path.name} runs {program[1]}, which is no program")
    if (default := _resolve(image, "sbin/init")) is None:
        wrong.append("/sbin/init is not there")
    assert default is None or default.exists()
    return look("units", f"{len(enabled)} enabled, {n_programs} programs of theirs", dict.fromkeys(wrong))


def _mode(image: Image, path: str) -> int:
    found = _resolve(image, path)
    listed = image.listing.get(str(found.relative_to(image.root))) if found is not None else None
    return listed.mode if listed is not None else 0


def _modules(image: Image, wanted: Wanted) -> Look:
    release = kernel_release(image)
    folder = image.root / "usr/lib/modules" / release
    if not release or not (folder / "modules.dep").exists():
        return look("kernel modules", release or "of no kernel", ["there are none, or no index of them"])
    needs = read_needs((folder / "modules.dep").read_text(encoding="utf-8"))
    wrong = [f"{path} is not there" for path in needs if not (folder / path).is_file()]
    wrong += [f"{path} needs {need}" for path, all_of in needs.items() for need in all_of if need not in needs]
    names = _module_names(folder, needs)
    lists = (path for path in (image.root / "etc/modules-load.d").glob("*.conf") if path.is_file())
    for conf in sorted(lists):
        wrong += [f"{conf.name} loads {name}, which the kernel has not" for name in conf.read_text().split()
                  if name.replace("-", "_") not in names]  # fmt: skip
    for path in needs:
        file = folder / path
        if (
            file.is_file()
            and (magic := re.search(rb"vermagic=(\S+)", file.read_bytes()))
            and magic[1].decode() != release
        ):
            wrong.append(f"{path} is of kernel {magic[1].decode()}")
    return look("kernel modules", f"{len(needs)} of {release}", wrong)


def _module_names(folder: Path, needs: Iterable[str]) -> set[str]:
    builtin = (folder / "modules.builtin").read_text(encoding="utf-8").split()
    return {Path(path).name.split(".")[0].replace("-", "_") for path in (*needs, *builtin)}


def _features(image: Image, wanted: Wanted) -> Look:
    folder = image.root / "usr/lib/modules" / kernel_release(image)
    if not (folder / "modules.dep").exists():
        return look("what the kernel can", "unknown", ["there are no modules"])
    names = _module_names(folder, read_needs((folder / "modules.dep").read_text(encoding="utf-8")))
    wrong = [f"has no {name}, for {why}" for name, why in FEATURES.items() if name not in names]
    drivers = Drivers((folder / "modules.alias").read_text(encoding="utf-8"),
                      (folder / "modules.builtin.modinfo").read_bytes())  # fmt: skip
    driven = []
    for name, _ in wanted.platform.device_trees:
        try:
            root = read_tree((image.boot / name).read_bytes())
        except (OSError, EvenhandError):
            continue  # said already
        for device in wanted.platform.root_devices:
            nodes = find(root, device)
            driven.append(device)
            if nodes and not drivers.has_driver(nodes[0]):
                wrong.append(f"{name}: nothing drives {device}")
            wrong += [f"{name}: {device} hangs on what {module} drives, which is not there"
                      for module in drivers.modules(suppliers(root, nodes)) if module not in names]  # fmt: skip
    if wanted.platform.has_tryboot and not (folder / "updates/evenhand_tryboot.ko").is_file():
        wrong.append("nothing tells the firmware of a try: updates/evenhand_tryboot.ko is not there")
    found = f"{', '.join(FEATURES)}; drives {', '.join(dict.fromkeys(driven)) or 'what QEMU has'}"
    return look("what the kernel can", found, dict.fromkeys(wrong))


def _libraries(image: Image, target: Target) -> Look:
    wrong = []
    system = [place.format(target.triplet) for place in LIBRARIES]
    found: dict[str, Elf] = {}
    for name, listed in image.listing.items():
        path = image.root / name
        if listed.kind != "-" or name.startswith("usr/lib/modules/") or not path.is_file():
            continue
        try:
            elf = read_elf(path.read_bytes())
        except ValueError as error:
            wrong.append(f"/{name} {error}")
            continue
        if elf is not None:
            found[name] = elf
            if elf.machine != target.machine:
                wrong.append(f"/{name} is for {elf.machine}")
    for name, elf in found.items():
        folder = name.rpartition("/")[0]
        places = [folder_of.replace("$ORIGIN", folder).strip("/") for folder_of in elf.run_path]
        if folder.endswith(".libs"):  # of a wheel: loaded by a module beside it, which looks there
            places.append(folder)
        wrong += [f"/{name} needs {library}, which is not there" for library in elf.needed
                  if not any(_resolve(image, f"{place}/{library}") for place in (*places, *system))]  # fmt: skip
    wrong += [f"no compiled {name}" for name in ("firmware/_engine", "firmware/_live")
              if not list((image.root / "opt/evenhand").glob(f"{name}.{target.tag}.so"))]  # fmt: skip
    return look("programs and libraries", f"{len(found)}, all for {target.machine}, each with what it needs"
                if not wrong else f"{len(found)}", wrong)  # fmt: skip


def _updates(image: Image, wanted: Wanted) -> Look:
    path = image.root / "etc/rauc/system.conf"
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8") if path.exists() else "")
    expected = {"slot.rootfs.0": ROOT[0], "slot.rootfs.1": ROOT[1], "slot.boot.0": BOOT[0], "slot.boot.1": BOOT[1]}
    wrong = [f"{slot} is not partition {number} of this disk" for slot, number in expected.items()
             if not parser.get(slot, "device", fallback="").endswith(image.partuuid(number))]  # fmt: skip
    compatible = f"evenhand-{wanted.board.name}"
    if parser.get("system", "compatible", fallback="") != compatible:
        wrong.append(f"takes bundles for {parser.get('system', 'compatible', fallback='nothing')}, not {compatible}")
    if parser.get("system", "bundle-formats", fallback="") != "verity":
        wrong.append("takes bundles that are not checked block by block")
    backend = parser.get("handlers", "bootloader-custom-backend", fallback="")
    if _resolve(image, backend) is None or not _mode(image, backend) & 0o111:
        wrong.append(f"its boot loader back end {backend or ''} is not there")
    keyring = _resolve(image, parser.get("keyring", "path", fallback="etc/rauc/keyring.pem"))
    text = keyring.read_bytes() if keyring is not None else b""
    until, faults = _certificates(text, datetime.fromtimestamp(image.record.get("date_s", 0), UTC))
    return look("updates", f"RAUC, {compatible}, verity; keys until {until}", [*wrong, *faults])


def _certificates(text: bytes, built: datetime) -> tuple[str, list[str]]:
    from cryptography import x509  # not at the head: only who checks an image needs it

    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError:
        return "never", ["the keyring holds no certificate"]
    ends = min(certificate.not_valid_after_utc for certificate in found)
    wrong = [f"a certificate ended on {ends:%Y-%m-%d}"] if ends < built else []
    return f"{ends:%Y-%m-%d}", wrong


def _mounts(image: Image) -> Look:
    path = image.root / "etc/fstab"
    lines = [line.split() for line in (path.read_text() if path.exists() else "").splitlines()
             if line.strip() and not line.startswith("#")]  # fmt: skip
    devices = {line[1]: line[0] for line in lines if line[0].startswith("/dev/")}
    wanted = (("/boot/select", SELECT), ("/data", DATA))
    wrong = [f"{place} is not partition {number} of this disk" for place, number in wanted
             if not devices.get(place, "").endswith(image.partuuid(number))]  # fmt: skip
    wrong += [
        f"{place} is no folder" for place in (line[1] for line in lines) if not (image.root / place.strip("/")).is_dir()
    ]
    return look("mounts", ", ".join(line[1] for line in lines), wrong)


def _packages(image: Image) -> Look:
    status = image.root / "var/lib/dpkg/status"
    text = status.read_text(encoding="utf-8") if status.exists() else ""
    here = dict(re.findall(r"^Package: (\S+)\n(?:.+\n)*?Version: (\S+)$", text, re.M))
    listed = {c["name"]: c["version"] for c in image.bill.get("components", []) if c["purl"].startswith("pkg:deb/")}
    wrong = [f"the bill lacks {name} {here[name]}" for name in sorted(set(here) - set(listed))]
    wrong += [f"the bill names {name}, which is not in it" for name in sorted(set(listed) - set(here))]
    wrong += [f"{name} is {here[name]}, the bill says {listed[name]}" for name in sorted(set(here) & set(listed))
              if here[name] != listed[name]]  # fmt: skip
    python = _installed(image)
    bill = {_plain(c["name"]): c["version"] for c in image.bill.get("components", [])
            if c["purl"].startswith("pkg:pypi/")}  # fmt: skip
    wrong += [f"the bill and the root differ in Python's {name}: {bill.get(name)}, {python.get(name)}"
              for name in sorted({*python, *bill}) if python.get(name) != bill.get(name)]  # fmt: skip
    return look("bill of materials", f"{len(listed)} Debian packages, {len(bill)} of Python, as in the root", wrong)


def _installed(image: Image) -> dict[str, str]:
    """Return the Python packages of a root with their versions."""
    names = (path.name.removesuffix(".dist-info") for path in (image.root / SITE).glob("*.dist-info"))
    return {_plain(name): version for name, _, version in (stem.partition("-") for stem in names)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
