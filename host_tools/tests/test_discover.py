"""Discovery: a box is found by what it says of itself, and followed where it moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from host_tools.boxes import Boxes
from host_tools.tests.box_rig import FakeBox
from host_tools.tests.terminal import Laptop


def test_a_box_is_found_and_its_new_address_is_noted(laptop: Laptop, tmp_path: Path) -> None:
    with FakeBox(tmp_path / "box", options=["--announce"]) as box:
        if box.lines:
            pytest.skip(f"no multicast here: {box.lines[0]}")
        known = box.pair()
        Boxes().keep(replace(known, host="192.0.2.9", port=1))
        done = laptop.run("discover", "--seconds", "2", "--json")
        assert done.status == 0, done
        mine = next(b for b in json.loads(done.out)["boxes"] if b["id"] == known.box_id)
        assert (mine["name"], mine["board"], mine["version"], mine["port"]) == ("stage", "sim", "0.1.0", box.port)
        assert mine["is_paired"]
        assert "was at 192.0.2.9:1, is at 127.0.0.1" in done.err
        assert Boxes().find([known.box_id]) == [known]
        impostor = replace(known, fingerprint="0" * 64, host="192.0.2.9")
        Boxes().keep(impostor)
        laptop.run("discover", "--seconds", "2")
        assert Boxes().find([known.box_id]) == [impostor], "somebody else's certificate does not move a box"
