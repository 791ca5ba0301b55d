"""The image of a box: what is made from data is right and the same each time; what cannot be is refused in a line."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from board_configs.board import load_board
from firmware.errors import EvenhandError
from firmware.image import bundle, cpio, disk, grub, kernel, recipe, rootfs, sbom, setup, tools, tree, wheels
from firmware.image.archive import FOLDER, Item, lay_over, link, merged_name, read_folder, text
from firmware.image.layout import table_of
from firmware.image.platform import find_platform
from firmware.image.target import AMD64, ARM64, Target
from firmware.system import grub_env
from firmware.system.partition_table import ESP, FAT

BOARD = load_board("qemu_arm64")
RELEASE = tree.Release(version="1.2.3", board="qemu_arm64", is_development=False)
PC = find_platform(load_board("pc_rig")).for_board(load_board("pc_rig"))
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


# ------------------------------------------------------------------------------------------------------- first root


def test_first_root_is_what_cpio_reads(tmp_path: Path) -> None:
    entries = {"init": cpio.Entry.file(b"#!/bin/sh\n", is_program=True), "bin/sh": cpio.Entry.link("busybox"),
               "etc/a/b": cpio.Entry.file(b"x" * 1001)}  # fmt: skip
    content = cpio.archive(entries, 1_764_115_200)
    assert content == cpio.archive(dict(reversed(entries.items())), 1_764_115_200)
    assert len(content) % 512 == 0
    names = []
    at = 0
    while True:  # read by the format's own description
        assert content[at : at + 6] == b"070701"
        fields = [int(content[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = content[at + 110 : at + 110 + fields[11] - 1].decode()
        body = at + (110 + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            break
        names.append((name, fields[1], content[body : body + fields[6]]))
        at = body + (fields[6] + 3) // 4 * 4
    assert names == [
        ("bin", 0o40755, b""), ("bin/sh", 0o120777, b"busybox"), ("etc", 0o40755, b""), ("etc/a", 0o40755, b""),
        ("etc/a/b", 0o100644, b"x" * 1001), ("init", 0o100755, b"#!/bin/sh\n"),
    ]  # fmt: skip


def test_first_program_of_a_box_is_shell_without_errors() -> None:
    assert subprocess.run(["sh", "-n", str(kernel.INIT)], capture_output=True).stderr == b""


def test_modules_come_with_all_they_need_and_are_loaded_after_it() -> None:
    needs = kernel.read_needs("a/x.ko: a/y.ko b/z.ko\na/y.ko: b/z.ko\nb/z.ko:\nb/other-one.ko:\n")
    assert kernel.closure(needs, ["a/x.ko"]) == ["a/x.ko", "a/y.ko", "b/z.ko"]
    assert kernel.closure(needs, ["b/*"]) == ["b/other-one.ko", "b/z.ko"]
    assert kernel.load_order(needs, ["x", "other_one"]) == ["b/z.ko", "a/y.ko", "a/x.ko", "b/other-one.ko"]
    with pytest.raises(EvenhandError, match=r"the kernel has no a/w\.ko"):
        kernel.closure(needs, ["a/w.ko"])


def test_module_that_the_kernel_has_built_in_is_not_loaded() -> None:
    assert kernel.load_order({}, ["virtio_pci"]) == []


# ------------------------------------------------------------------------------------------------------- the root


def test_packages_of_before_the_merge_go_where_the_links_lead() -> None:
    assert merged_name("./lib/systemd/system/rauc.service") == "usr/lib/systemd/system/rauc.service"
    assert merged_name("./sbin/init") == "usr/sbin/init"
    assert merged_name("./usr/bin/python3") == "usr/bin/python3"
    assert merged_name("./library") == "library"


def test_link_never_becomes_a_folder() -> None:
    files = {"lib": link("usr/lib")}
    with pytest.raises(EvenhandError, match="/lib: is a file in one part"):
        lay_over(files, iter([("lib", FOLDER)]))


def test_folder_keeps_the_rights_it_came_with() -> None:
    files = {"root": Item(mode=0o700)}
    lay_over(files, iter([("root", FOLDER), ("root/.profile", text("x"))]))
    assert files["root"].mode == 0o700


def base_files() -> dict[str, Item]:
    return {
        "usr/share/base-passwd/passwd.master": text(
            "root:*:0:0:root:/root:/bin/bash\nman:*:6:12:man::/usr/sbin/nologin\n"
        ),
        "usr/share/base-passwd/group.master": text("root:*:0:\naudio:*:29:\n"),
        "usr/lib/sysusers.d/a.conf": text(
            '# comment\ng systemd-journal -\nu systemd-network - "Network Management"\n'
            "u fixed 77 - /srv\nm fixed audio\nu root 0 - /root\n"
        ),
    }  # fmt: skip


def test_users_are_those_that_packages_ask_for_and_the_mixer_has_a_number_for_ever() -> None:
    made = {name: item.content.decode() for name, item in setup.users(base_files()) if item.content is not None}
    accounts = {line.split(":")[0]: line.split(":") for line in made["etc/passwd"].splitlines()}
    groups = {line.split(":")[0]: line.split(":") for line in made["etc/group"].splitlines()}
    assert accounts["root"][1:4] == ["x", "0", "0"]
    assert accounts["evenhand"][2:4] == ["900", "900"]
    assert accounts["evenhand-agent"][2:4] == ["901", "901"]
    assert "var/lib/evenhand-agent" in dict(setup.users(base_files()))
    assert accounts["fixed"][2] == groups["fixed"][2] == "77"
    assert accounts["fixed"][5] == "/srv"
    assert groups["audio"][3] == "fixed"
    assert 100 < int(accounts["systemd-network"][2]) < 1000
    assert len({line[2] for line in accounts.values()}) == len(accounts)
    assert all(line.split(":")[1] == "*" for line in made["etc/shadow"].splitlines())  # nobody has a password


def test_shadow_is_for_root_only() -> None:
    made = dict(setup.users(base_files()))
    assert {made[name].mode for name in ("etc/shadow", "etc/gshadow")} == {0o640}


def test_bytecode_is_the_same_each_time_and_is_python_that_runs() -> None:
    files = {"opt/evenhand/a.py": text("VALUE = {1, 2, 'x'}\n"), "opt/evenhand/bad.py": text("def\n"),
             "etc/b.py": text("1\n")}  # fmt: skip
    made = dict(setup.bytecode(files, ("opt/evenhand/",)))
    assert list(made) == ["opt/evenhand/__pycache__/a.cpython-311.pyc"]
    assert made == dict(setup.bytecode(files, ("opt/evenhand/",)))


def test_bytecode_does_not_depend_on_what_the_builder_has_in_memory() -> None:
    files = {"opt/evenhand/a.py": text("MARK = '\\x0e'\n")}  # Python has each single character once
    before = dict(setup.bytecode(files, ("opt/evenhand/",)))
    sys.intern(chr(14))
    assert dict(setup.bytecode(files, ("opt/evenhand/",))) == before


def test_programs_of_a_box_are_there_and_tests_and_sources_are_not(tmp_path: Path) -> None:
    rootfs.copy_programs(rootfs_root(), tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert {"firmware/engine_process.py", "board_configs/qemu_arm64.toml", "dsp_kernels/contract/layout.py",
            "firmware/inference/pretrained/evenhand.bundle", "firmware/system/boot_backend.py"} <= names  # fmt: skip
    assert not [name for name in names if "/tests" in name or name.endswith((".c", ".so")) or "/image" in name]
    modules = "firmware.__main__, firmware.control_process, firmware.inference.trial, firmware.system.boot_backend"
    modules += ", firmware.update.agent, firmware.update.seed_network"
    (tmp_path / "look.py").write_text(
        f"import {modules}, dsp_kernels, os\nprint(os.path.dirname(dsp_kernels.__file__))\n"
    )
    done = subprocess.run([sys.executable, "look.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "dsp_kernels")


def rootfs_root() -> Path:
    return Path(__file__).parents[2]


def test_files_of_the_box_are_filled_in_and_its_units_know_their_devices(tmp_path: Path) -> None:
    keyring = tmp_path / "ca.pem"
    keyring.write_text(CERTIFICATE)
    root = tmp_path / "tree"
    tree.write_system(root, BOARD, RELEASE, keyring)
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            template = ("evenhand-again@", "evenhand-serial@", "serial-getty@")
            assert "@" not in path.name or path.name.startswith(template)
            assert not [word for word in tree.words_of(BOARD, RELEASE) if f"@{word}@" in path.read_text()], path
    conf = (root / "etc/rauc/system.conf").read_text()
    assert "compatible=evenhand-qemu_arm64\n" in conf
    assert "bundle-formats=verity\n" in conf
    fstab = (root / "etc/fstab").read_text()
    assert tree.device(BOARD, 7) in fstab
    assert tree.unit_of(tree.device(BOARD, 7)) == r"dev-disk-by\x2dpartuuid-190f0b35\x2d07.device"
    assert "EVENHAND_BOARD=qemu_arm64\n" in (root / "etc/evenhand/box.env").read_text()
    for place in (root / "etc/systemd/system").glob("*.wants/*"):
        target = str(place.readlink())
        assert (root / target[1:]).exists() or target.startswith("/usr/lib/systemd/system/systemd-")
    assert json.loads((root / "usr/lib/evenhand/release.json").read_text())["version"] == "1.2.3"
    project = tomllib.loads((root / "opt/evenhand/pyproject.toml").read_text())
    assert project["project"]["version"] == "1.2.3"  # what the agent says it is


def test_agent_of_the_box_is_enabled_keeps_its_own_and_is_alone_with_root_at_rauc(tmp_path: Path) -> None:
    keyring = tmp_path / "ca.pem"
    keyring.write_text(CERTIFICATE)
    root = tmp_path / "tree"
    tree.write_system(root, BOARD, RELEASE, keyring)
    wanted = {path.name for path in (root / "etc/systemd/system/multi-user.target.wants").iterdir()}
    assert {"evenhand-agent.service", "evenhand-restart.path", "evenhand-seed.service"} <= wanted
    assert "/data/evenhand-agent /var/lib/evenhand-agent none bind" in (root / "etc/fstab").read_text()
    policy = (root / "etc/dbus-1/system.d/evenhand-rauc.conf").read_text()
    assert '<policy user="evenhand-agent">' in policy
    assert '<deny send_destination="de.pengutronix.rauc"/>' in policy


def test_dumps_of_a_box_lie_on_its_data_partition_for_root_and_the_agent_alone(tmp_path: Path) -> None:
    keyring = tmp_path / "ca.pem"
    keyring.write_text(CERTIFICATE)
    root = tmp_path / "tree"
    tree.write_system(root, BOARD, RELEASE, keyring)
    assert "/data/coredump /var/lib/systemd/coredump none bind" in (root / "etc/fstab").read_text()
    assert (root / "var/lib/systemd/coredump").is_dir()
    folders = (root / "etc/systemd/system/evenhand-folders.service").read_text()
    assert "install -d -m 0750 -o root -g evenhand-agent /data/coredump" in folders
    service = (root / "etc/systemd/system/systemd-coredump@.service.d/evenhand.conf").read_text()
    assert "Group=evenhand-agent\nStateDirectoryMode=0750\n" in service  # whom its files are of
    limits = (root / "etc/systemd/coredump.conf.d/evenhand.conf").read_text()
    assert "ExternalSizeMax=256M\nMaxUse=256M\n" in limits
    assert "LimitCORE=1\n" in (root / "etc/systemd/system/evenhand-engine.service").read_text()


def test_seed_is_the_block_that_a_laptop_looks_for_and_says_nothing(tmp_path: Path) -> None:
    laptop = (rootfs_root() / "host_tools/seeding.py").read_text()
    assert f"MARK = {disk.SEED_MARK!r}".replace("'", '"') in laptop
    assert f"BLOCK_BYTES = {disk.SEED_BYTES}\n" in laptop
    block = disk.seed_block()
    assert len(block) == disk.SEED_BYTES
    assert tomllib.loads(block.decode()) == {}
    if shutil.which("mkfs.vfat") is None or shutil.which("mcopy") is None:
        pytest.skip("needs mkfs.vfat and mcopy, to make the partition")
    disk.write_select(tmp_path / "select.vfat", 0)
    content = (tmp_path / "select.vfat").read_bytes()
    assert content.count(block) == 1  # in one piece, so that it can be overwritten in place
    assert content.index(block) % 512 == 0


def test_periods_are_watched_as_long_as_the_board_says(tmp_path: Path) -> None:
    keyring = tmp_path / "ca.pem"
    keyring.write_text(CERTIFICATE)
    tree.write_system(tmp_path / "tree", BOARD, RELEASE, keyring)
    unit = (tmp_path / "tree/etc/systemd/system/evenhand-health.service").read_text()
    assert "Environment=EVENHAND_HEALTH_SECONDS=10\n" in unit
    board = load_board("raspberry_pi_4")
    assert board.image is None or board.image.health_seconds == 60


def test_only_an_image_for_development_lets_anybody_in(tmp_path: Path) -> None:
    keyring = tmp_path / "ca.pem"
    keyring.write_text(CERTIFICATE)
    for is_development in (False, True):
        release = tree.Release(version="1", board="qemu_arm64", is_development=is_development)
        tree.write_system(tmp_path / str(is_development), BOARD, release, keyring)
        found = "--autologin" in "".join(
            path.read_text() for path in (tmp_path / str(is_development)).rglob("*") if path.is_file()
        )
        assert found is is_development


@pytest.mark.parametrize("content", ["", "hello", "-----BEGIN EC PRIVATE KEY-----\n" + CERTIFICATE])
def test_keyring_that_is_none_or_holds_a_key_is_refused(tmp_path: Path, content: str) -> None:
    keyring = tmp_path / "ca.pem"
    keyring.write_text(content)
    with pytest.raises(EvenhandError, match="evenhand keys"):
        tree.write_system(tmp_path / "tree", BOARD, RELEASE, keyring)


def test_scripts_of_the_box_are_shell_without_errors() -> None:
    scripts = [path for path in tree.FILES.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")]
    assert len(scripts) == 3
    for path in scripts:
        assert subprocess.run(["sh", "-n", str(path)], capture_output=True).stderr == b""


def test_archive_of_the_root_has_owner_time_and_order_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").write_text("x")
    (tmp_path / "a").symlink_to("b/file")
    files = dict(read_folder(tmp_path))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, item in files.items():
            tar.addfile(item.member(name, 99), io.BytesIO(item.content) if item.content is not None else None)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        found = [(m.name, m.uid, m.mtime, m.linkname) for m in tar]
    assert found == [("a", 0, 99, "b/file"), ("b", 0, 99, ""), ("b/file", 0, 99, "")]


# ----------------------------------------------------------------------------------------------- disk, bill, bundle


def test_command_line_restarts_after_a_panic_and_is_the_same_in_both_slots() -> None:
    line = disk.command_line(BOARD)
    assert "panic=3" in line.split()
    assert "console=ttyAMA0" in line.split()
    assert not [word for word in line.split() if word.startswith(("root=", "rauc.slot="))]


def test_pc_starts_from_its_first_partition_and_a_board_from_a_plain_one() -> None:
    assert table_of(PC).find(1).kind == ESP
    assert table_of(BOARD).find(1).kind == FAT


def test_slot_of_a_pc_tells_the_first_root_which_one_it_is() -> None:
    platform = find_platform(load_board("pc_rig"))
    files = disk.boot_files(PC, b"kernel", b"root", platform, {})
    assert set(files) == {"slot.cfg", "vmlinuz", "initramfs.zst"}
    start, first_root = files["slot.cfg"].decode().splitlines()
    assert start.split()[:2] == ["linux", "/vmlinuz"]
    assert {"console=tty0", "console=ttyS0", "panic=3", "evenhand.partition=$partition"} <= set(start.split())
    assert first_root == "initrd /initramfs.zst"


def test_first_partition_of_a_pc_has_grub_its_choice_and_the_seed_the_same_each_time(tmp_path: Path) -> None:
    if any(shutil.which(name, path=tools.PLACES) is None for name in ("mkfs.vfat", "mcopy", "mmd")):
        pytest.skip("needs mkfs.vfat, mcopy and mmd, to make the partition")
    for name in ("one", "two"):
        disk.write_select(tmp_path / name, 1_764_115_200, {grub.LOADER: b"MZ grub", "LICENCE.loader": b"GPL"})
    content = (tmp_path / "one").read_bytes()
    assert content == (tmp_path / "two").read_bytes()
    assert content.count(grub_env.env_bytes("a")) == 1  # in one sector, which GRUB and the box overwrite in place
    assert content.index(grub_env.env_bytes("a")) % 512 == 0
    assert content.count(disk.seed_block()) == 1
    listed = subprocess.run(["mdir", "-b", "-/", "-i", tmp_path / "one", "::"], capture_output=True, text=True).stdout
    assert {"::/EFI/BOOT/BOOTX64.EFI", "::/EFI/debian/grub.cfg", "::/EFI/debian/grubenv"} <= set(listed.split())
    assert "autoboot.txt" not in listed


def test_grub_clears_the_try_before_it_starts_anything() -> None:
    text = grub.config_text()
    cleared, started = text.index("save_env"), text.index("boot; fi")
    assert text.index("set trial=\n", text.index('set slot="$trial"')) < cleared < started
    if shutil.which("grub-script-check") is not None:
        assert subprocess.run(["grub-script-check"], input=text, text=True, capture_output=True).returncode == 0


def test_boot_partition_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match=r"BOOT: 40.0 MiB do not fit into 34 MiB; raise boot_mib"):
        disk.write_fat(tmp_path / "x", 34, "BOOT", {"k": bytes(40 * disk.MIB)}, 1_764_115_200)


def test_bill_of_materials_names_every_package_once_and_is_the_same_each_time() -> None:
    python = [wheels.Package(name="NumPy", version="1.26.4", license="BSD-3-Clause", sha256="0" * 64)]
    debian = {"libc6": "2.36-9+deb12u14", "e2fsprogs": "1.47.0-2+b2", "passwd": "1:4.13+dfsg1-1"}
    bill = sbom.bill(RELEASE, debian, python, 1_764_115_200)
    assert bill == sbom.bill(RELEASE, dict(reversed(debian.items())), python, 1_764_115_200)
    found = json.loads(bill)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    purls = [component["purl"] for component in found["components"]]
    assert "pkg:deb/debian/passwd@1%3A4.13%2Bdfsg1-1?arch=arm64&distro=debian-12" in purls
    assert "pkg:pypi/numpy@1.26.4" in purls
    assert len(purls) == len(set(purls)) == 4
    assert found["metadata"]["component"]["version"] == "1.2.3"
    assert found["serialNumber"] != json.loads(sbom.bill(RELEASE, {}, python, 1_764_115_200))["serialNumber"]


def test_manifest_takes_both_parts_of_a_slot_and_the_news_in_one_line() -> None:
    record = {"compatible": "evenhand-qemu_arm64", "version": "2", "files": {"root": {"sha256": "ab" * 32}}}
    lines = bundle.manifest(record, "## 2\n\n- a \\ b\n").splitlines()
    assert lines[0] == "[update]"
    assert r"description=## 2\n\n- a \\ b" in lines
    assert [line for line in lines if line.startswith("filename=")] == [
        "filename=rootfs.squashfs",
        "filename=boot.vfat",
    ]


def test_news_are_those_of_the_version_else_of_the_newest() -> None:
    changelog = "# Changelog\n\n## 0.3, unreleased\nc\n\n## 0.2\nb\n\n## 0.20\nd\n"
    assert bundle.news_of(changelog, "0.2") == "## 0.2\nb\n\n"
    assert bundle.news_of(changelog, "9") == "## 0.3, unreleased\nc\n\n"
    assert bundle.news_of("", "9") == ""


# --------------------------------------------------------------------------------------------- recipe, locks, tools


@pytest.mark.parametrize("target", [ARM64, AMD64], ids=lambda target: target.architecture)
def test_recipe_and_locks_agree(target: Target) -> None:
    told = recipe.read_recipe()
    debian = recipe.read_lock(recipe.debian_lock(target))
    assert set(told.packages) - set(told.left_out) <= set(debian)
    assert set(told.initramfs_packages) | set(told.header_packages) <= set(debian)
    assert [name for name in debian if name.startswith("linux-image-")]
    python = {name.split("==")[0] for name in wheels.read_digests(recipe.wheels_lock(target).read_text()).values()}
    for wanted in (*told.wheels, *told.sources):
        assert wanted.split("=")[0].split(">")[0] in python


WITHOUT_WHAT_IS_REMOVED = """
import importlib.machinery, io, sys
from pathlib import Path
from firmware.image.recipe import read_recipe
recipe, site = read_recipe(), Path(sys.argv[1])

class Removed(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = super().find_spec(name, path, target)
        place = Path(spec.origin) if spec and spec.origin else None
        if place and place.is_relative_to(site) and recipe.is_removed_of_wheel(str(place.relative_to(site))):
            raise ModuleNotFoundError(f"the image has no {name}", name=name)
        return spec

sys.meta_path.insert(0, Removed)
import ai_edge_litert.interpreter
from matplotlib.figure import Figure
from firmware.report.svg import drawing, to_svg
with drawing():
    figure = Figure()
    figure.add_subplot().set_title("$x^2$ dB")
    assert "<svg" in to_svg(figure, "a", "b")
try:
    import fontTools.ttLib
except ModuleNotFoundError:
    print("as on a box")
"""


def test_what_is_taken_out_of_python_packages_is_missed_by_nothing_that_runs_on_a_box() -> None:
    site = str(Path(np.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", WITHOUT_WHAT_IS_REMOVED, site], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("as on a box\n", 0), done.stderr[-500:]


def test_wheel_is_laid_out_without_what_the_recipe_removes(tmp_path: Path) -> None:
    head = "Metadata-Version: 2.1\nName: {}\nVersion: 1\nLicense: MIT\n"
    for name, files in (("sound", ("sound/a.py", "sound/big.so")), ("unused", ("unused/b.py",))):
        with zipfile.ZipFile(tmp_path / f"{name}-1-py3-none-any.whl", "w") as archive:
            for file in files:
                archive.writestr(file, "")
            archive.writestr(f"{name}-1.dist-info/METADATA", head.format(name))
    out = tmp_path / "out"
    removed = {"sound/big.so", "unused/b.py"}.__contains__
    packages = wheels.install(sorted(tmp_path.glob("*.whl")), out, removed)
    assert [package.name for package in packages] == ["sound"]
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "sound/a.py",
        "sound-1.dist-info/METADATA",
    }


def test_package_that_is_not_of_the_lock_is_refused() -> None:
    recipe.refuse_drift({"a": "1"}, {"a": "1", "other-kernel": "2"})
    with pytest.raises(EvenhandError, match=r"1 of 2 Debian packages differ from the lock: b 2 \(lock: 1\)"):
        recipe.refuse_drift({"a": "1", "b": "2"}, {"a": "1", "b": "1"})


@pytest.mark.parametrize("value", ["yesterday", "-1", "0", "1" * 20])
def test_time_that_cannot_be_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(EvenhandError, match="SOURCE_DATE_EPOCH"):
        recipe.read_recipe()


def test_program_that_is_missing_is_named_with_its_package() -> None:
    with pytest.raises(EvenhandError, match=r"needs no-such-tool, which this machine lacks"):
        tools.need("sh", "no-such-tool")


def test_program_that_fails_ends_in_its_own_last_words() -> None:
    with pytest.raises(EvenhandError, match=r"a step: sh failed with status 3 \(error: no room\)"):
        tools.call(["sh", "-c", "echo begun; echo 'error: no room' >&2; exit 3"], "a step")


def test_command_refuses_in_one_line(tmp_path: Path) -> None:
    for words, said in (
        (["build", "--board", "sim", "--keyring", "x"], "error: sim.toml: has no [image]"),
        (["build", "--board", "nobody", "--keyring", "x"], "error: no board"),
        (["bundle", "--image", str(tmp_path), "--keys", "x", "--out", str(tmp_path / "y")], "has no image"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "firmware.image", *words], cwd=rootfs_root(), capture_output=True, text=True
        )
        assert done.returncode == 1
        assert said in done.stderr
        assert len([line for line in done.stderr.splitlines() if "error:" in line]) == 1
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
