"""Core dumps of a box: real ones, of a process that crashed; named to who is paired, given away only with consent."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from host_tools.device import Device
from host_tools.errors import RefusedError
from host_tools.tests.box_rig import FakeBox
from host_tools.tests.terminal import Laptop


def crash(folder: Path, secret: bytes) -> bytes:
    """Return the core dump of a process that had ``secret`` in memory."""
    if Path("/proc/sys/kernel/core_pattern").read_text().startswith("|"):
        pytest.skip("this machine gives its core dumps to a program")
    folder.mkdir()
    script = f"ulimit -c unlimited; secret={secret.decode()}; kill -SEGV $$"
    subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True)
    (core,) = folder.iterdir()
    return core.read_bytes()


@pytest.fixture
def dump(paired: FakeBox, tmp_path: Path) -> Path:
    """Return a dump that the box keeps, of control, as systemd-coredump names it."""
    name = f"core.python.900.{'ab' * 16}.4711.1795737600123456"
    path = paired.dumps / name
    path.write_bytes(crash(tmp_path / "crash", b"the-song-nobody-has-heard"))
    paired.crashes.write_text(
        f'{{"COREDUMP_FILENAME": "/var/lib/systemd/coredump/{name}", "COREDUMP_UNIT": "evenhand-control.service", '
        '"COREDUMP_SIGNAL_NAME": "SIGSEGV"}\n{"MESSAGE": "no dump"}\nnot JSON\n'
    )
    return path


def test_a_dump_is_listed_and_taken_only_after_a_yes_and_for_ones_own_eyes(
    laptop: Laptop, dump: Path, tmp_path: Path
) -> None:
    listed = laptop.run("logs", "--source", "dumps")
    assert dump.name in listed.out
    assert "evenhand-control SIGSEGV  2026-11-27 00:00:00 UTC" in listed.out, listed
    assert "sound and secrets" in listed.err
    with laptop.at_terminal("logs", "--dump", "newest") as terminal:
        terminal.expect("all that the process had in memory: sound, names, settings, keys; whose box it is must agree")
        terminal.expect("[y/N]")
        terminal.type("n")
        assert terminal.end() == 1
    assert not (tmp_path / dump.name).exists()
    assert "say --yes" in laptop.run("logs", "--dump", dump.name).err
    with laptop.at_terminal("logs", "--dump", dump.name, "--out", "control.core") as terminal:
        terminal.expect("[y/N]")
        terminal.type("y")
        terminal.expect("for your eyes alone")
        assert terminal.end() == 0
    taken = tmp_path / "control.core"
    assert taken.read_bytes() == dump.read_bytes()
    assert b"the-song-nobody-has-heard" in taken.read_bytes()
    assert stat.S_IMODE(taken.stat().st_mode) == 0o600
    assert "no such dump" in laptop.run("logs", "--dump", "core.x", "--yes").err


def test_a_box_gives_no_dump_away_without_consent_and_nothing_else_of_that_folder(paired: FakeBox, dump: Path) -> None:
    (paired.dumps / "notes").write_text("x")
    (paired.dumps / dump.name.replace("4711", "4712")).symlink_to(paired.settings)
    known = paired.pair_again()
    with Device.of(known) as device:
        assert [d["name"] for d in device.get("dumps")["dumps"]] == [dump.name]
        refused: dict[str, tuple[str, int]] = {
            dump.name: ("ask its owner, then consent=given", 403), "../box.env": ("no name of a dump", 400),
            "notes": ("no name of a dump", 400), dump.name + ".zst": ("no dump", 404),
            dump.name.replace("4711", "4712"): ("keeps it for root alone", 403),
        }  # fmt: skip
        for name, (said, status) in refused.items():
            query = {} if name == dump.name else {"consent": "given"}
            with pytest.raises(RefusedError, match=said) as told:
                device.read("dumps", name, **query)
            assert told.value.status == status
        assert device.read("dumps", dump.name, consent="given") == dump.read_bytes()
        assert [e["kind"] for e in device.get("events")["events"]].count("dump given") == 1
        paired.crashes.unlink()  # the journal forgets before the disk does
        assert device.get("dumps")["dumps"][0]["unit"] == ""
        shutil.rmtree(paired.dumps)
        with pytest.raises(RefusedError, match="keeps no dumps"):
            device.get("dumps")
    with (
        Device(known.host, known.port, known.fingerprint) as stranger,
        pytest.raises(RefusedError, match="pair with it"),
    ):
        stranger.get("dumps")
