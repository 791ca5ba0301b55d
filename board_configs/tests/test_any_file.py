"""Whatever stands in a board file, it is a board or one line that says why not."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from board_configs.board import Board, BoardError, board_names, load_board

SEEDS = [tomllib.loads(load_board(name).path.read_text()) for name in board_names()]
KEYS = st.sampled_from(["card", "audio", "strip", "channel", "channels", "match", "usb", "slots", "formats", "x", ""])
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-3, 70),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.text(alphabet="\n\t a", max_size=60),
    st.sampled_from(["main", "session", "hw:CARD=A", "hw:0", "S32_LE", "main_l", "scarlett", "{channel}", "{"]),
)
VALUES = st.recursive(
    SCALARS, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(KEYS, v, max_size=3)), max_leaves=6
)


def toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(repr(value), repr(value))
    return json.dumps(value, ensure_ascii=True)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) in a tree."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_changed_anywhere_is_a_board_or_one_line(data: st.DataObject, tmp_path: Path) -> None:
    tree = copy.deepcopy(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 3))):
        node, key = data.draw(st.sampled_from(places(tree)))
        if data.draw(st.booleans()):
            node[key] = data.draw(VALUES)
        elif isinstance(node, dict):
            node[data.draw(KEYS)] = data.draw(VALUES)
    path = tmp_path / "changed.toml"
    path.write_text("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in tree.items()))
    told = outcome(path)
    if isinstance(told, Board):
        hash(told)  # frozen to the bottom
        assert len(told.inputs) <= 32
    else:
        assert told.startswith(f"{path}: ")
        assert told.isprintable()
        assert len(told) < 400


def outcome(path: Path) -> Board | str:
    try:
        return load_board(path)
    except BoardError as error:
        return str(error)


def test_the_dumper_above_says_what_the_board_says(tmp_path: Path) -> None:
    for seed in SEEDS:
        path = tmp_path / "same.toml"
        path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in seed.items()))
        assert tomllib.loads(path.read_text()) == seed
    with pytest.raises(BoardError):
        load_board(path.with_name("other.toml"))
