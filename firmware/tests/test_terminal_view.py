"""The view of the box: on any terminal, with any names, and whatever is not there yet."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from dsp_kernels.contract.layout import default_params
from firmware.observation import Observation
from firmware.segment import Segment
from firmware.terminal_view import Picture, draw, summary_line
from firmware.tests.segment_rig import EngineSide

SIZES = [(80, 24), (200, 60)]
WEIRD = ["[red]Kick[/red]", "[/b]", "\x1b[2J\x1b[H", "two\nlines", "", "\N{MICROPHONE}" * 30, "鼓" * 30, "a\u0301" * 20,
         "\u202eback", "x" * 500, "\\[", "%s{}", "tab\tbell\a"]  # fmt: skip
DECISION = {"time_s": 12.0, "channel": "Kick", "parameter": "fader.level_db", "from": 0.0, "to": -3.0, "unit": "dB",
            "cause": "louder than the voice"}  # fmt: skip


@pytest.fixture
def seen(tmp_path: Path) -> tuple[Any, Observation]:
    """Return the status and the observation of a real segment of 32 channels."""
    with (
        EngineSide(tmp_path / "segment", n_channels=32) as engine,
        Segment(tmp_path / "segment", is_control=False) as view,
    ):
        engine.put(48000)
        return view.status(), view.latest()


def picture_of(seen: tuple[Any, Observation], **changes: Any) -> Picture:
    status, observation = seen
    names = [WEIRD[ch % len(WEIRD)] for ch in range(32)]
    control = {"channels": [{"name": n, "role": n, "confidence": 0.5} for n in names], "decisions": [DECISION] * 9}
    standing = {
        "title": "Simulated box: [session]", "time_s": 1.0, "sample_rate_hz": 48000.0, "names": names,
        "status": status, "observation": observation, "params": default_params(), "control": control,
        "restarts": {"engine": 2, "control": 0}, "lines": ["control: [/x] \x1b[31m", "engine: started"],
    }  # fmt: skip
    return Picture(**{**standing, **changes})


def drawn(picture: Picture, width: int = 200, height: int = 60) -> list[str]:
    shown = io.StringIO()
    console = Console(width=width, height=height, file=shown, force_terminal=True, color_system=None)
    console.print(draw(picture))
    return shown.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 60), (200, 60)])
def test_32_channels_have_a_line_each_whatever_they_are_called(
    seen: tuple[Any, Observation], width: int, height: int
) -> None:
    lines = drawn(picture_of(seen), width, height)
    assert max(map(cell_len, lines)) <= width
    table = lines[next(i for i, line in enumerate(lines) if "channel" in line and "fader" in line) + 1 :]
    for ch in range(32):
        assert table[ch].split()[0] == str(ch + 1), "a channel takes more than its line"
        assert "+0.0" in table[ch], "the fader is not legible"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 25), (100, 24), (132, 20), (80, 30)])
def test_a_small_terminal_shows_every_strip_and_what_was_decided(
    seen: tuple[Any, Observation], width: int, height: int
) -> None:
    lines = drawn(picture_of(seen), width, height)
    assert len(lines) < height, "the cursor has no line left"
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert all(re.search(rf"(^| ){ch} ", text, re.MULTILINE) for ch in range(1, 33)), "a strip is missing"
    assert sum("fader.level_db 0 → -3 dB" in line for line in lines) >= 2, "decisions are cut off"
    assert "+0.0" in text
    assert "engine: started" in text
    assert "restarted: engine 2" in text


@pytest.mark.parametrize(("width", "height"), [(80, 12), (40, 24), (20, 5), (1, 1), (10, 100)])
def test_where_not_even_the_strips_have_room_the_decisions_do(
    seen: tuple[Any, Observation], width: int, height: int
) -> None:
    lines = drawn(picture_of(seen), width, height)
    if width >= 40:
        assert len(lines) < height
        assert any("more strips have no room" in line for line in lines) or width < 80
        assert any("Kick: fader" in line for line in lines)


@pytest.mark.parametrize(("width", "height"), [*SIZES, (20, 5)])
def test_nothing_that_somebody_wrote_moves_the_cursor_or_is_taken_for_markup(
    seen: tuple[Any, Observation], width: int, height: int
) -> None:
    text = "\n".join(drawn(picture_of(seen), width, height))
    assert "\x1b" not in text
    assert "\a" not in text
    if width == 200:
        for shown in ("[red]Kick[/red]", "[/b]", "?[2J?[H", "two?lines", "[session]", "control: [/x] ?[31m"):
            assert shown in text


def test_before_anything_was_heard_the_view_says_so(seen: tuple[Any, Observation]) -> None:
    picture = picture_of(seen, observation=None, params=None, control={}, restarts={}, lines=[])
    text = "\n".join(drawn(picture))
    assert "no sound yet" in text
    assert "nothing restarted" in text
    assert "no sound yet" in summary_line(picture)


@pytest.mark.parametrize(
    "control", [{}, {"channels": []}, {"channels": [], "decisions": []}, {"decisions": [DECISION]}]
)
def test_channels_are_shown_without_a_page_of_control(seen: tuple[Any, Observation], control: dict[str, Any]) -> None:
    text = "\n".join(drawn(picture_of(seen, control=control)))
    assert "[red]Kick[/red]" in text
    assert ("louder than the voice" in text) == ("decisions" in control and bool(control["decisions"]))


@pytest.mark.parametrize("level_dbfs", [math.nan, math.inf, -math.inf, 1e30, -1e30, 0.0, -100.0])
def test_a_meter_shows_any_number(seen: tuple[Any, Observation], level_dbfs: float) -> None:
    status, observation = seen
    for name in observation.channel_meters.dtype.names:
        observation.channel_meters[name] = np.float32(level_dbfs)
    loudness = dataclasses.replace(observation.loudness, momentary_lufs=level_dbfs, integrated_lufs=level_dbfs)
    picture = picture_of((status, dataclasses.replace(observation, loudness=loudness)))
    full, empty = "█" * 16, "·" * 16
    text = "\n".join(drawn(picture))
    assert (full in text) == (level_dbfs >= 0.0)
    assert (empty in text) == (not level_dbfs >= 0.0)
    summary_line(picture)


@pytest.mark.parametrize("state", ["starting", "running", "no_card", "stopped", "unknown"])
def test_a_lost_card_and_its_reason_are_seen(seen: tuple[Any, Observation], state: str) -> None:
    status = dataclasses.replace(seen[0], state=state, trouble="hw:[/usb] cannot be opened: No such device")
    text = "\n".join(drawn(picture_of((status, seen[1]))))
    assert state.replace("_", " ") in text
    assert "hw:[/usb] cannot be opened" in text
    assert "restarted: engine 2" in text
