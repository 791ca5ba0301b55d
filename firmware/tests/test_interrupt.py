"""Ctrl-C where Python itself would lose it: what its handler raises is dropped, and the command ends all the same."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from firmware import interrupt
from firmware.atomic import Outputs
from firmware.image.tools import call
from firmware.mixer_setup import MixerSetup
from firmware.report_command import report_after_run
from firmware.tests.box_command import children_of, finished, start_box
from firmware.tests.live_rig import wait_for

# A command in whose first steps Ctrl-C falls into the end of a file that nobody holds any more.
LOSING = """
import gc, io, signal, sys
from firmware.__main__ import main

class Ended(io.RawIOBase):
    def close(self):
        if not self.closed:
            signal.raise_signal(signal.SIGINT)
        super().close()

def leave():
    ended = Ended()
    ended.held_by = [ended]  # until the collector comes

signal.signal(signal.SIGINT, signal.default_int_handler)
gc.collect()
leave()
sys.exit(main(sys.argv[1:]))
"""


class Ended(io.RawIOBase):
    """Something that Ctrl-C falls into while nobody holds it any more."""

    def close(self) -> None:
        if not self.closed:
            signal.raise_signal(signal.SIGINT)
        super().close()


@pytest.fixture
def listening() -> Iterator[None]:
    """Hear as a command does; afterwards all is as it was before."""
    before = {number: signal.getsignal(number) for number in interrupt.ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
    interrupt.hear()
    yield
    interrupt.hear()  # which knows nothing of what came before
    for number, handler in before.items():
        signal.signal(number, handler)


def losing(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOSING, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_render_that_lost_its_ctrl_c_ends_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "long.wav", np.full((60 * 48000, 1), 0.01), 48000, subtype="PCM_16")
    (tmp_path / "out").mkdir()
    done = losing("render", tmp_path / "s", "--out", tmp_path / "out" / "m.wav")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: render: stopped before the end, no output has changed")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_live_box_that_lost_its_ctrl_c_ends_in_order_and_at_once() -> None:
    done = losing("run", "--board", "sim", "--seconds", "300", "--json")
    assert done.returncode == 0, done.stderr
    assert '"periods"' in done.stdout


@pytest.mark.usefixtures("listening")
def test_no_output_gets_its_name_after_a_ctrl_c_that_was_lost(tmp_path: Path) -> None:
    with Outputs() as outputs:
        outputs.stage(tmp_path / "mix.wav").write_text("whole")
        Ended()
        with pytest.raises(KeyboardInterrupt):
            outputs.commit()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("listening")
def test_no_further_program_is_started_for_an_image(tmp_path: Path) -> None:
    Ended()
    with pytest.raises(KeyboardInterrupt):
        call(["touch", tmp_path / "made"], "a file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("listening")
def test_what_is_ended_by_hand_leaves_no_note_for_what_comes_after(tmp_path: Path) -> None:
    with interrupt.ended_by_hand():
        signal.raise_signal(signal.SIGINT)
    assert not interrupt.is_asked()
    with Outputs() as outputs:
        outputs.stage(tmp_path / "report.html").write_text("whole")
        outputs.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


class Pressed:
    """A folder at whose first use somebody presses Ctrl-C."""

    def __truediv__(self, _: str) -> Path:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("nobody heard it")


@pytest.mark.usefixtures("listening")
def test_a_ctrl_c_in_one_report_of_a_run_leaves_the_next_one_alone(capsys: pytest.CaptureFixture[str]) -> None:
    folder = cast("Path", Pressed())
    nothing = MixerSetup(sample_rate_hz=48000, n_card_inputs=0, n_card_outputs=2, strips=())
    assert report_after_run(folder, record={}, setup=nothing, target_lufs=-16.0, is_quiet=True) is None
    assert capsys.readouterr().err.startswith("note: no report; `evenhand-box report")
    assert not interrupt.is_asked()


def test_who_is_started_with_a_signal_ignored_ignores_it() -> None:
    running = start_box("run", "--board", "sim", "--seconds", "2", "--json", prefix=["nohup"])
    wait_for(lambda: len(children_of(running.pid)) == 2, "no process has started")
    running.send_signal(signal.SIGHUP)
    done = finished(running)
    assert json.loads(done.out)["periods"] > 1000, done.err
