"""What is read of a compiled resource of Qt: what was put in, and one line where it is none or damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from model_compression.data import qt_resources
from model_compression.data.ingredients import MissingIngredient
from model_compression.data.qt_resources import IS_COMPRESSED, IS_FOLDER

VIOLIN, CELLO = b"a violin" * 40, b"a cello" * 40


def resource(path: Path, *, version: int = 1, n_in_folder: int = 2, zipped: bytes | None = None) -> Path:
    """Write a folder of two files, the second compressed, as ``rcc --format-version`` lays them out."""
    names, places = b"", {}
    for name in ("sounds", "violin.ogg", "cello.ogg"):
        places[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    zipped = struct.pack(">I", len(CELLO)) + zlib.compress(CELLO) if zipped is None else zipped
    data = struct.pack(">I", len(VIOLIN)) + VIOLIN
    cello_at = len(data)
    data += struct.pack(">I", len(zipped)) + zipped
    later = b"" if version == 1 else bytes(8)  # when it was changed
    nodes = (
        struct.pack(">IHII", 0, IS_FOLDER, 1, 1),
        struct.pack(">IHII", places["sounds"], IS_FOLDER, n_in_folder, 2),
        struct.pack(">IHII", places["violin.ogg"], 0, 0, 0),
        struct.pack(">IHII", places["cello.ogg"], IS_COMPRESSED, 0, cello_at),
    )
    tree = b"".join(node + later for node in nodes)
    head = struct.pack(">4s4I", b"qres", version, 20, 20 + len(tree), 20 + len(tree) + len(data))
    path.write_bytes(head + tree + data + names)
    return path


@pytest.mark.parametrize("version", [1, 2, 3])
def test_files_come_out_as_they_went_in_zipped_or_not(version: int, tmp_path: Path) -> None:
    made = resource(tmp_path / "a.rcc", version=version)
    assert qt_resources.read(made, "violin.ogg") == VIOLIN
    assert qt_resources.read(made, "cello.ogg") == CELLO
    with pytest.raises(MissingIngredient, match=r"a\.rcc has no file viola\.ogg"):
        qt_resources.read(made, "viola.ogg")


def test_what_is_none_or_damaged_is_refused_in_a_line(tmp_path: Path) -> None:
    whole = resource(tmp_path / "whole.rcc").read_bytes()
    violin = whole.index(VIOLIN)
    damaged = (b"", b"OggS" * 20, whole[:40], whole[: violin + 9], whole.replace(b"qres", b"qras"))
    for number, content in enumerate(damaged):
        path = tmp_path / f"{number}.rcc"
        path.write_bytes(content)
        with pytest.raises(MissingIngredient, match=r"\.rcc is no resource of Qt, or damaged \([^\n]+\); apt install"):
            qt_resources.read(path, "violin.ogg")
    with pytest.raises(MissingIngredient, match=r"none\.rcc cannot be read \(No such file[^\n]+\); apt install"):
        qt_resources.read(tmp_path / "none.rcc", "violin.ogg")


def test_a_file_that_is_cut_short_or_packed_in_another_way_is_refused(tmp_path: Path) -> None:
    short = struct.pack(">I", len(CELLO)) + zlib.compress(CELLO)[:-6]
    with pytest.raises(MissingIngredient, match="a file that is cut short"):
        qt_resources.read(resource(tmp_path / "short.rcc", zipped=short), "cello.ogg")
    other = resource(tmp_path / "other.rcc")
    flags_at = 20 + 2 * 14 + 4  # of the first file
    content = bytearray(other.read_bytes())
    content[flags_at : flags_at + 2] = struct.pack(">H", 4)  # Zstandard
    other.write_bytes(content)
    with pytest.raises(MissingIngredient, match="packed in a way that is not known"):
        qt_resources.read(other, "violin.ogg")


def test_a_resource_that_never_ends_is_refused(tmp_path: Path) -> None:
    endless = resource(tmp_path / "endless.rcc", n_in_folder=2**31)
    with pytest.raises(MissingIngredient, match="more than 10000 files and folders"):
        qt_resources.read(endless, "violin.ogg")
    itself = resource(tmp_path / "itself.rcc")
    content = bytearray(itself.read_bytes())
    content[20 + 14 : 20 + 28] = struct.pack(">IHII", 0, IS_FOLDER, 3, 1)  # a folder that holds itself, and the files
    itself.write_bytes(content)
    with pytest.raises(MissingIngredient, match="more than 10000 files and folders"):
        qt_resources.read(itself, "violin.ogg")
    bomb = struct.pack(">I", 8) + zlib.compress(bytes(qt_resources.MOST_BYTES + 1000))
    with pytest.raises(MissingIngredient, match="of more than 64000000 bytes"):
        qt_resources.read(resource(tmp_path / "bomb.rcc", zipped=bomb), "cello.ogg")
