"""Limits as data: what they hold, what they break, and which of them are mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..errors import ProbeError
from ..limits import judge, load_limits
from ..noise import NoiseFloor

QUIET = NoiseFloor(where="input 0", noise_dbfs=-100.0, noise_a_dbfs=-103.0, mean_lin=0.0)


def limits_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text(text)
    return path


def test_each_result_is_held_against_each_limit_on_its_kind(tmp_path: Path) -> None:
    limits = load_limits(limits_of(tmp_path, "[noise]\nnoise_dbfs = { max = -90 }\nnoise_a_dbfs = { max = -110.0 }\n"))
    first, second = judge([QUIET], limits)
    assert (first.is_held, second.is_held) == (True, False)
    assert second.line() == "BROKEN: noise noise_a_dbfs at most -110; it is -103"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[noise]\nnoise_dbf = { max = -90 }", "no such figure; did you mean noise_dbfs"),
        ("[nois]\nnoise_dbfs = { max = -90 }", "nothing of it was measured; did you mean noise"),
        ("[noise]\nnoise_dbfs = -90", "must be"),
        ("[noise]\nnoise_dbfs = { max = '-90' }", "is no number"),
        ("[noise]\nnoise_dbfs = { max = -90, min = -80 }", "min -80 lies over max -90"),
        ("noise = 3", "is no table of figures"),
        ("[noise", "no limits can be read"),
    ],
)
def test_a_limit_that_nothing_can_break_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ProbeError, match=why):
        judge([QUIET], load_limits(limits_of(tmp_path, text)))


def test_nan_breaks_every_limit(tmp_path: Path) -> None:
    limits = load_limits(limits_of(tmp_path, "[noise]\nnoise_dbfs = { max = -90 }"))
    broken = NoiseFloor(where="input 0", noise_dbfs=float("nan"), noise_a_dbfs=0.0, mean_lin=0.0)
    assert not judge([broken], limits)[0].is_held
