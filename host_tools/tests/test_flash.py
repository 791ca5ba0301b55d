"""Flashing: what must not be overwritten is not, what was written is read back, and half a card never boots."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from host_tools.commands import flash
from host_tools.disks import Disk, look_at
from host_tools.errors import HostError
from host_tools.imaging import CHUNK_BYTES, Image, look_through, write
from host_tools.seeding import BLOCK_BYTES, MARK, Seed
from host_tools.tests.terminal import Laptop

SEED_AT = 3 * CHUNK_BYTES + 512 * 77
SIZE = 5 * CHUNK_BYTES + 512 * 3


def make_image(path: Path, *, has_seed: bool = True) -> Path:
    """Write an image with a boot record, noise, a hole of 8 MiB, and a place for the seed."""
    content = bytearray(SIZE)
    content[: CHUNK_BYTES // 2] = np.random.default_rng(3).bytes(CHUNK_BYTES // 2)
    content[510:512] = b"\x55\xaa"
    content[-5000:] = np.random.default_rng(4).bytes(5000)
    if has_seed:
        content[SEED_AT : SEED_AT + BLOCK_BYTES] = MARK + b"#" * (BLOCK_BYTES - len(MARK))
    path.write_bytes(content)
    return path


def read_image(path: Path) -> Image:
    return look_through(path, lambda _: None)


def card_file(path: Path, size_bytes: int = SIZE + 100_000) -> Path:
    """Write a card that is full of something else."""
    path.write_bytes(b"\xa5" * size_bytes)
    return path


def test_a_person_flashes_a_card_with_a_name_and_gets_its_pairing_code(laptop: Laptop, tmp_path: Path) -> None:
    image, card = make_image(tmp_path / "box.img"), card_file(tmp_path / "card")
    with laptop.at_terminal("flash", image, card, "--name", "foyer") as terminal:
        terminal.expect("overwrite all of")
        terminal.type("y")
        terminal.expect("read back, right; pairing code ")
        assert terminal.end() == 0
    code = terminal.text.partition("pairing code ")[2][:9]
    written = card.read_bytes()
    seed = tomllib.loads(written[SEED_AT : SEED_AT + BLOCK_BYTES].decode())
    assert seed == {"name": "foyer", "pairing_code": code}
    expected = bytearray(image.read_bytes())
    expected[SEED_AT : SEED_AT + BLOCK_BYTES] = Seed(name="foyer", pairing_code=code).block()
    assert written[:SIZE] == bytes(expected), "a hole kept what was there before"
    assert written[SIZE:] == b"\xa5" * 100_000


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_a_packed_image_is_the_same_image(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    raw = make_image(tmp_path / "box.img").read_bytes()
    packed, card = tmp_path / "box.img.packed", card_file(tmp_path / "card")
    packed.write_bytes(pack(raw))
    write(read_image(packed), look_at(card), None, lambda *_: None)
    assert card.read_bytes()[:SIZE] == raw
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(HostError, match="is damaged"):
        read_image(packed)


def test_nothing_is_written_without_a_yes_or_where_it_does_not_fit(laptop: Laptop, tmp_path: Path) -> None:
    image, card = make_image(tmp_path / "box.img"), card_file(tmp_path / "card")
    small = card_file(tmp_path / "small", SIZE - 512)
    (tmp_path / "text").write_text("no image")
    make_image(tmp_path / "other.img", has_seed=False)
    for words, said in {
        (image, card): "say --yes",
        (image, small, "--yes"): "the image needs",
        ("text", card, "--yes"): "is no image of a disk",
        ("absent.img", card, "--yes"): "No such file",
        (image, "absent", "--yes"): "No such file",
        (image, "/dev/null", "--yes"): "is neither a disk nor a file",
        ("other.img", card, "--yes", "--name", "x"): "has no place for --name",
        (image, card, "--yes", "--name", "-x-"): "letters, digits and dashes",
        (image, card, "--yes", "--address", "10.0.0.5"): "with the length of its prefix, as 10.0.0.5/24",
        (image, card, "--yes", "--gateway", "10.0.0.1"): "goes with --address",
    }.items():
        done = laptop.run("flash", *words)
        assert done.status == 1, words
        assert said in done.err, done.err
        assert done.err.count("error: ") == 1
    assert card.read_bytes() == b"\xa5" * card.stat().st_size
    assert small.read_bytes() == b"\xa5" * small.stat().st_size


def test_a_card_that_is_full_before_its_end_is_told_and_does_not_boot(tmp_path: Path, small_disk: Path) -> None:
    image = read_image(make_image(tmp_path / "box.img"))
    card = small_disk / "card"
    with card.open("wb") as file:
        file.truncate(SIZE)  # it says that it has room, as a forged card does
    with pytest.raises(HostError, match=r"No space left on device at \d+ MiB; take another one, this does not boot"):
        write(image, look_at(card), None, lambda *_: None)
    with card.open("rb") as file:
        assert file.read(512) == bytes(512), "half a card looks like a good one"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a disk that is smaller than the image."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={2 * CHUNK_BYTES}", "tmpfs", folder], capture_output=True
    )
    if done.returncode:
        pytest.skip("only root may mount a disk that is too small")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_an_interrupted_card_does_not_boot_and_the_same_command_makes_it_good(tmp_path: Path) -> None:
    image, card = read_image(make_image(tmp_path / "box.img")), card_file(tmp_path / "card")

    def interrupt(at: float, step: str) -> None:
        if at >= 2 * CHUNK_BYTES and not step:
            raise KeyboardInterrupt

    with pytest.raises(HostError, match=r"stopped by hand at \d+ MiB; it does not boot now"):
        write(image, look_at(card), None, interrupt)
    assert card.read_bytes()[:512] == bytes(512)
    write(image, look_at(card), None, lambda *_: None)
    assert card.read_bytes()[:SIZE] == (tmp_path / "box.img").read_bytes()


def test_a_card_that_gives_back_something_else_is_told_and_does_not_boot(tmp_path: Path) -> None:
    image, card = read_image(make_image(tmp_path / "box.img")), card_file(tmp_path / "card")
    has_rotted = False

    def rot(at: float, step: str) -> None:
        nonlocal has_rotted
        if step and not has_rotted:
            with card.open("r+b") as file:
                file.seek(4 * CHUNK_BYTES + 17)
                file.write(b"\1")
            has_rotted = True

    with pytest.raises(HostError, match="gives back something else at 16 MiB, reading it back"):
        write(image, look_at(card), None, rot)
    assert card.read_bytes()[:512] == bytes(512)


# ------------------------------------------------------------------------------------------------- whose disk it is


def fake_machine(root: Path) -> None:
    """Write what the kernel says of a machine with a system disk, LVM upon it, and a card."""
    for name, number, parent in (
        ("sda", "8:0", ""), ("sda1", "8:1", "sda"), ("sda2", "8:2", "sda"), ("sdb", "8:16", ""),
        ("sdb1", "8:17", "sdb"), ("dm-0", "254:0", ""),
    ):  # fmt: skip
        folder = root / "sys/devices" / parent / name
        (folder / "holders").mkdir(parents=True)
        (folder / "dev").write_text(number)
        (folder / "size").write_text("200000")
        (folder / "removable").write_text("1" if name == "sdb" else "0")
        if parent:
            (folder / "partition").write_text("1")
        link = root / "sys/dev/block" / number
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
    (root / "sys/devices/sda/sda2/holders/dm-0").symlink_to(root / "sys/devices/dm-0")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(
        "1 0 254:0 / / rw - ext4 x rw\n2 1 8:17 / /media/my\\040card rw - vfat x\n"
    )
    (root / "proc/swaps").write_text("Filename Type\n/dev/sda1 partition 1 0 -2\n")


def test_who_uses_a_disk_is_found_through_partitions_lvm_and_swap(tmp_path: Path) -> None:
    from host_tools.disks import _users

    fake_machine(tmp_path)
    system = _users(tmp_path / "sys/devices/sda", tmp_path)
    assert {"dm-0 is mounted at /", "sda1 is swap"} <= set(system)
    assert "sdb1 is mounted at /media/my card" in _users(tmp_path / "sys/devices/sdb", tmp_path)
    (tmp_path / "proc/self/mountinfo").write_text("")
    assert _users(tmp_path / "sys/devices/sdb", tmp_path) == []


def test_a_disk_in_use_and_one_that_cannot_be_taken_out_are_refused() -> None:
    used = Disk(path=Path("/dev/sda"), size_bytes=1, is_file=False, users=("sda1 is mounted at /",))
    with pytest.raises(HostError, match="is in use: sda1 is mounted at /; unmount it first"):
        flash._refuse(used, is_fixed_meant=True)
    fixed = Disk(path=Path("/dev/sda"), size_bytes=1, is_file=False, is_removable=False, title="ACME")
    with pytest.raises(HostError, match=r"cannot be taken out of this machine \(ACME\)"):
        flash._refuse(fixed, is_fixed_meant=False)
    flash._refuse(fixed, is_fixed_meant=True)


@contextmanager
def block_device(file: Path) -> Iterator[Path]:
    """Yield a loop device over a file, a real block device of the kernel's."""
    done = subprocess.run(["losetup", "--show", "-f", file], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device here: {done.stderr.strip()}")
    try:
        yield Path(done.stdout.strip())
    finally:
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """Yield a block device with room for the image."""
    with block_device(card_file(tmp_path / "loop", SIZE + 512 * 100)) as device:
        yield device


def test_a_real_block_device_is_written_and_a_mounted_one_is_not(laptop: Laptop, tmp_path: Path, loop: Path) -> None:
    image = make_image(tmp_path / "box.img")
    done = laptop.run("flash", image, loop, "--yes", "--fixed-disk", "--code", "ABCD-1234", "--json")
    assert done.status == 0, done
    assert json.loads(done.out)["pairing_code"] == "ABCD-1234"
    expected = bytearray(image.read_bytes())
    expected[SEED_AT : SEED_AT + BLOCK_BYTES] = Seed(pairing_code="ABCD-1234").block()
    with loop.open("rb") as device:
        assert device.read(SIZE) == bytes(expected)
    subprocess.run(["mke2fs", "-q", loop], check=True)
    folder = tmp_path / "mounted"
    folder.mkdir()
    subprocess.run(["mount", loop, folder], check=True)
    try:
        done = laptop.run("flash", image, loop, "--yes", "--fixed-disk")
        assert done.status == 1
        assert f"{loop.name} is mounted at {folder}; unmount it first" in done.err
    finally:
        subprocess.run(["umount", folder], check=True)


def begins_with_zeros(device: Path) -> bool:
    with device.open("rb") as disk:
        return disk.read(512) == bytes(512)


def test_a_block_device_that_fails_half_way_is_told_and_does_not_boot(
    laptop: Laptop, tmp_path: Path, small_disk: Path
) -> None:
    image, card = make_image(tmp_path / "box.img"), small_disk / "card"
    with card.open("wb") as file:
        file.truncate(SIZE)  # says that it has room; from 8 MiB on the kernel hears of an error
    with block_device(card) as device:
        done = laptop.run("flash", image, device, "--yes", "--fixed-disk")
        assert (done.status, done.err.count("error: ")) == (1, 1), done
        assert "Input/output error at" in done.err or "No space left on device at" in done.err, done
        assert "take another one, this does not boot now" in done.err
        assert begins_with_zeros(device)


def test_a_block_device_that_is_shorter_than_it_said_is_told_and_does_not_boot(tmp_path: Path) -> None:
    image, card = read_image(make_image(tmp_path / "box.img")), card_file(tmp_path / "loop", SIZE + 512 * 100)
    with block_device(card) as device:

        def shrink(at: float, step: str) -> None:
            if at >= 2 * CHUNK_BYTES and not step and card.stat().st_size > 3 * CHUNK_BYTES:
                with card.open("r+b") as file:
                    file.truncate(3 * CHUNK_BYTES)
                subprocess.run(["losetup", "--set-capacity", device], check=True)

        with pytest.raises(HostError, match=r"at \d+ MiB; take another one, this does not boot now"):
            write(image, look_at(device), None, shrink)
        assert begins_with_zeros(device)


def test_a_block_device_that_gives_back_something_else_is_told_and_does_not_boot(tmp_path: Path) -> None:
    image, card = read_image(make_image(tmp_path / "box.img")), card_file(tmp_path / "loop", SIZE + 512 * 100)
    with block_device(card) as device:
        has_rotted = False

        def rot(_: float, step: str) -> None:
            nonlocal has_rotted
            if step and not has_rotted:
                with card.open("r+b") as file:
                    file.seek(4 * CHUNK_BYTES + 4096 * 7)
                    file.write(b"\1")
                has_rotted = True

        with pytest.raises(HostError, match="gives back something else at 16 MiB, reading it back"):
            write(image, look_at(device), None, rot)
        assert begins_with_zeros(device)


def test_the_disk_that_this_machine_runs_from_is_refused(laptop: Laptop, tmp_path: Path) -> None:
    found = subprocess.run(["findmnt", "-no", "SOURCE", "/"], capture_output=True, text=True).stdout.strip()
    system = Path(found)
    if not system.is_block_device():
        pytest.skip(f"the root of this machine lies on {found or 'nothing that it names'}")
    done = laptop.run("flash", make_image(tmp_path / "box.img"), system, "--yes", "--fixed-disk")
    assert done.status == 1
    assert "is mounted at /" in done.err or "is a partition, not a disk" in done.err


def test_a_partition_is_no_disk(tmp_path: Path) -> None:
    found = next((p for p in Path("/sys/class/block").glob("*") if (p / "partition").exists()), None)
    if found is None:
        pytest.skip("this machine has no partition")
    with pytest.raises(HostError, match="is a partition, not a disk"):
        look_at(Path("/dev") / found.name)
