"""A box over a serial cable: all that works over the network works here, however bad the cable is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host_tools.boxes import Boxes
from host_tools.serial_door import split_port
from host_tools.tests.box_rig import CODE, ROOT, FakeBox
from host_tools.tests.bundle_making import make_bundle
from host_tools.tests.cable import Cable
from host_tools.tests.terminal import Laptop


@contextmanager
def bridged(box: FakeBox, cable: Cable) -> Iterator[None]:
    """Start the box's end of the cable."""
    words = ["--device", cable.ends["box"], "--port", box.port, "--parent", os.getpid()]
    process = subprocess.Popen(
        [sys.executable, "-m", "firmware.update.serial_bridge", *map(str, words)], cwd=ROOT, stdin=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_box_without_a_network_is_paired_and_updated_over_the_cable(
    laptop: Laptop, box: FakeBox, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=200)
    with Cable(tmp_path / "cable") as cable, bridged(box, cable):
        port = cable.ends["laptop"]
        assert laptop.run("pair", "--serial", port, "--code", CODE).status == 0
        done = laptop.run("update", "new.raucb", "--serial", port, "--yes", "--json")
        assert done.status == 0, done
        assert json.loads(done.out)["boxes"][0]["state"] == "updated"
        assert json.loads(laptop.run("status", "--serial", port, "--json").out)["boxes"][0]["version"] == "0.2.0"
    done = laptop.run("status", "--serial", port)
    assert done.status == 1
    assert "cannot be opened" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.soak
def test_an_update_survives_flipped_bytes_and_ten_unplugs(laptop: Laptop, box: FakeBox, tmp_path: Path) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=400)
    Boxes().keep(box.pair())
    with (
        Cable(tmp_path / "cable", flips=0.001) as cable,
        bridged(box, cable),
        laptop.at_terminal("update", "new.raucb", "--serial", cable.ends["laptop"], "--yes") as terminal,
    ):
        for _ in range(10):
            time.sleep(0.7)
            cable.pull()
            time.sleep(0.5)
            cable.plug()
        terminal.expect("stage: updated")
        assert terminal.end() == 0
    assert box.rauc["booted"] == "B"


def test_a_port_is_named_with_its_speed() -> None:
    assert split_port("/dev/ttyUSB0") == ("/dev/ttyUSB0", 115200)
    assert split_port("COM3:9600") == ("COM3", 9600)
    assert split_port("/dev/serial/by-id/usb-x:1.0") == ("/dev/serial/by-id/usb-x:1.0", 115200)


def test_the_terminal_of_a_box_is_typed_on_over_the_cable(laptop: Laptop, tmp_path: Path) -> None:
    import tty

    with Cable(tmp_path / "cable") as cable:
        box_end = os.open(cable.ends["box"], os.O_RDWR | os.O_NOCTTY)
        tty.setraw(box_end)
        with laptop.at_terminal("console", "--serial", cable.ends["laptop"]) as terminal:
            terminal.expect("Ctrl-] leaves")
            os.write(box_end, b"login: ")
            terminal.expect("login: ")
            terminal.type("root")
            typed = b""
            while not typed.endswith((b"\r", b"\n")):
                typed += os.read(box_end, 100)
            assert typed.strip() == b"root"
            terminal.type("\x1d")
            terminal.expect("left")
            assert terminal.end() == 0
        os.close(box_end)
