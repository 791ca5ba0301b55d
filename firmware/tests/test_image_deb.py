"""The Debian package: what is in it, that it starts nothing, and that it is the same bytes each time."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import pytest

from board_configs.board import load_board
from firmware.errors import EvenhandError
from firmware.image import deb, rootfs, tree, wheels
from firmware.image.archive import Item
from firmware.image.platform import PLATFORMS, find_platform, platform_names, read_platform
from firmware.image.target import AMD64, ARM64

EPOCH_S = 1_764_115_200
JOB = deb.DebJob(target=AMD64, board="sim", version="1.2.3", out=Path("/nonexistent"), cache=Path("/nonexistent"))
PYTHON_PACKAGES = [wheels.Package(name="h11", version="0.16.0", license="MIT", sha256="0" * 64)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    programs = tmp_path_factory.mktemp("tree")
    rootfs.copy_programs(Path(__file__).parents[2], programs / "opt/evenhand")
    return deb.package_files(JOB, programs, PYTHON_PACKAGES, EPOCH_S)


@pytest.fixture(scope="module")
def package(files: dict[str, Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deb") / "evenhand.deb"
    path.write_bytes(deb.deb_bytes(files, JOB, EPOCH_S))
    return path


def told(*words: str | Path) -> str:
    return subprocess.run(["dpkg-deb", *map(str, words)], capture_output=True, text=True, check=True).stdout


def test_package_is_what_dpkg_reads(package: Path) -> None:
    assert told("--field", package, "Package", "Version", "Architecture").splitlines() == [
        "Package: evenhand", "Version: 1.2.3", "Architecture: amd64",
    ]  # fmt: skip
    size = int(told("--field", package, "Installed-Size"))
    assert size > 1000, "kibibytes"
    listed = told("--contents", package)
    owners = {line.split()[1] for line in listed.splitlines()}
    assert owners == {"0/0"}
    for name in ("./opt/evenhand/firmware/engine_process.py", "./usr/bin/evenhand-box", "./etc/evenhand/box.env",
                 "./lib/systemd/system/evenhand-engine.service", "./usr/share/doc/evenhand/copyright"):  # fmt: skip
        assert re.search(rf" {re.escape(name)}$", listed, re.MULTILINE), name


def test_package_is_the_same_bytes_each_time(files: dict[str, Item], package: Path) -> None:
    assert deb.deb_bytes(dict(reversed(files.items())), JOB, EPOCH_S) == package.read_bytes()


def test_nobody_but_root_may_write_what_is_installed(files: dict[str, Item]) -> None:
    assert not [name for name, item in files.items() if item.link is None and item.mode & 0o022]


def test_settings_are_kept_through_an_update_and_nothing_else_is(package: Path) -> None:
    assert told("--ctrl-tarfile", package) is not None
    conffiles = subprocess.run(["dpkg-deb", "--info", str(package), "conffiles"], capture_output=True, text=True)
    assert conffiles.stdout == "/etc/evenhand/box.env\n"


def test_settings_name_the_board_that_was_asked_for(files: dict[str, Item]) -> None:
    assert b"\nEVENHAND_BOARD=sim\n" in (files["etc/evenhand/box.env"].content or b"")
    with pytest.raises(Exception, match="no board"):
        deb.make_deb(dataclasses.replace(JOB, board="nothing"), None)  # type: ignore[arg-type]


def test_every_unit_comes_with_the_package_and_none_is_enabled(files: dict[str, Item]) -> None:
    units = {path.name for path in tree.UNITS.iterdir() if path.suffix in (".service", ".target", ".path")}
    assert units == {name.rpartition("/")[2] for name in files if name.startswith("lib/systemd/system/evenhand")}
    assert not [name for name in files if ".wants/" in name]


def test_scripts_of_the_package_are_shell_and_start_nothing() -> None:
    for name in ("postinst", "prerm", "postrm"):
        text = (deb.SCRIPTS / name).read_text()
        assert subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True).stderr == ""
        code = re.sub(r"(?m)^\s*(#|echo ).*$", "", text)
        assert not re.search(r"systemctl\s+(--\S+\s+)*(start|restart|enable)", code), name


def test_licence_of_every_package_within_is_named(files: dict[str, Item]) -> None:
    text = (files["usr/share/doc/evenhand/copyright"].content or b"").decode()
    assert "Apache License 2.0" in text
    assert "h11 0.16.0: MIT" in text


# ------------------------------------------------------------------------------------------------ platforms, targets


@pytest.mark.parametrize("name", platform_names())
def test_platform_is_read_and_fits_a_board(name: str) -> None:
    board = load_board(name)
    platform = find_platform(board)
    image = platform.for_board(board).image
    assert image is not None
    assert platform.lacks, "a platform that no board has started says so"
    assert {"kernel", "initramfs"} & {line.split("=")[0] for line in platform.config} == set()


def test_board_without_an_image_and_platform_says_which_there_are() -> None:
    with pytest.raises(EvenhandError, match=r"sim\.toml: has no \[image\].*raspberry_pi_4, raspberry_pi_5"):
        find_platform(load_board("sim"))
    with pytest.raises(EvenhandError, match="no platform 'toaster'"):
        find_platform(load_board("sim"), "toaster")


@pytest.mark.parametrize(
    ("old", "new"), [("[kernel]", "[colonel]"), ("lacks = [", "lacks = ["), ("machine", "= machine")]
)
def test_platform_that_cannot_be_is_refused_in_a_line(old: str, new: str, tmp_path: Path) -> None:
    text = (PLATFORMS / "raspberry_pi_4.toml").read_text()
    path = tmp_path / "x.toml"
    path.write_text(text.replace(old, new, 1) if old != new else text.replace("tryboot = true\n", ""))
    with pytest.raises(EvenhandError, match=r"x\.toml: "):
        read_platform(path)


def test_target_has_one_name_for_everything() -> None:
    assert (ARM64.compiler, ARM64.tag) == ("aarch64-linux-gnu-gcc", "cpython-311-aarch64-linux-gnu")
    assert AMD64.wheel_platforms[0] == "manylinux_2_36_x86_64"


# ----------------------------------------------------------------------------------- a system that takes the package

STEPS = """\
set -e
mount --bind "$1" "$1"
mkdir -p "$1/proc" && mount -t proc proc "$1/proc"
cp "$2" "$1/root/evenhand.deb"
exec chroot "$1" /bin/sh -ec '
dpkg -i /root/evenhand.deb
evenhand-box --version
test -z "$(find /etc/systemd/system -name "evenhand*" -path "*.wants*")"
id -u evenhand
echo "EVENHAND_BOARD=raspberry_pi_4" >>/etc/evenhand/box.env
echo mine >/var/lib/evenhand/scenes/mine.toml
dpkg -i /root/evenhand.deb
cd / && evenhand-box check --board sim || test $? = 1
dpkg --verify evenhand | grep -v "^??5?????? c /etc/evenhand/box.env" && exit 9
dpkg --remove evenhand
test -s /var/lib/evenhand/scenes/mine.toml
grep -q raspberry_pi_4 /etc/evenhand/box.env
test ! -e /opt/evenhand
dpkg --purge evenhand
test ! -e /var/lib/evenhand && test ! -e /etc/evenhand
echo "all went well"
'
"""


@pytest.fixture
def system() -> tuple[Path, Path]:
    root, package = os.environ.get("EVENHAND_CHROOT"), os.environ.get("EVENHAND_DEB")
    if not root or not package:
        pytest.skip("name a Debian 12 with python3, libasound2 and systemd in EVENHAND_CHROOT, and EVENHAND_DEB")
    return Path(root), Path(package)


@pytest.mark.soak
def test_system_takes_the_package_uses_it_and_is_rid_of_it(system: tuple[Path, Path]) -> None:
    done = subprocess.run(["unshare", "-m", "sh", "-c", STEPS, "sh", *map(str, system)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all went well\n")
