"""The partition table of a box: it is read back as written, grows to the end of any disk, and outlives power cuts."""

from __future__ import annotations

from itertools import chain, combinations, pairwise
from pathlib import Path

import pytest

from board_configs.board import load_board
from firmware.errors import EvenhandError
from firmware.image.layout import BOOT, DATA, ROOT, SELECT, partition_id, table_of
from firmware.system.data_partition import grow, tell_kernel
from firmware.system.partition_table import (
    ALIGN_SECTORS,
    EXTENDED,
    LINUX,
    SECTOR_BYTES,
    Partition,
    Table,
    TableError,
    read_table,
)

BOARD = load_board("qemu_arm64")


def write(path: Path, table: Table, n_sectors: int) -> Path:
    with path.open("wb") as file:
        file.truncate(n_sectors * SECTOR_BYTES)
        for number, content in table.sectors().items():
            file.seek(number * SECTOR_BYTES)
            file.write(content)
    return path


def first_sector(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SECTOR_BYTES)


def read(path: Path) -> Table:
    content = path.open("rb")
    n_sectors = path.stat().st_size // SECTOR_BYTES

    class Sectors:
        def __getitem__(self, number: int) -> bytes:
            content.seek(number * SECTOR_BYTES)
            return content.read(SECTOR_BYTES)

    with content:
        return read_table(Sectors(), n_sectors)


def test_partitions_of_an_image_do_not_overlap_and_begin_at_whole_mebibytes() -> None:
    table = table_of(BOARD)
    flat = [p for p in table.partitions if p.kind != EXTENDED]
    assert [p.number for p in flat] == [SELECT, *BOOT, *ROOT, DATA]
    assert all(p.start % ALIGN_SECTORS == 0 and p.n_sectors % ALIGN_SECTORS == 0 for p in flat)
    assert all(before.end <= after.start for before, after in pairwise(flat))
    extended = table.find(4)
    for number in (*ROOT, DATA):
        assert extended.start < table.find(number).start - ALIGN_SECTORS + 1
        assert table.find(number).end <= extended.end


def test_both_slots_have_the_same_size() -> None:
    table = table_of(BOARD)
    for pair in (BOOT, ROOT):
        assert table.find(pair[0]).n_sectors == table.find(pair[1]).n_sectors


def test_table_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    table = table_of(BOARD)
    assert read(write(tmp_path / "disk", table, table.partitions[-1].end)) == table


def test_partition_is_named_as_the_kernel_names_it() -> None:
    assert partition_id(BOARD, DATA) == f"{table_of(BOARD).disk_id:08x}-07"


@pytest.mark.parametrize("more", [1, ALIGN_SECTORS - 1, ALIGN_SECTORS, 5_000_000])
def test_data_grows_to_the_last_whole_mebibyte_of_the_disk_and_nothing_else_moves(tmp_path: Path, more: int) -> None:
    table = table_of(BOARD)
    end = table.partitions[-1].end
    path = write(tmp_path / "disk", table, end + more)
    said = grow(path)
    grown = read(path)
    assert said == (grown.partitions[-1] if more >= ALIGN_SECTORS else None)
    assert grown.partitions[-1].end == (end + more) // ALIGN_SECTORS * ALIGN_SECTORS
    assert grown.disk_id == table.disk_id
    for before, after in zip(table.partitions, grown.partitions, strict=True):
        assert (before.start, before.number) == (after.start, after.number)
        if before.number not in (4, DATA):
            assert before == after
    assert grow(path) is None


def test_kernel_is_told_of_the_grown_partition_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = Partition(number=7, kind=LINUX, start=2_000_000, n_sectors=1_234_944)
    program, said = tmp_path / "resizepart", tmp_path / "said"
    program.write_text(f'#!/bin/sh\necho "$@" >>{said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tell_kernel(Path("/dev/mmcblk0"), partition)
    assert said.read_text() == "/dev/mmcblk0 7 1234944\n"
    program.write_text("#!/bin/sh\necho 'failed to resize partition #7: Device or resource busy' >&2\nexit 1\n")
    with pytest.raises(EvenhandError, match=r"/dev/mmcblk0: the kernel keeps the old table .*busy.*restart"):
        tell_kernel(Path("/dev/mmcblk0"), partition)


def test_power_cut_while_growing_leaves_a_table_that_the_next_start_finishes(tmp_path: Path) -> None:
    table = table_of(BOARD)
    n_sectors = table.partitions[-1].end + 1_000_000
    old, new = table.sectors(), table.grown(n_sectors).sectors()
    changed = [number for number in new if new[number] != old[number]]
    assert len(changed) == 3
    # Sectors are written whole and in order: after a cut none, the first, two, or all of them are new.
    for done in (changed[:n] for n in range(4)):
        path = write(tmp_path / "disk", table, n_sectors)
        with path.open("r+b") as file:
            for number in done:
                file.seek(number * SECTOR_BYTES)
                file.write(new[number])
        slots = [read(path).find(number) for number in (SELECT, *BOOT, *ROOT)]
        assert slots == [table.find(number) for number in (SELECT, *BOOT, *ROOT)]
        grow(path)
        assert read(path) == table.grown(n_sectors)


def test_disk_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SECTOR_BYTES * 100))
    with pytest.raises(EvenhandError, match="no partition table"):
        grow(path)
    table = table_of(BOARD)
    write(path, table, table.partitions[-1].end + 10 * ALIGN_SECTORS)
    with path.open("r+b") as file:  # a flag that we never set: somebody else's table
        file.seek(446)
        file.write(b"\x80")
    before = first_sector(path)
    with pytest.raises(EvenhandError, match="not made by us"):
        grow(path)
    assert first_sector(path) == before


def test_chain_of_partitions_that_leads_in_a_circle_is_refused() -> None:
    table = table_of(BOARD)
    sectors = dict(table.sectors())
    extended = table.find(4).start
    link = bytearray(sectors[extended])
    link[446 + 16 + 8 : 446 + 16 + 12] = bytes(4)  # the next one is this one
    sectors[extended] = bytes(link)
    with pytest.raises(TableError, match="leads nowhere"):
        read_table(sectors, table.partitions[-1].end)


def test_any_subset_of_a_table_in_the_making_is_a_table_or_refused() -> None:
    table = table_of(BOARD)
    sectors = table.sectors()
    subsets = chain.from_iterable(combinations(sectors, n) for n in range(len(sectors) + 1))
    for subset in subsets:
        partial = {n: sectors[n] if n in subset else bytes(SECTOR_BYTES) for n in sectors}
        if set(subset) == set(sectors):
            assert read_table(partial, table.partitions[-1].end) == table
            continue
        with pytest.raises(TableError):
            read_table(partial, table.partitions[-1].end)
