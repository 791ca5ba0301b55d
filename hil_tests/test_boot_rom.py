"""The boot ROM of emulated boxes reads what a box writes: which slot, and once the other one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil_tests.drivers.boot_rom import RomError, chosen_partition, take_tryboot

AUTOBOOT = b"# comment\n[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"


def test_committed_slot_is_taken_without_a_try_and_the_other_with_one() -> None:
    assert chosen_partition(AUTOBOOT, is_tryboot=False) == (2, False)
    assert chosen_partition(AUTOBOOT, is_tryboot=True) == (3, True)


def test_try_is_for_whole_partitions_only_where_the_file_says_so() -> None:
    assert chosen_partition(AUTOBOOT.replace(b"tryboot_a_b=1\n", b""), is_tryboot=True) == (2, False)


def test_no_more_than_a_sector_of_the_file_is_read() -> None:
    late = AUTOBOOT + b"\n" * (512 - len(AUTOBOOT)) + b"[all]\nboot_partition=9\n"
    assert chosen_partition(late, is_tryboot=False) == (2, False)


@pytest.mark.parametrize("content", [b"", b"[all]\n", b"boot_partition=two\n", b"\0" * 512])
def test_file_that_names_no_partition_does_not_boot(content: bytes) -> None:
    with pytest.raises(RomError, match=r"autoboot\.txt"):
        chosen_partition(content, is_tryboot=False)


def test_try_is_forgotten_once_it_was_taken(tmp_path: Path) -> None:
    nvram = tmp_path / "nvram"
    nvram.write_bytes(b"0 tryboot\n".ljust(512, b"\0"))
    assert [take_tryboot(nvram), take_tryboot(nvram)] == [True, False]
    assert nvram.read_bytes() == bytes(512)


def test_box_that_never_had_power_has_asked_for_nothing(tmp_path: Path) -> None:
    assert take_tryboot(tmp_path / "nvram") is False
