"""A finished image is looked through: what is right passes, each fault that was planted is named."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from firmware.image import disk, opened
from firmware.image.check import Looker
from firmware.image.check_boot import boot_looks, first_root_looks
from firmware.image.check_contents import content_looks
from firmware.image.check_disk import disk_looks
from firmware.image.check_root import root_looks
from firmware.image.layout import table_of
from firmware.image.opened import Image, Listed, Part
from firmware.tests import image_samples as samples
from firmware.tests.image_samples import FIRST, RELEASE, SITE, WANTED

SYSTEM = "etc/systemd/system"
KERNEL_MODULES = f"usr/lib/modules/{RELEASE}"
KEY_TEXT = "-----BEGIN PRIVATE KEY-----\n" + ("M" * 60 + "\n") * 3 + "-----END PRIVATE KEY-----\n"
Fault = Callable[[Image], Image]
Faults = dict[str, tuple[Fault, str]]  # what is done to the image, and what is said then


def certificate(folder: Path, *, ends_in_days: int = 3650) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    end = datetime(2025, 11, 26, tzinfo=UTC) + timedelta(days=ends_in_days)
    made = x509.CertificateBuilder(
        issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1,
        not_valid_before=datetime(2020, 1, 1, tzinfo=UTC), not_valid_after=end,
    ).sign(key, hashes.SHA256())  # fmt: skip
    path = folder / "ca.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("right")
    return samples.sample_image(folder, certificate(tmp_path_factory.mktemp("keys")))


def wrongs(image: Image, *lookers: Looker) -> list[str]:
    return [line for looker in lookers for each in looker(image, WANTED) for line in each.wrong]


def test_image_in_which_nothing_is_wrong_passes(right: Image) -> None:
    assert wrongs(right, *FAULTS) == []


def remove(name: str) -> Fault:
    def fault(image: Image) -> Image:
        folder, _, rest = name.partition("/")
        (getattr(image, folder) / rest).unlink()
        if folder == "root":
            image.listing.pop(rest, None)
        return image

    return fault


def write(name: str, content: str | bytes, mode: int = 0o644) -> Fault:
    def fault(image: Image) -> Image:
        folder, _, rest = name.partition("/")
        path = getattr(image, folder) / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if folder == "root":
            image.listing[rest] = Listed(kind="-", mode=mode, uid=0, gid=0)
        return image

    return fault


def swap(name: str, old: str, new: str) -> Fault:
    def fault(image: Image) -> Image:
        folder, _, rest = name.partition("/")
        path = getattr(image, folder) / rest
        content = path.read_bytes()
        assert old.encode() in content, f"{name} has no {old!r} to spoil"
        path.write_bytes(content.replace(old.encode(), new.encode()))
        return image

    return fault


def listed(name: str, **changes: int | str) -> Fault:
    def fault(image: Image) -> Image:
        before = image.listing.get(name, Listed(kind="-", mode=0o644, uid=0, gid=0))
        image.listing[name] = dataclasses.replace(before, **changes)  # type: ignore[arg-type]
        return image

    return fault


def part(number: int, **changes: int | str) -> Fault:
    def fault(image: Image) -> Image:
        image.parts[number] = dataclasses.replace(image.parts[number], **changes)  # type: ignore[arg-type]
        return image

    return fault


def first_root(modules: tuple[str, ...] = FIRST, without: str = "") -> Fault:
    def fault(image: Image) -> Image:
        samples.write_first_root(image.boot, modules=modules, without=without)
        return image

    return fault


def ends_early(image: Image) -> Image:
    folder = image.file.parent / "old"
    folder.mkdir()
    (image.root / "etc/rauc/keyring.pem").write_bytes(certificate(folder, ends_in_days=-1).read_bytes())
    return image


def without_driver_of_the_card(image: Image) -> Image:
    path = image.root / KERNEL_MODULES / "modules.alias"
    path.write_text(path.read_text().replace("regulator-fixed", "nothing"))
    return image


def bill_version(image: Image) -> Image:
    image.bill["components"][0]["version"] = "1.9"
    return image


def without_a_bill(image: Image) -> Image:
    (image.root / SITE / "evil-1.dist-info").mkdir()
    return image


EMPTY_SLOT = b"[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2\n".ljust(512)
FOR_PC = samples.static_program().replace(b"\xb7\0", b"\x3e\0", 1)
ENGINE = "root/opt/evenhand/firmware/_engine.cpython-311-aarch64-linux-gnu.so"
DISK_FAULTS: Faults = {
    "gpt": (lambda image: dataclasses.replace(image, label="gpt"), "tries no other slot from a GPT"),
    "kind of a partition": (part(2, kind="83"), "partition 2 is of kind 83, not c"),
    "slots of two sizes": (part(6, size_bytes=1 << 20), "partitions 5 and 6 are of different size"),
    "overlap": (part(5, start_bytes=1 << 20), "begins inside the one before"),
    "cut off": (lambda image: dataclasses.replace(image, size_bytes=1 << 20), "the file ends at 1048576"),
    "data is broken": (lambda image: dataclasses.replace(image, data_check="bad superblock"), "bad superblock"),
    "data of somebody": (lambda image: dataclasses.replace(image, data_names=("settings",)), "holds settings before"),
    "empty slot committed": (write("select/autoboot.txt", EMPTY_SLOT), "commits slot b, which is empty"),
    "choice is longer than a sector": (swap("select/autoboot.txt", "[all]\n", "[all]\n\n"), "has 513 bytes"),
    "try of a file": (swap("select/autoboot.txt", "tryboot_a_b=1", "tryboot_a_b=0"), "lacks tryboot_a_b=1"),
    "choice is gone": (remove("select/autoboot.txt"), "autoboot.txt"),
    "seed of somebody": (swap("select/evenhand-seed.toml", "####\n", 'a="'), "is no block of 4096 bytes"),
}
BOOT_FAULTS: Faults = {
    "kernel is gone": (remove("boot/kernel8.img"), "kernel8.img is not there"),
    "kernel of another processor": (swap("boot/kernel8.img", "ARM\x64", "x86_"), "is no kernel for 64-bit Arm"),
    "kernel without real time": (swap("boot/kernel8.img", "PREEMPT_RT", "PREEMPT_--"), "is no real-time kernel"),
    "kernel without its modules": (
        swap("boot/kernel8.img", "version 7.0-rt", "version 7.1-rt"),
        "the root has no modules of 7.1-rt-arm64",
    ),
    "config names no kernel": (swap("boot/config.txt", "kernel=", "kernels="), "kernel is not in config.txt"),
    "boot loader is gone": (remove("boot/start4.elf"), "start4.elf is not there"),
    "boot loader is old": (swap("boot/start4.elf", "[tryboot]", "[nothing]"), "does not know [tryboot]"),
    "boot loader without its licence": (remove("boot/LICENCE.loader"), "its licence is not with it"),
    "command line without the audio core": (swap("boot/cmdline.txt", "isolcpus=3 ", ""), "lacks isolcpus=3"),
    "command line with a root": (swap("boot/cmdline.txt", "quiet", "quiet root=/dev/sda1"), "has root=/dev/sda1"),
    "device tree is gone": (remove("boot/bcm2711-rpi-4-b.dtb"), "bcm2711-rpi-4-b.dtb is not there"),
    "device tree is damaged": (write("boot/bcm2711-rpi-4-b.dtb", samples.pi_tree()[:200]), "is none, or damaged"),
    "device tree without the card": (
        write("boot/bcm2711-rpi-4-b.dtb", samples.pi_tree(is_card_on=False)),
        "has no brcm,bcm2711-emmc2, or it is switched off",
    ),
}
FIRST_ROOT_FAULTS: Faults = {
    "first root is damaged": (write("boot/initramfs.zst", b"no archive"), "is not packed as the kernel reads it"),
    "first root without a program": (first_root(without="bin/hexdump"), "/init calls hexdump"),
    "first root without busybox": (first_root(without="bin/busybox"), "does not run alone"),
    "first root does not load a supply of the card": (
        first_root(tuple(m for m in FIRST if m != "fixed")),
        "fixed, which drives it, is not loaded",
    ),
    "first root cannot mount the root": (
        first_root(tuple(m for m in FIRST if m != "squashfs")),
        "neither loads squashfs nor",
    ),
    "first root lacks a module that it loads": (
        first_root(without=f"lib/modules/{RELEASE}/kernel/ext4.ko"),
        "loads ext4, which is not there",
    ),
    "first root looks for another disk": (
        lambda image: dataclasses.replace(image, disk_id="deadbeef"),
        "this one is deadbeef",
    ),
    "no driver for the card's supply": (without_driver_of_the_card, "the kernel has no driver for regulator-fixed"),
}
ROOT_FAULTS: Faults = {
    "unit is not enabled": (
        remove(f"root/{SYSTEM}/multi-user.target.wants/evenhand.target"),
        "evenhand.target is not enabled",
    ),
    "unit is enabled and gone": (
        remove(f"root/{SYSTEM}/evenhand-agent.service"),
        "evenhand-agent.service is enabled and not there",
    ),
    "unit runs what is not there": (
        remove("root/usr/lib/evenhand/trial-deadline"),
        "runs /usr/lib/evenhand/trial-deadline, which is not there",
    ),
    "unit runs what is no program": (
        listed("usr/lib/evenhand/trial-deadline", mode=0o644),
        "trial-deadline, which is no program",
    ),
    "module for sound is gone": (
        remove(f"root/{KERNEL_MODULES}/kernel/snd_usb_audio.ko"),
        "kernel/snd_usb_audio.ko is not there",
    ),
    "module of another kernel": (
        swap(f"root/{KERNEL_MODULES}/kernel/vfat.ko", RELEASE, "6.1-rt-arm64"),
        "is of kernel 6.1-rt-arm64",
    ),
    "kernel without verity": (
        swap(f"root/{KERNEL_MODULES}/modules.dep", "kernel/dm_verity.ko:\n", ""),
        "has no dm_verity, for updates",
    ),
    "nothing drives the network": (
        swap(f"root/{KERNEL_MODULES}/modules.alias", "brcm,bcm2711-genet-v5", "other"),
        "nothing drives brcm,bcm2711-genet-v5",
    ),
    "nothing asks for a try": (
        remove(f"root/{KERNEL_MODULES}/updates/evenhand_tryboot.ko"),
        "nothing tells the firmware of a try",
    ),
    "module to load is unknown": (write("root/etc/modules-load.d/x.conf", "snd-nothing\n"), "x.conf loads snd-nothing"),
    "library is gone": (remove("root/usr/lib/aarch64-linux-gnu/libc.so.6"), "needs libc.so.6, which is not there"),
    "program of another processor": (write("root/usr/bin/x", FOR_PC, 0o755), "/usr/bin/x is for x86_64"),
    "program is cut off": (write("root/usr/bin/x", samples.compiled_module()[:100], 0o755), "/usr/bin/x is cut off"),
    "engine is not compiled": (remove(ENGINE), "no compiled firmware/_engine"),
    "update of another disk": (swap("root/etc/rauc/system.conf", "-06\n", "-05\n"), "slot.rootfs.1 is not partition 6"),
    "update for another board": (
        swap("root/etc/rauc/system.conf", "evenhand-raspberry_pi_4", "evenhand-raspberry_pi_5"),
        "takes bundles for evenhand-raspberry_pi_5",
    ),
    "updates that are not verity": (
        swap("root/etc/rauc/system.conf", "=verity", "=plain"),
        "not checked block by block",
    ),
    "certificate has ended": (ends_early, "a certificate ended on 2025-11-25"),
    "keyring is none": (write("root/etc/rauc/keyring.pem", "nothing"), "the keyring holds no certificate"),
    "data of another disk": (swap("root/etc/fstab", "-07 ", "-05 "), "/data is not partition 7"),
    "bill lacks a package": (
        swap("root/var/lib/dpkg/status", "Package: rauc", "Package: rauce"),
        "the bill lacks rauce 1.8-2",
    ),
    "bill has another version": (bill_version, "rauc is 1.8-2, the bill says 1.9"),
    "python package without a bill": (without_a_bill, "differ in Python's evil: None, 1"),
}
CONTENTS_FAULTS: Faults = {
    "anybody may write": (listed("etc/fstab", mode=0o666), "anybody may write /etc/fstab"),
    "program of root's rights": (listed("usr/bin/sh", mode=0o4755), "/usr/bin/sh runs with its owner's rights"),
    "file of nobody": (listed("etc/fstab", uid=1000), "belongs to 1000:0, whom nobody knows"),
    "device": (listed("etc/fstab", kind="b"), "/etc/fstab is a device"),
    "passwords for all to read": (listed("etc/shadow", mode=0o644), "anybody may read /etc/shadow"),
    "password": (write("root/etc/shadow", "root:$6$abc:1::::::\n", 0o640), "root has a password"),
    "machine-id": (write("root/etc/machine-id", "0123\n"), "every box would be the same one"),
    "private key": (write("root/opt/evenhand/x", KEY_TEXT), "/opt/evenhand/x holds a private key"),
    "key of a host": (write("root/etc/ssh/ssh_host_rsa_key", "x"), "ssh_host_rsa_key is somebody's"),
    "name and password": (
        write("root/etc/x", "u = https://me:" + "secret1@example.org/\n"),
        "a name and a password of example.org",
    ),
    "trace of the machine": (write("root/opt/x", str(Path(__file__).parents[2])), "names /"),
    "open door": (
        write(f"root/{SYSTEM}/serial-getty@.service.d/development.conf", "x"),
        "lets anybody with a cable in",
    ),
    "board of another": (
        swap("root/etc/evenhand/box.env", "EVENHAND_BOARD=raspberry_pi_4", "EVENHAND_BOARD=sim"),
        "does not name the board",
    ),
    "release of another version": (
        swap("root/usr/lib/evenhand/release.json", '"1.0"', '"2.0"'),
        "says version 2.0, image.json 1.0",
    ),
}
FAULTS: dict[Looker, Faults] = {
    disk_looks: DISK_FAULTS, boot_looks: BOOT_FAULTS, first_root_looks: FIRST_ROOT_FAULTS, root_looks: ROOT_FAULTS,
    content_looks: CONTENTS_FAULTS,
}  # fmt: skip


@pytest.mark.parametrize(
    ("looker", "name"), [pytest.param(looker, name, id=name) for looker, faults in FAULTS.items() for name in faults]
)
def test_planted_fault_is_named(looker: Looker, name: str, right: Image, tmp_path: Path) -> None:
    fault, said = FAULTS[looker][name]
    found = wrongs(fault(samples.copy_of(right, tmp_path / "image")), looker)
    assert any(said in line for line in found), found


def test_digest_that_differs_is_named(right: Image, tmp_path: Path) -> None:
    image = samples.copy_of(right, tmp_path / "image")
    image.record["files"] = {
        "disk": {"name": image.file.name, "sha256": "0" * 64},
        "bill": {"name": "x.json", "sha256": ""},
    }
    found = wrongs(image, disk_looks)
    assert "evenhand.img has another digest than image.json says" in found
    assert "x.json is not there" in found


def test_disk_of_ours_is_opened_by_programs_of_others(right: Image, tmp_path: Path) -> None:
    assert WANTED.board.image is not None
    board = dataclasses.replace(WANTED.board, image=dataclasses.replace(WANTED.board.image, boot_mib=34, root_mib=64))
    files = {path.name: path.read_bytes() for path in right.boot.iterdir()}
    disk.write_fat(tmp_path / "boot", 34, "BOOT", files, 1_764_115_200)
    disk.write_select(tmp_path / "select", 1_764_115_200)
    disk.write_data(tmp_path / "data", board, 1_764_115_200)
    subprocess.run(["mksquashfs", str(right.root), str(tmp_path / "root"), "-quiet", "-no-progress", "-all-root"],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    table = table_of(board)
    out = tmp_path / "evenhand.img"
    places = {name: tmp_path / name for name in ("select", "boot", "root", "data")}
    disk.write_disk(out, table, **places)
    kinds = {0x0C: "c", 0x0F: "f", 0x83: "83"}
    with opened.open_image(out) as image:
        assert (image.label, image.disk_id) == ("dos", right.disk_id)
        assert image.parts == {
            p.number: Part(kind=kinds[p.kind], start_bytes=p.start * 512, size_bytes=p.n_sectors * 512)
            for p in table.partitions
        }
        assert {path.name: path.read_bytes() for path in image.boot.iterdir()} == files
        assert set(image.listing) - {""} == set(right.listing)
        assert (image.data_check, image.data_names) == ("", ("lost+found",))
        expected = ["no image.json beside it", "no bill of materials beside it"]
        assert [line for each in disk_looks(image, WANTED) for line in each.wrong] == expected
