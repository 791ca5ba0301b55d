"""Without ``--model`` one constant holds, in every command alike; whatever it is, it can be had."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

import pytest

from firmware import render_command, run_command
from firmware.inference.bundle import SHIPPED, read_bundle
from firmware.inference.choice import DEFAULT_MODEL, NONE, SHIPPED_WORD
from firmware.inference.inline import bundle_path, inline_of
from firmware.inference.keys import trusted_keys
from firmware.live_run import RunJob
from firmware.render_job import RenderJob

LEAST = {render_command: ["session", "--out", "mix.wav"], run_command: ["--board", "sim"]}


def title_of(model: str) -> str:
    """Return what a record calls the model that a word means."""
    path = bundle_path(model)
    return read_bundle(path, trusted_keys([])).title if path else NONE


@pytest.mark.parametrize("command", LEAST, ids=lambda c: c.NAME)
def test_a_command_takes_the_default_and_says_so(command: ModuleType) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert parser.parse_args(LEAST[command]).model == DEFAULT_MODEL
    assert f"({DEFAULT_MODEL})" in parser.format_help()


def test_a_job_takes_the_default() -> None:
    assert RenderJob(session=Path("s"), out=Path("m.wav")).model == DEFAULT_MODEL
    assert RunJob.__dataclass_fields__["model"].default == DEFAULT_MODEL


@pytest.mark.parametrize("model", [NONE, SHIPPED_WORD])
def test_whichever_word_is_the_default_it_can_be_had(model: str) -> None:
    found, note = inline_of(model, [], [False] * 4)
    assert note == ""
    assert (found.model if found else NONE) == title_of(model)
    assert DEFAULT_MODEL in (NONE, SHIPPED_WORD)
    assert SHIPPED.exists()
