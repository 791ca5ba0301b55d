"""Updates from the laptop to the box and back: what goes well, what is refused, and what goes wrong on the way."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from host_tools.boxes import Boxes
from host_tools.bundle_file import read_bundle
from host_tools.device import Device
from host_tools.errors import HostError, RefusedError
from host_tools.sending import send_bundle
from host_tools.tests.box_rig import FakeBox, wait_for
from host_tools.tests.bundle_making import make_bundle
from host_tools.tests.terminal import Laptop


def test_a_person_updates_a_box_and_goes_back_and_its_settings_stay(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "new.raucb", notes="- Faster.\n- Warmer.")
    (paired.data / "state" / "last.toml").write_text("kept")
    with laptop.at_terminal("update", "new.raucb") as terminal:
        terminal.expect("0.2.0 for sim")
        terminal.expect("  - Warmer.")
        terminal.expect("runs 0.1.0; slot B (empty) is overwritten, then it restarts")
        terminal.expect("[y/N]")
        terminal.type("y")
        terminal.expect("signature, board, version and content are right")
        terminal.expect("stage: updated")
        assert terminal.end() == 0
    assert paired.rauc["booted"] == paired.rauc["primary"] == "B"
    assert not (paired.home / "bundle.raucb").exists(), "the bundle takes room that recordings need"
    again = laptop.run("update", "new.raucb", "--yes", "--json")
    assert (again.status, json.loads(again.out)["boxes"][0]["state"]) == (0, "skipped")
    back = laptop.run("rollback", "--yes", "--json")
    assert (back.status, json.loads(back.out)["to"]) == (0, "0.1.0"), back
    assert (paired.data / "state" / "last.toml").read_text() == "kept"


def test_nothing_is_sent_without_a_yes(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    make_bundle(tmp_path / "new.raucb")
    with laptop.at_terminal("update", "new.raucb") as terminal:
        terminal.expect("[y/N]")
        terminal.type("n")
        assert terminal.end() == 1
        assert "error: not done, as you said" in terminal.text
    assert "say --yes" in laptop.run("update", "new.raucb").err
    assert not (paired.home / "upload.json").exists()


# ------------------------------------------------------------------------------------------------------- refused


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with FakeBox(tmp_path_factory.mktemp("box")) as running, running.paired() as device:
        device.rig = running  # type: ignore[attr-defined]
        yield device


def send(device: Device, path: Path) -> None:
    from host_tools.sending import send_bundle

    bundle = read_bundle(path)
    send_bundle(device, bundle, bundle.sha256(), lambda *_: None)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"signer": "stranger"}, "self-signed certificate"),
        ({"board": "raspberry_pi_4"}, "is for evenhand-raspberry_pi_4, this box is evenhand-sim"),
        ({"version": "0.0.9"}, "older than the 0.1.0 that runs"),
        ({"version": "0.1.0"}, "0.1.0 runs already"),
        ({"version": "newest"}, "is no version"),
    ],
    ids=lambda made: str(made)[:30],
)
def test_a_bundle_that_is_not_for_this_box_is_refused_before_anything_is_touched(
    shared: Device, tmp_path: Path, made: dict[str, Any], said: str
) -> None:
    before = shared.rig.rauc  # type: ignore[attr-defined]
    send(shared, make_bundle(tmp_path / "new.raucb", **made, n_blocks=40))
    with pytest.raises(RefusedError, match=said):
        shared.post("verify")
    with pytest.raises(RefusedError):
        shared.post("install")
    assert shared.rig.rauc == before  # type: ignore[attr-defined]
    shared.send("DELETE", "upload")


@pytest.mark.parametrize("at", [0, 5000, -3000])
def test_one_changed_byte_is_found_before_anything_is_touched(shared: Device, tmp_path: Path, at: int) -> None:
    path = make_bundle(tmp_path / "new.raucb", n_blocks=300)
    content = bytearray(path.read_bytes())
    n_tree = int(content.decode("latin-1").rpartition("verity-size=")[2].partition("\n")[0])
    end = len(content) - 8 - int.from_bytes(content[-8:], "big") - n_tree
    content[at % end] ^= 1
    path.write_bytes(content)
    send(shared, path)
    with pytest.raises(RefusedError, match="not what was signed: damaged or tampered with"):
        shared.post("verify")
    assert shared.get("upload")["size_bytes"] == 0


def test_a_truncated_bundle_is_refused_on_the_laptop_and_on_the_box(shared: Device, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "new.raucb", n_blocks=40)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HostError, match="is no firmware bundle, or not all of one"):
        read_bundle(path)


def test_an_older_release_says_how_to_go_back(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    make_bundle(tmp_path / "old.raucb", version="0.0.5")
    done = laptop.run("update", "old.raucb", "--yes")
    assert done.status == 1
    assert "`evenhand rollback` goes back" in done.err
    other = make_bundle(tmp_path / "pi.raucb", board="raspberry_pi_5")
    assert "is for raspberry_pi_5, stage is sim; nothing was sent" in laptop.run("update", other, "--yes").err


# ----------------------------------------------------------------------------------------------- wrong on the way


@pytest.mark.parametrize("fate", ["dead", "unwell"])
def test_a_release_that_is_not_well_is_told_and_the_box_is_back_by_itself(
    laptop: Laptop, paired: FakeBox, tmp_path: Path, fate: str
) -> None:
    paired.fate = fate
    make_bundle(tmp_path / "new.raucb", n_blocks=40)
    done = laptop.run("update", "new.raucb", "--yes")
    assert done.status == 1
    assert "is back on 0.1.0 by itself: 0.2.0 did not start, or was not well" in done.err
    assert paired.rauc["booted"] == "A"
    assert Device.of(Boxes().find([])[0]).get("status")["version"] == "0.1.0"


def test_a_box_that_is_back_by_itself_is_told_by_its_slot_where_both_hold_one_version(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "same.raucb", version="0.1.0")
    paired.fate = "dead"
    done = laptop.run("update", "same.raucb", "--again", "--yes")
    assert done.status == 1, done
    assert "stage: is back on 0.1.0 of slot A by itself: 0.1.0 did not start, or was not well" in done.err
    paired.fate = "well"
    assert laptop.run("update", "same.raucb", "--again", "--yes").status == 0
    assert paired.rauc["booted"] == "B"


class LossyRoute:
    """A port that leads to another one, and loses one answer: the connection breaks instead. A context manager."""

    def __init__(self, port: int, lost: int) -> None:
        self._to, self._lost, self._n_answers = port, lost, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=[near], daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as far:
            is_asked = False
            while True:
                for source in select.select([near, far], [], [])[0]:
                    if not (data := source.recv(1 << 20)):
                        return
                    if source is far and is_asked:
                        self._n_answers += 1
                        if self._n_answers == self._lost:
                            return
                    is_asked = source is near
                    (far if source is near else near).sendall(data)


@pytest.mark.soak
@pytest.mark.parametrize("lost", range(7, 14))  # before: whether it is there at all
def test_an_answer_that_is_lost_on_the_way_does_not_end_an_update(
    laptop: Laptop, box: FakeBox, tmp_path: Path, lost: int
) -> None:
    bundle = make_bundle(tmp_path / "new.raucb", n_blocks=40)
    paired = box.pair()
    with LossyRoute(box.port, lost) as route:
        Boxes().keep(replace(paired, port=route.port))
        done = laptop.run("update", bundle, "--yes")
    assert done.status == 0, done
    assert box.rauc["booted"] == "B"
    assert box.n_starts == 2, "it was restarted once"


def test_a_box_that_does_not_come_back_is_waited_for_as_long_as_was_asked(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    paired.fate = "stuck"
    make_bundle(tmp_path / "new.raucb", n_blocks=40)
    done = laptop.run("update", "new.raucb", "--yes", "--patience", "2")
    assert done.status == 1
    assert "stage: not back and well after 2 s; look at it" in done.err


def test_an_installation_that_fails_is_told_with_its_reason(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    paired.set_rauc(fails="Failed mounting slot: no space left")
    make_bundle(tmp_path / "new.raucb", n_blocks=40)
    done = laptop.run("update", "new.raucb", "--yes")
    assert done.status == 1
    assert "not installed: Failed mounting slot: no space left" in done.err
    paired.set_rauc(fails="")
    assert laptop.run("update", "new.raucb", "--yes").status == 0, "what failed once can be tried again"


def test_a_box_that_still_looks_at_the_bundle_is_waited_for(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    bundle = read_bundle(make_bundle(tmp_path / "new.raucb", n_blocks=40))
    paired.set_rauc(info_s=4.0)  # a slow card; the laptop before has heard no answer
    with Device.of(Boxes().find([])[0]) as before, ThreadPoolExecutor(1) as pool:
        send_bundle(before, bundle, bundle.sha256(), lambda *_: None)
        asked = pool.submit(before.post, "verify")
        done = laptop.run("update", "new.raucb", "--yes")
        assert asked.result()["version"] == "0.2.0"
    assert done.status == 0, done


def test_ctrl_c_in_the_middle_of_sending_leaves_both_sides_sound_and_it_goes_on(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=3000)
    with laptop.at_terminal("update", "new.raucb", "--yes") as terminal:
        wait_for(lambda: (paired.home / "bundle.part").exists(), "nothing is sent")
        wait_for(lambda: (paired.home / "bundle.part").stat().st_size > 1_000_000, "too little is sent")
        terminal.interrupt()
        assert terminal.end() == 1
        assert "error: stopped by hand" in terminal.text
        assert "Traceback" not in terminal.text
    had_bytes = (paired.home / "bundle.part").stat().st_size
    assert paired.rauc["slots"]["B"]["version"] is None
    done = laptop.run("update", "new.raucb", "--yes")
    assert done.status == 0, done
    went_on = int(done.err.partition("went on from ")[2].partition(" ")[0])
    assert went_on >= had_bytes > 1_000_000


@pytest.mark.soak
def test_a_power_cut_of_the_box_in_the_middle_of_sending_costs_the_laptop_nothing(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=3000)
    with laptop.at_terminal("update", "new.raucb", "--yes") as terminal:
        wait_for(lambda: (paired.home / "bundle.part").exists(), "nothing is sent")
        wait_for(lambda: (paired.home / "bundle.part").stat().st_size > 1_000_000, "too little is sent")
        paired.kill()
        terminal.expect("stage: updated")
        assert terminal.end() == 0
    assert paired.rauc["booted"] == "B"


@pytest.mark.soak
def test_the_canary_goes_first_and_nobody_follows_one_that_is_not_well(laptop: Laptop, tmp_path: Path) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=40)
    with ExitStack() as stack:
        names = ("attic", "cellar", "foyer")
        rigs = {name: stack.enter_context(FakeBox(tmp_path / name, name=name)) for name in names}
        for rig in rigs.values():
            Boxes().keep(rig.pair())
        rigs["attic"].fate = "dead"
        done = laptop.run("update", "new.raucb", "--all", "--canary", "foyer", "--yes", "--json")
        assert done.status == 1
        states = [(r["name"], r["state"]) for r in json.loads(done.out)["boxes"]]
        assert states == [("foyer", "updated"), ("attic", "failed"), ("cellar", "not reached")]
        assert "1 boxes were not touched" in done.err
        assert rigs["cellar"].rauc["slots"]["B"]["version"] is None
        rigs["attic"].fate = "well"
        again = laptop.run("update", "new.raucb", "--all", "--yes", "--json")
        states = [(r["name"], r["state"]) for r in json.loads(again.out)["boxes"]]
        assert states == [("attic", "updated"), ("cellar", "updated"), ("foyer", "skipped")]


def test_there_is_nothing_to_go_back_to_on_a_new_box(laptop: Laptop, paired: FakeBox) -> None:
    done = laptop.run("rollback", "--yes")
    assert done.status == 1
    assert "nothing to go back to, slot B is not good" in done.err
