"""Ctrl-C of the laptop's command, where Python itself would lose it."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator

import pytest
import typer

from host_tools.boxes import Boxes
from host_tools.device import Device
from host_tools.guard import guarded
from host_tools.tests.box_rig import FakeBox


@pytest.fixture(autouse=True)
def _python_hears_it() -> Iterator[None]:
    """Whoever starts a test run in the background of a shell has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Ended(io.RawIOBase):
    """Something that Ctrl-C falls into while nobody holds it any more."""

    def close(self) -> None:
        if not self.closed:
            signal.raise_signal(signal.SIGINT)
        super().close()


def test_a_ctrl_c_that_python_drops_is_heeded_at_the_next_request(
    paired: FakeBox, capsys: pytest.CaptureFixture[str]
) -> None:
    (box,) = Boxes().all()
    said = []

    @guarded
    def run() -> None:
        Ended()
        said.append("it was dropped")
        with Device.of(box) as device:
            said.append(device.get("status")["name"])

    with pytest.raises(typer.Exit):
        run()
    assert said == ["it was dropped"]
    assert capsys.readouterr().err.startswith("error: stopped by hand")


def test_a_command_after_a_ctrl_c_knows_nothing_of_it(paired: FakeBox) -> None:
    (box,) = Boxes().all()
    names = []

    @guarded
    def stopped() -> None:
        signal.raise_signal(signal.SIGINT)

    @guarded
    def next_one() -> None:
        with Device.of(box) as device:
            names.append(device.get("status")["name"])

    with pytest.raises(typer.Exit):
        stopped()
    next_one()
    assert names == [box.name]


def test_who_is_started_with_ctrl_c_ignored_ignores_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guarded(lambda: signal.raise_signal(signal.SIGINT))()
