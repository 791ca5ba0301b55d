"""A person at a terminal: box or network are gone, and Ctrl-C comes in the middle of every long command."""

from __future__ import annotations

import lzma
import os
import select
import shutil
import subprocess
import tty
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from host_tools.boxes import Boxes, PairedBox
from host_tools.keys import KeyFolder
from host_tools.seeding import BLOCK_BYTES, MARK
from host_tools.tests.box_rig import FakeBox, wait_for
from host_tools.tests.bundle_making import make_bundle
from host_tools.tests.cable import Cable
from host_tools.tests.terminal import Laptop, Terminal

ESTABLISHED = "01"  # /proc/net/tcp
NOBODY = "192.0.2.1"  # an address that nobody has, RFC 5737


def is_connected(process: Terminal, port: int) -> bool:
    """Whether a command has got through to a box."""
    lines = Path(f"/proc/{process.process.pid}/net/tcp").read_text().splitlines()[1:]
    return any(words[2].endswith(f":{port:04X}") and words[3] == ESTABLISHED for words in map(str.split, lines))


def looks_for_boxes(process: Terminal) -> bool:
    """Whether a command has a socket of mDNS open; the list of sockets is that of all processes."""
    folder = Path(f"/proc/{process.process.pid}")
    lines = (folder / "net" / "udp").read_text().splitlines()[1:]
    sockets = {f"socket:[{words[9]}]" for words in map(str.split, lines) if words[1].endswith(":14E9")}
    for descriptor in (folder / "fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            if str(descriptor.readlink()) in sockets:
                return True
    return False


def stopped(terminal: Terminal, *, said: str = "stopped by hand") -> None:
    """Press Ctrl-C and hold the command to what it owes: one line, status 1, no traceback."""
    terminal.interrupt()
    assert terminal.end() == 1, terminal.text
    assert terminal.text.count("error: ") == 1, terminal.text
    assert said in terminal.text
    assert "Traceback" not in terminal.text


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def program(folder: Path, name: str, script: str) -> None:
    """Put a program of ours before the one of the machine."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


# --------------------------------------------------------------------------------------------------- nobody is there


def test_a_box_that_is_off_is_told_in_one_line(laptop: Laptop, paired: FakeBox) -> None:
    paired.stop()
    for words in ("status", "backup", "logs", "scene list", "record fetch", "rollback --yes"):
        done = laptop.run(*words.split())
        assert (done.status, done.err.count("error: ")) == (1, 1), done
        assert "Connection refused; is the box on, and on this network?" in done.err
    paired.start()


@pytest.mark.parametrize("host", ["no-such-box.invalid", "256.1.1.1", "127.0.0.1:99999", "[::1"])
def test_a_host_that_is_none_is_told_in_one_line(laptop: Laptop, host: str) -> None:
    done = laptop.run("pair", host, "--code", "ABCD-1234")
    assert (done.status, done.err.count("error: "), done.err.count("\n")) == (1, 1, 1), done
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", ["status", "discover --seconds 0.5", f"pair {NOBODY} --code ABCD-1234"])
def test_a_laptop_without_a_network_says_so(laptop: Laptop, words: str) -> None:
    away = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*away, "true"], capture_output=True).returncode:
        pytest.skip("nobody may leave the network here")
    Boxes().keep(
        PairedBox(box_id="0badcafe", name="stage", board="sim", host=NOBODY, port=4717, fingerprint="0" * 64, token="x")
    )
    with laptop.at_terminal(*words.split(), before=away) as terminal:
        assert terminal.end() == 1, terminal.text
    assert "Traceback" not in terminal.text
    assert any(said in terminal.text for said in ("Network is unreachable", "no network to look on")), terminal.text


# ------------------------------------------------------------------------------------- Ctrl-C while the box is thinking


ASKING = (
    "status", "backup --out b", "restore good --yes", "logs", "logs --source dumps", "scene list", "record list",
    "doctor", "rollback --yes", "update new.raucb --yes",
)  # fmt: skip


def test_ctrl_c_while_a_box_does_not_answer_changes_nothing_here_or_there(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=8)
    (paired.data / "scenes" / "Verse.toml").write_text("kept")
    assert laptop.run("backup", "--out", "good").status == 0
    here, there, rauc = set(tmp_path.iterdir()), files_below(paired.data), paired.rauc
    for words in ASKING:
        with paired.frozen(), laptop.at_terminal(*words.split()) as terminal:
            wait_for(partial(is_connected, terminal, paired.port), f"{words}: never asked the box")
            stopped(terminal)
        assert (set(tmp_path.iterdir()), files_below(paired.data), paired.rauc) == (here, there, rauc), words
    assert laptop.run("status").status == 0, "the box answers again"


def test_ctrl_c_while_looking_for_boxes_ends_it_at_once(laptop: Laptop) -> None:
    with laptop.at_terminal("discover", "--seconds", "60") as terminal:
        wait_for(lambda: looks_for_boxes(terminal), "it never looked")
        terminal.interrupt()
        assert terminal.end() == 1, terminal.text
    assert "Traceback" not in terminal.text
    assert "stopped by hand" in terminal.text


# ------------------------------------------------------------------------------------------- Ctrl-C during an update


def test_ctrl_c_while_the_box_installs_lets_it_go_on_and_the_same_command_follows_it(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    paired.set_rauc(step_s=0.6)
    make_bundle(tmp_path / "new.raucb", n_blocks=8)
    with laptop.at_terminal("update", "new.raucb", "--yes") as terminal:
        terminal.expect("signature, board, version and content are right")
        wait_for(lambda: paired.rauc["slots"]["B"] == {"version": None, "is_good": False}, "nothing is installed")
        stopped(terminal, said="boxes go on with what they run, the same command goes on from here")
    assert paired.rauc["booted"] == "A"
    done = laptop.run("update", "new.raucb", "--yes")
    assert done.status == 0, done
    assert paired.rauc["booted"] == paired.rauc["primary"] == "B"


def test_ctrl_c_while_the_box_restarts_leaves_it_to_its_own_health_check(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=8)
    with laptop.at_terminal("update", "new.raucb", "--yes") as terminal:
        terminal.expect("stage: restarts")
        stopped(terminal)
    wait_for(lambda: paired.rauc["primary"] == "B", "it never committed what it runs")
    done = laptop.run("update", "new.raucb", "--yes")
    assert (done.status, "0.2.0 runs already" in done.out) == (0, True), done


def test_ctrl_c_at_a_question_is_a_no(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    make_bundle(tmp_path / "new.raucb", n_blocks=8)
    before = paired.rauc
    with laptop.at_terminal("update", "new.raucb") as terminal:
        terminal.expect("[y/N]")
        stopped(terminal)
    assert paired.rauc == before
    assert not (paired.home / "upload.json").exists()


# ------------------------------------------------------------------------------------ Ctrl-C where no box takes part


def test_ctrl_c_in_the_middle_of_a_card_says_that_it_does_not_boot(laptop: Laptop, tmp_path: Path) -> None:
    content = bytearray(np.random.default_rng(5).bytes(16 << 20))
    content[510:512] = b"\x55\xaa"
    content[1 << 20 : (1 << 20) + BLOCK_BYTES] = MARK + b"#" * (BLOCK_BYTES - len(MARK))
    (tmp_path / "box.img.xz").write_bytes(lzma.compress(bytes(content), preset=0))  # takes its time to be unpacked
    card = tmp_path / "card"
    card.write_bytes(b"\xa5" * (18 << 20))
    with laptop.at_terminal("flash", "box.img.xz", "card", "--yes") as terminal:
        terminal.expect("write and verify")
        wait_for(lambda: card.read_bytes()[:512] == bytes(512), "nothing is written")
        stopped(terminal, said="it does not boot now, the same command begins anew")
    assert card.read_bytes()[:512] == bytes(512)
    assert laptop.run("flash", "box.img.xz", "card", "--yes").status == 0
    assert card.read_bytes()[510:512] == b"\x55\xaa"


def test_ctrl_c_in_the_terminal_of_a_box_goes_to_the_box(laptop: Laptop, tmp_path: Path) -> None:
    with Cable(tmp_path / "cable") as cable:
        end = os.open(cable.ends["box"], os.O_RDWR | os.O_NOCTTY)
        tty.setraw(end)
        with laptop.at_terminal("console", "--serial", cable.ends["laptop"]) as terminal:
            terminal.expect("Ctrl-] leaves")
            os.write(end, b"top: 12 users\n")
            terminal.expect("12 users")
            wait_for(lambda: terminal.is_raw, "it never took the keys for the box")
            terminal.interrupt()
            wait_for(lambda: select.select([end], [], [], 0)[0], "Ctrl-C never came")
            assert os.read(end, 10) == b"\x03"
            terminal.type("\x1d")
            assert terminal.end() == 0
        os.close(end)


NEEDED = ("aarch64-linux-gnu-gcc", "depmod", "dpkg-deb", "mcopy", "mkfs.vfat", "mke2fs", "mksquashfs", "zstd")


def test_ctrl_c_in_the_middle_of_building_an_image_leaves_no_half_of_one(laptop: Laptop, tmp_path: Path) -> None:
    places = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
    if missing := [name for name in NEEDED if shutil.which(name, path=places) is None]:
        pytest.skip(f"an image needs {', '.join(missing)}")
    KeyFolder(folder=tmp_path / "keys").make("somebody", 90)
    program(tmp_path / "bin", "apt-get", f'touch "{tmp_path}/asked"; sleep 600')
    words = ["build", "--board", "qemu_arm64", "--keyring", "keys/ca.pem", "--out", "made/image", "--cache", "cache"]
    with laptop.at_terminal("image", *words, path=tmp_path / "bin") as terminal:
        wait_for((tmp_path / "asked").exists, "it never began")
        stopped(terminal, said="stopped before the end, nothing has changed")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize("verb", ["make", "verify"])
def test_ctrl_c_in_the_middle_of_a_bundle_leaves_no_half_of_one(laptop: Laptop, tmp_path: Path, verb: str) -> None:
    if shutil.which("mksquashfs") is None:
        pytest.skip("a bundle needs mksquashfs")
    KeyFolder(folder=tmp_path / "keys").make("somebody", 90)
    make_bundle(tmp_path / "in.raucb", n_blocks=8)
    (tmp_path / "image").mkdir()
    for part in ("rootfs.squashfs", "boot.vfat"):
        (tmp_path / "image" / part).write_bytes(b"x" * 4096)
    record = '{"compatible": "evenhand-sim", "version": "2", "files": {"root": {"sha256": "00"}}}'
    (tmp_path / "image" / "image.json").write_text(record)
    program(tmp_path / "bin", "rauc", f'touch "{tmp_path}/asked"; sleep 600')
    (tmp_path / "scratch").mkdir()
    words: dict[str, list[object]] = {
        "make": ["image", "bundle", "--image", "image", "--keys", "keys", "--out", "out.raucb"],
        "verify": ["bundle", "verify", "in.raucb", "--keyring", "keys/ca.pem"],
    }
    before = set(tmp_path.iterdir())
    with laptop.at_terminal(*words[verb], path=tmp_path / "bin") as terminal:
        wait_for((tmp_path / "asked").exists, "it never began")
        stopped(terminal, said="stopped")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "asked"}
