"""What an image is made of is read by the formats' own descriptions; what is cut off is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware.errors import EvenhandError
from firmware.image import device_tree, opened
from firmware.image.check_boot import read_cpio
from firmware.image.elf import read_elf
from firmware.image.opened import Listed
from firmware.tests import image_samples as samples


def test_device_tree_names_what_a_device_hangs_on() -> None:
    root = device_tree.read_tree(samples.pi_tree())
    card = device_tree.find(root, "brcm,bcm2711-emmc2")
    assert [node.path for node in device_tree.suppliers(root, card)] == ["/", "/mmc", "/regulator"]
    drivers = device_tree.Drivers("alias of:N*T*Cregulator-fixedC* fixed\nalias of:N*T*Cregulator-fixed fixed\n",
                                  b"a.alias=of:N*T*Cbrcm,bcm2711-emmc2\0b.license=GPL\0")  # fmt: skip
    assert drivers.modules(device_tree.suppliers(root, card)) == ["fixed"]
    assert drivers.has_driver(card[0])


def test_device_that_is_switched_off_is_not_there() -> None:
    assert device_tree.find(device_tree.read_tree(samples.pi_tree(is_card_on=False)), "brcm,bcm2711-emmc2") == []


@pytest.mark.parametrize("size", [0, 3, 40, 100, 250])
def test_device_tree_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(EvenhandError, match="device tree: is none, or damaged"):
        device_tree.read_tree(samples.pi_tree()[:size])


def test_archive_that_is_cut_off_is_refused() -> None:
    with pytest.raises(EvenhandError, match="is cut off"):
        read_cpio(b"070701" + b"0" * 30)


def test_compiled_file_says_what_it_needs() -> None:
    elf = read_elf(samples.compiled_module())
    assert (elf.machine, elf.is_static) == ("aarch64", False)
    assert "libc.so.6" in elf.needed
    assert read_elf(b"#!/bin/sh\n") is None


def test_listing_keeps_rights_owners_and_links() -> None:
    text = """\
drwxr-xr-x 0/0                27 2026-11-26 00:00 squashfs-root
-rwsr-x--- 0/42             1234 2026-11-26 00:00 squashfs-root/usr/bin/a file
drwxrwxrwt 0/0                 3 2026-11-26 00:00 squashfs-root/tmp
lrwxrwxrwx 900/900             7 2026-11-26 00:00 squashfs-root/bin -> usr/bin
"""
    found = opened.read_listing(text)
    assert found["usr/bin/a file"] == Listed(kind="-", mode=0o4750, uid=0, gid=42)
    assert found["tmp"].mode == 0o1777
    assert found["bin"] == Listed(kind="l", mode=0o777, uid=900, gid=900, link="usr/bin")


def test_file_that_is_no_image_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "x.img").write_bytes(bytes(4096))
    with pytest.raises(EvenhandError, match=r"x\.img: partition table"), opened.open_image(tmp_path / "x.img"):
        pass
