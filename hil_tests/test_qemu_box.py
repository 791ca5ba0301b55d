"""An emulated box from its image: it starts, is updated, keeps its settings, and comes back from a bad update.

``EVENHAND_IMAGE`` names a folder that ``evenhand image build --board qemu_arm64 --development`` made, and
``EVENHAND_KEYS`` the keys of its keyring. Minutes a test on a quiet machine.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path

import pytest

from hil_tests.drivers.boot_rom import RomError, chosen_partition, partition_offset_bytes, read_file
from hil_tests.drivers.qemu_box import PROMPT, QemuBox

pytestmark = pytest.mark.soak

START_S, INSTALL_S, RESET_S = 1500.0, 1500.0, 900.0  # of a busy machine; a quiet one takes a tenth
MORE_BYTES = 600 * 1024 * 1024  # a card is larger than its image
SELECT_BYTES = 40 * 1024 * 1024
SECTOR_BYTES = 512


@pytest.fixture(scope="session")
def image() -> Path:
    name = os.environ.get("EVENHAND_IMAGE")
    missing = [tool for tool in ("qemu-system-aarch64", "mcopy", "fdtput", "rauc") if shutil.which(tool) is None]
    if not name or missing:
        pytest.skip(f"needs EVENHAND_IMAGE, an image to start; and of tools {missing or 'nothing more'}")
    return Path(name)


@pytest.fixture(scope="session")
def keys() -> Path:
    name = os.environ.get("EVENHAND_KEYS")
    if not name:
        pytest.skip("needs EVENHAND_KEYS, the keys of the image's keyring")
    return Path(name)


@pytest.fixture
def box(image: Path, tmp_path: Path) -> Iterator[QemuBox]:
    record = json.loads((image / "image.json").read_text())
    card = tmp_path / "card.img"
    subprocess.run(["cp", "--sparse=always", str(image / record["files"]["disk"]["name"]), str(card)], check=True)
    with card.open("r+b") as file:
        file.truncate(card.stat().st_size + MORE_BYTES)
    with QemuBox(card, tmp_path) as box:
        yield box


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder; yield it and the address that a box reaches it by."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://10.0.2.2:{server.server_address[1]}"
        server.shutdown()


def make_bundle(image: Path, keys: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "firmware.image", "bundle", "--image", str(image), "--keys", str(keys), "--out"]
    subprocess.run([*command, str(out)], check=True, capture_output=True)
    return out


def started(box: QemuBox) -> None:
    box.power_on()
    box.wait_for(PROMPT, START_S)
    box.run("systemctl start data.mount evenhand-folders.service", START_S)  # a shell comes before all is mounted


def fetch(box: QemuBox, address: str, name: str) -> None:
    box.run(f"python3 -c \"import urllib.request as u; u.urlretrieve('{address}/{name}', '/data/{name}')\"", INSTALL_S)


def restarted(box: QemuBox) -> int:
    """Restart the box and return the partition that it came back from."""
    box.type("systemctl reboot\n")
    return box.wait_for_reset(RESET_S).partition


def test_box_starts_mixes_and_finds_itself_good(box: QemuBox) -> None:
    started(box)
    box.wait_for(r"good +control", START_S)
    box.wait_for(r"slot a was committed before", START_S)
    assert "active" in box.run("systemctl is-active evenhand-engine evenhand-control")
    size_kib = int(box.run("df --output=size /data | tail -1"))
    assert size_kib * 1024 > MORE_BYTES  # it has grown
    assert box.run("touch /usr/x 2>&1; mount | grep -c ' on / type overlay'").strip() == "1"


def test_update_is_tried_committed_and_keeps_the_settings(
    box: QemuBox, image: Path, keys: Path, served: tuple[Path, str]
) -> None:
    make_bundle(image, keys, served[0] / "new.raucb")
    started(box)
    box.run("mkdir -p /data/settings && echo EVENHAND_HEALTH_SECONDS=10 >/data/settings/box.env")
    identity = box.run("cat /etc/machine-id")
    fetch(box, served[1], "new.raucb")
    box.run("rauc install /data/new.raucb", INSTALL_S)
    before = select_sectors(box.disk)
    assert restarted(box) == 3
    assert box.starts[-1].is_tryboot
    box.wait_for(r"slot b is committed", START_S)
    box.run("sync")
    after = select_sectors(box.disk)
    assert committed(box) == 3
    assert box.run("cat /etc/machine-id") == identity
    assert "EVENHAND_HEALTH_SECONDS=10" in box.run("cat /data/settings/box.env")
    assert restarted(box) == 3
    assert not box.starts[-1].is_tryboot
    assert_every_torn_write_boots(box, before, after)


def test_power_cut_while_an_update_is_written_leaves_the_old_system(
    box: QemuBox, image: Path, keys: Path, served: tuple[Path, str]
) -> None:
    make_bundle(image, keys, served[0] / "new.raucb")
    started(box)
    fetch(box, served[1], "new.raucb")
    box.run("sync")
    box.type("rauc install /data/new.raucb\n")
    box.wait_for(r"(?i)copying image", INSTALL_S)
    box.cut_power()
    assert box.power_on().partition == 2
    box.wait_for(PROMPT, START_S)
    box.run("rauc install /data/new.raucb", INSTALL_S)
    assert restarted(box) == 3


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("dead engine", "echo 'raise SystemExit(1)' >$R/opt/evenhand/firmware/mixer_setup.py; "
                        "rm $R/opt/evenhand/firmware/__pycache__/mixer_setup.*"),
        ("broken model", "printf x >>$R/opt/evenhand/firmware/inference/pretrained/evenhand.bundle"),
    ],
)  # fmt: skip
def test_release_that_is_not_good_is_left_by_itself(
    box: QemuBox, image: Path, keys: Path, served: tuple[Path, str], tmp_path: Path, what: str, damage: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(image, broken, ignore=shutil.ignore_patterns("*.img"))
    root = tmp_path / "root"
    subprocess.run(["unsquashfs", "-q", "-n", "-d", str(root), str(broken / "rootfs.squashfs")], check=True)
    subprocess.run(["sh", "-ec", damage], env={**os.environ, "R": str(root)}, check=True)
    (broken / "rootfs.squashfs").unlink()
    subprocess.run(
        ["mksquashfs", str(root), str(broken / "rootfs.squashfs"), "-quiet", "-no-progress", "-comp", "zstd"],
        check=True,
    )
    make_bundle(broken, keys, served[0] / "bad.raucb")
    started(box)
    box.run("mkdir -p /data/settings && echo EVENHAND_HEALTH_SECONDS=10 >/data/settings/box.env")
    fetch(box, served[1], "bad.raucb")
    box.run("rauc install /data/bad.raucb", INSTALL_S)
    assert restarted(box) == 3
    box.wait_for(r"slot b is left: restarting into slot a", START_S)
    assert box.wait_for_reset(RESET_S).partition == 2, what
    box.wait_for(PROMPT, START_S)
    assert "EVENHAND_HEALTH_SECONDS=10" in box.run("cat /data/settings/box.env")


def committed(box: QemuBox) -> int:
    content = read_file(box.disk, 1, "autoboot.txt", box.disk.parent).read_bytes()
    return chosen_partition(content, is_tryboot=False)[0]


def select_sectors(disk: Path) -> list[bytes]:
    """Return the sectors of the partition that the boot loader reads first."""
    at = partition_offset_bytes(disk, 1)
    with disk.open("rb") as file:
        file.seek(at)
        content = file.read(SELECT_BYTES)
    return [content[i : i + SECTOR_BYTES] for i in range(0, len(content), SECTOR_BYTES)]


def assert_every_torn_write_boots(box: QemuBox, before: list[bytes], after: list[bytes]) -> None:
    """Whatever sectors of the commit reached the card, the boot loader takes the old slot or the new one."""
    changed = [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert 1 <= len(changed) <= 8
    box.cut_power()
    at = partition_offset_bytes(box.disk, 1)
    found = set()
    for subset in chain.from_iterable(combinations(changed, n) for n in range(len(changed) + 1)):
        with box.disk.open("r+b") as file:
            for n in changed:
                file.seek(at + n * SECTOR_BYTES)
                file.write(after[n] if n in subset else before[n])
        try:
            found.add(committed(box))
        except RomError as error:
            pytest.fail(f"sectors {subset} of {changed} alone do not boot: {error}")
    assert found == {2, 3}
