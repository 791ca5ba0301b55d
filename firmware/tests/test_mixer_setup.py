"""What engine and control are started with comes back as it was, or is refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_configs.board import load_board
from firmware.errors import EvenhandError
from firmware.mixer_setup import (
    MAX_FILE_BYTES,
    MAX_NAME_CHARACTERS,
    MixerSetup,
    main,
    read_setup,
    setup_of_board,
    setup_of_session,
    write_setup,
)

STRIPS = [("Host", "speech", False), ("Music\N{SNOWMAN}\n\"'", None, True), ("Kick", "kick", False)]


@pytest.fixture
def setup() -> MixerSetup:
    return setup_of_session(STRIPS, sample_rate_hz=48000, n_card_outputs=12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mixer.json"


def test_a_session_gets_the_inputs_it_needs_in_its_order(setup: MixerSetup) -> None:
    assert [strip.card_channels for strip in setup.strips] == [(0,), (1, 2), (3,)]
    assert [strip.is_stereo for strip in setup.strips] == [False, True, False]
    assert setup.n_card_inputs == 4


def test_what_was_written_is_read_as_it_was(setup: MixerSetup, path: Path) -> None:
    write_setup(setup, path)
    assert read_setup(path) == setup


@pytest.mark.parametrize("name", ["raspberry_pi_4", "raspberry_pi_5", "jetson_orin_nano"])
def test_a_board_becomes_its_strips(name: str, path: Path) -> None:
    board = load_board(name)
    assert main(["--board", name, "--out", str(path)]) == 0
    setup = read_setup(path)
    assert setup == setup_of_board(board)
    assert len(setup.strips) == len(board.inputs) > 0


def test_a_board_that_takes_its_channels_from_a_session_is_refused(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--board", "sim", "--out", str(path)]) == 1
    assert capsys.readouterr().err.startswith("error: sim: takes its channels from a session")
    assert not path.exists()


def changed(setup: MixerSetup, path: Path, **changes: Any) -> dict[str, Any]:
    write_setup(setup, path)
    return json.loads(path.read_text()) | changes


BAD: dict[str, dict[str, Any]] = {
    "nothing": {"strips": []},
    "33 strips": {"strips": [{"name": "x", "role": None, "card_channels": [0]}] * 33},
    "an input beyond the card": {"strips": [{"name": "x", "role": None, "card_channels": [4]}]},
    "a negative input": {"strips": [{"name": "x", "role": None, "card_channels": [-1]}]},
    "no input": {"strips": [{"name": "x", "role": None, "card_channels": []}]},
    "three inputs": {"strips": [{"name": "x", "role": None, "card_channels": [0, 1, 2]}]},
    "true for an input": {"strips": [{"name": "x", "role": None, "card_channels": [True]}]},
    "half an input": {"strips": [{"name": "x", "role": None, "card_channels": [0.5]}]},
    "a number for a role": {"strips": [{"name": "x", "role": 5, "card_channels": [0]}]},
    "a strip without a name": {"strips": [{"role": None, "card_channels": [0]}]},
    "words for strips": {"strips": "kick"},
    "null": {"strips": None},
    "65 inputs": {"n_card_inputs": 65},
    "no outputs": {"n_card_outputs": 0},
    "a rate of nothing": {"sample_rate_hz": 0},
    "an infinite rate": {"sample_rate_hz": float("inf")},
    "a rate in words": {"sample_rate_hz": "48000"},
}


@pytest.mark.parametrize("what", BAD)
def test_a_set_up_with_something_impossible_is_refused_in_one_line(setup: MixerSetup, path: Path, what: str) -> None:
    path.write_text(json.dumps(changed(setup, path, **BAD[what])))
    with pytest.raises(EvenhandError, match="is no mixer set-up") as refused:
        read_setup(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 90_000,
        b"9" * 5000,
        b'{"strips": NaN}',
        b" " * (MAX_FILE_BYTES + 1),
    ],
    ids=["empty", "null", "list", "object", "bytes", "deep", "long number", "nan", "long"],
)
def test_a_file_that_is_no_set_up_is_refused_in_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(EvenhandError, match="is no mixer set-up"):
        read_setup(path)


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(EvenhandError, match="is too long"):
        read_setup(Path("/dev/zero"))


@pytest.mark.parametrize("where", ["missing", "."])
def test_a_file_that_cannot_be_read_is_refused_with_the_systems_words(tmp_path: Path, where: str) -> None:
    with pytest.raises(EvenhandError, match="cannot be read"):
        read_setup(tmp_path / where)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_field_is_taken_in_its_bounds_or_refused(data: st.DataObject) -> None:
    record: dict[str, Any] = {
        "sample_rate_hz": 48000, "n_card_inputs": 2, "n_card_outputs": 2,
        "strips": [{"name": "x", "role": None, "card_channels": [0]}],
    }  # fmt: skip
    at: Any = record if data.draw(st.booleans()) else record["strips"][0]
    at[data.draw(st.sampled_from(sorted(at)))] = data.draw(JSON_VALUES)
    path = Path("/dev/shm") / f"evenhand-test-setup-{os.getpid()}"
    path.write_text(json.dumps(record))
    try:
        setup = read_setup(path)
    except EvenhandError:
        return
    finally:
        path.unlink()
    assert 1 <= len(setup.strips) <= 32
    assert all(0 <= channel < setup.n_card_inputs for strip in setup.strips for channel in strip.card_channels)
    assert all(len(strip.name) <= MAX_NAME_CHARACTERS for strip in setup.strips)


def test_the_engine_can_read_a_set_up_without_numpy() -> None:
    code = "import sys, firmware.mixer_setup; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
