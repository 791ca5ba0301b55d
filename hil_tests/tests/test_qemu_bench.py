"""What an emulated box's bench brings along, without the box."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from board_configs.board import load_board
from hil_tests.bench import board_text
from hil_tests.drivers.emulator import BoxError
from hil_tests.drivers.qemu_box import QemuBox


def test_board_of_the_bench_is_the_shipped_one_but_smaller_and_asks_less(tmp_path: Path) -> None:
    path = tmp_path / "qemu_arm64.toml"
    path.write_text(board_text(), encoding="utf-8")
    small, shipped = load_board(str(path)), load_board("qemu_arm64")
    assert (small.name, small.image, small.update) == (shipped.name, shipped.image, shipped.update)
    assert small.cards[0].n_capture == small.cards[0].n_playback == 2
    assert small.budget.min_served_percent < shipped.budget.min_served_percent


def test_serial_line_is_not_given_to_a_file_as_if_it_were_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = tmp_path / "typed"
    typed.write_text("poweroff\n")
    box = QemuBox(tmp_path / "card.img", tmp_path)
    with typed.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(BoxError, match="standard input is a file"):
            box.attach()
