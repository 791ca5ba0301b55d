"""Ctrl-C where Python itself would lose it: what its handler raises is dropped, and the command ends all the same."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from firmware import interrupt
from firmware.atomic import Outputs
from firmware.image.tools import call
from firmware.mixer_setup import MixerSetup
from firmware.report_command import report_after_run
from firmware.system.supervisor import Child, Supervisor
from firmware.tests.box_command import PATIENCE_S, children_of, finished, start_box
from firmware.tests.live_rig import wait_for

# A command that Ctrl-C falls into once it runs FUNCTION of FILE, at the end of a file that nobody holds any more.
LOSING = """
import gc, io, signal, sys
from firmware.__main__ import main

class Ended(io.RawIOBase):
    def close(self):
        if not self.closed:
            signal.raise_signal(signal.SIGINT)
        super().close()

def look(_, frame):
    while frame and not (frame.f_code.co_filename.endswith(file) and frame.f_code.co_name == function):
        frame = frame.f_back
    if frame:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        ended = Ended()
        ended.held_by = [ended]  # until the collector comes
        del ended
        gc.collect()

file, function = sys.argv[1:3]
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGALRM, look)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
sys.exit(main(sys.argv[3:]))
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


def losing(file: str, function: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOSING, file, function, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_a_render_that_lost_its_ctrl_c_ends_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "long.wav", np.full((60 * 48000, 1), 0.01), 48000, subtype="PCM_16")
    (tmp_path / "out").mkdir()
    done = losing("render_command.py", "run", "render", tmp_path / "s", "--out", tmp_path / "out" / "m.wav")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: render: stopped before the end, no output has changed")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_live_box_that_lost_its_ctrl_c_ends_in_order_and_at_once() -> None:
    done = losing("live_run.py", "run", "run", "--board", "sim", "--seconds", "300", "--json")
    assert done.returncode == 0, done.stderr
    assert '"periods"' in done.stdout


def test_a_live_box_that_lost_its_ctrl_c_as_it_started_does_not_go_on() -> None:
    done = losing("live_start.py", "attached", "run", "--board", "sim", "--seconds", "300", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: run: stopped before the end, no output has changed; start it again when you like\n"


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


@contextmanager
def pressed_at(is_there: Callable[[str, FrameType, object], bool]) -> Iterator[None]:
    """Press Ctrl-C the moment the interpreter comes to a place in the block, once."""

    def look(frame: FrameType, event: str, what: Any) -> None:
        if is_there(event, frame, what):
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


def has_just_forked(event: str, _frame: FrameType, what: object) -> bool:
    return event == "c_return" and getattr(what, "__name__", "") == "fork_exec"


def has_just_entered(event: str, frame: FrameType, _what: object) -> bool:
    return event == "return" and frame.f_code is Supervisor.__enter__.__code__


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("moment", [has_just_forked, has_just_entered])
def test_a_ctrl_c_as_a_process_starts_leaves_no_process_behind(
    moment: Callable[[str, FrameType, object], bool],
) -> None:
    before = set(children_of(os.getpid()))
    supervisor = Supervisor([Child(name, ["sleep", "60"]) for name in ("first", "second")])
    with ExitStack() as stack, pressed_at(moment), pytest.raises(KeyboardInterrupt):
        interrupt.entered(stack, supervisor)
    assert set(children_of(os.getpid())) <= before


@pytest.mark.usefixtures("listening")
def test_a_signal_right_after_another_does_not_break_what_that_one_began(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(interrupt, "ECHO_S", 60.0)  # a busy machine may take its time from line to line
    signal.raise_signal(signal.SIGTERM)
    with interrupt.ended_by_hand():
        signal.raise_signal(signal.SIGINT)
    assert not interrupt.is_asked(), "what asked for the same must not end what comes after"
    monkeypatch.setattr(interrupt, "ECHO_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


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
