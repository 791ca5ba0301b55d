"""Parts of the update agent by themselves: what must hold whatever the network does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from board_configs.board import load_board
from firmware.control.control import Control
from firmware.errors import EvenhandError
from firmware.observation import ChannelSetup
from firmware.tests.live_rig import LiveRig, play, started
from firmware.tests.segment_rig import Damage, EngineSide
from firmware.update import seed_network
from firmware.update.api import Api, Identity, Places
from firmware.update.backup import make_backup, read_backup
from firmware.update.certificate import tls_context
from firmware.update.events import Events
from firmware.update.http import CABLE, Answer, Limits, Request, Server
from firmware.update.pairing import Pairing, key_of, proof
from firmware.update.rauc import Rauc
from firmware.update.refusal import Refusal
from firmware.update.seed import read_seed
from firmware.update.sounding import QUIET_S, Ear
from firmware.update.updater import Updater
from firmware.update.upload import SYNC_EVERY_BYTES, Upload
from firmware.update.verity import check_payload

# ---------------------------------------------------------------------------------------------------------- bundles


@pytest.fixture(scope="module")
def real_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that RAUC itself has made, of two images, 1.5 MiB of noise."""
    if not (shutil.which("rauc") and shutil.which("mksquashfs") and shutil.which("openssl")):
        pytest.skip("rauc, squashfs-tools and openssl make a bundle to compare with")
    folder = tmp_path_factory.mktemp("rauc")
    content = folder / "content"
    content.mkdir()
    for name, seed in (("root.img", 1), ("boot.img", 2)):
        (content / name).write_bytes(np.random.default_rng(seed).bytes(768 << 10))
    (content / "manifest.raucm").write_text(
        "[update]\ncompatible=evenhand-sim\nversion=0.2.0\n[bundle]\nformat=verity\n"
        "[image.rootfs]\nfilename=root.img\n[image.boot]\nfilename=boot.img\n"
    )
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "60", "-subj",
             "/CN=test", "-keyout", folder / "key", "-out", folder / "pem"]  # fmt: skip
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    made = folder / "real.raucb"
    keys = [f"--cert={folder / 'pem'}", f"--key={folder / 'key'}", f"--keyring={folder / 'pem'}"]
    subprocess.run(["rauc", *keys, "bundle", content, made], check=True, capture_output=True)
    return made


def test_what_rauc_has_made_is_found_whole(real_bundle: Path) -> None:
    check_payload(real_bundle)


@pytest.mark.parametrize("place", [0.0, 0.31, 0.77, 0.999])
def test_a_changed_byte_of_what_rauc_has_made_is_found(real_bundle: Path, tmp_path: Path, place: float) -> None:
    content = bytearray(real_bundle.read_bytes())
    n_payload = len(content) - 8 - int.from_bytes(content[-8:], "big") - 20 * 4096
    content[int(place * n_payload)] ^= 0x10
    changed = tmp_path / "changed.raucb"
    changed.write_bytes(content)
    with pytest.raises(Refusal, match="damaged or tampered with"):
        check_payload(changed)


@pytest.mark.parametrize("n_bytes", [0, 7, 8, 5000, 100_000])
def test_what_is_no_bundle_is_told_and_not_read_for_long(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "x"
    for content in (b"\0" * n_bytes, b"\xff" * n_bytes, os.urandom(n_bytes)):
        path.write_bytes(content)
        with pytest.raises(Refusal, match="is no update bundle"):
            check_payload(path)


# ----------------------------------------------------------------------------------------------------------- upload


async def as_body(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 65536):
        yield content[at : at + 65536]


def announced(upload: Upload, content: bytes, laptop: str = "a") -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    upload.announce({"size_bytes": len(content), "sha256": sha256, "name": "x"}, laptop)
    return sha256


def test_after_a_power_cut_only_what_was_synced_counts(tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(SYNC_EVERY_BYTES + 3_000_000)
    upload = Upload(tmp_path)
    upload_id = announced(upload, content)
    half = SYNC_EVERY_BYTES + 1_000_000
    asyncio.run(upload.append(upload_id, 0, half, as_body(content[:half])))
    with (tmp_path / "bundle.part").open("ab") as file:
        file.write(b"torn")  # written, and the power went before it was synced
    after = Upload(tmp_path)
    assert after.as_record()["offset_bytes"] == half
    asyncio.run(after.append(upload_id, half, None, as_body(content[half:])))
    assert after.is_complete
    assert after.path.read_bytes() == content


def test_another_laptop_waits_until_the_first_has_given_up_and_the_first_may_change_its_mind(tmp_path: Path) -> None:
    now_s = 100.0
    upload = Upload(tmp_path, clock=lambda: now_s)
    announced(upload, b"one", "a")
    with pytest.raises(Refusal, match="another upload is under way"):
        announced(upload, b"two", "b")
    announced(upload, b"three", "a")
    now_s += 61.0
    announced(upload, b"two", "b")


def test_a_full_disk_keeps_what_came_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], capture_output=True)
    if done.returncode:
        pytest.skip("only root may mount a disk that is too small")
    try:
        with pytest.raises(Refusal, match="do not fit: 0 MiB are free") as refused:
            announced(Upload(tmp_path), bytes(8 << 20))
        assert refused.value.status == 507
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# ---------------------------------------------------------------------------------------------------------- pairing


def test_wrong_codes_are_counted_in_a_row_and_the_pause_ends(tmp_path: Path) -> None:
    now_s = 0.0
    pairing = Pairing(tmp_path, "AAAA-BBBB", clock=lambda: now_s)
    nonce = "0" * 32

    def try_code(code: str) -> dict[str, str]:
        shown = proof(key_of(code, "f" * 64, nonce), "laptop")
        return pairing.pair({"name": "x", "nonce": nonce, "proof": shown}, "f" * 64)

    for _ in range(5):
        with pytest.raises(Refusal, match="wrong pairing code"):
            try_code("AAAA-BBBC")
    with pytest.raises(Refusal, match="try again in 60 s"):
        try_code("AAAA-BBBB")
    now_s = 61.0
    given = try_code("aaaa bbbb")
    assert pairing.who(given["token"]).name == "x"
    assert pairing.who(given["token"][:-1]) is None
    assert Pairing(tmp_path, "AAAA-BBBB").code != "AAAABBBB", "a seed counts once"


def test_a_proof_seen_by_somebody_in_between_is_good_for_no_other_certificate(tmp_path: Path) -> None:
    pairing = Pairing(tmp_path, "AAAA-BBBB")
    overheard = proof(key_of("AAAA-BBBB", "certificate of the one in between", "0" * 32), "laptop")
    with pytest.raises(Refusal, match="wrong pairing code"):
        pairing.pair({"name": "x", "nonce": "0" * 32, "proof": overheard}, "f" * 64)


@pytest.mark.parametrize(
    "text", ["", "name = ", 'name = 3\npairing_code = "short"', "\xff", "#" * 9000, "name = '\\n'"]
)
def test_a_seed_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "seed").write_text(text, encoding="latin-1")
    seed = read_seed(tmp_path / "seed")
    assert seed.pairing_code is None
    assert read_seed(tmp_path / "absent") == read_seed(None)


def test_a_fixed_address_of_the_seed_is_what_systemd_networkd_reads(tmp_path: Path) -> None:
    seed, out = tmp_path / "seed", tmp_path / "made" / "05.network"
    seed.write_text('address = "10.0.0.5/24"\ngateway = "10.0.0.1"\ndns = "x\\nAddress=1.2.3.4"\n')
    assert seed_network.main(["--seed", str(seed), "--out", str(out)]) == 0
    assert out.read_text().splitlines()[1:] == [
        "[Match]", "Type=ether", "", "[Network]", "Address=10.0.0.5/24", "Gateway=10.0.0.1",
    ]  # fmt: skip
    for text in ("", 'address = "10.0.0.5"', 'address = "here/24"', "address = 5"):
        seed.write_text(text)
        assert seed_network.main(["--seed", str(seed), "--out", str(tmp_path / "none")]) == 0
        assert not (tmp_path / "none").exists()


def test_a_backup_of_random_bytes_is_refused_and_one_of_ours_is_read(tmp_path: Path) -> None:
    content = make_backup(tmp_path, tmp_path / "box.env", version="0.1.0", contract_id="c", box="b")
    assert read_backup(content, version="0.1.0").files == {}
    rng = np.random.default_rng(5)
    for _ in range(300):
        broken = bytearray(content)
        broken[rng.integers(len(broken))] = rng.integers(256)
        try:
            read_backup(bytes(broken), version="0.1.0")
        except Refusal:
            continue
        # Only the head may differ: it is for people.
        assert broken.partition(b"\n")[2] == content.partition(b"\n")[2]


# ----------------------------------------------------------------------------------------------------------- server

QUICK = Limits(handshake_s=0.3, header_s=0.4, body_idle_s=0.3, body_grace_s=0.2, min_body_bytes_s=1e6, write_s=0.5,
               max_connections=4, farewell_s=0.2)  # fmt: skip


async def handler(request: Request) -> Answer:
    body = b"".join([part async for part in request.body()])
    return Answer(value={"n_bytes": len(body)})


@contextmanager
def serving(tmp_path: Path, limits: Limits = QUICK) -> Iterator[int]:
    """Yield the port of a server in a thread of its own."""
    lines: list[str] = []
    tls, _ = tls_context(tmp_path, "0")
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    loop = asyncio.new_event_loop()
    task = loop.create_task(Server(handler, tls, lines.append, limits).serve(listening))

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
        listening.close()
    assert lines == []


def connect(port: int, whence: str = "127.0.0.1") -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(whence, 0)))


def all_of(raw: ssl.SSLSocket) -> bytes:
    content = b""
    try:
        while data := raw.recv(65536):
            content += data
    except OSError:
        pass
    return content


def error_of(content: bytes) -> Any:
    return json.loads(content.partition(b"\r\n\r\n")[2])["error"]


def test_a_slow_head_is_let_go_and_a_slow_body_is_told(tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        with connect(port) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nX: ")
            assert all_of(raw) == b""
        with connect(port) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
            assert "nothing came for 0.3 s; go on from the offset" in error_of(all_of(raw))
        with connect(port) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
            content = b""
            for _ in range(20):
                try:
                    raw.sendall(b"x")
                except OSError:
                    break
                raw.settimeout(0.05)
                try:
                    content += raw.recv(65536)
                except TimeoutError:
                    continue
                if content:
                    break
            raw.settimeout(30)
            assert "slower than 1e+06 bytes a second" in error_of(content + all_of(raw))


def test_who_comes_over_a_serial_cable_is_waited_for_and_nobody_else(tmp_path: Path) -> None:
    assert Limits().of("127.0.0.1") == Limits().of("::ffff:192.0.2.7") == Limits()
    assert Limits().of("::ffff:127.0.0.2").handshake_s == 50.0
    with serving(tmp_path) as port, connect(port, CABLE) as cabled, connect(port) as other:
        for raw in (cabled, other):
            raw.sendall(b"GET / HTTP/1.1\r\nHost: ")
        time.sleep(3 * QUICK.header_s)
        cabled.sendall(b"x\r\n\r\n")
        assert cabled.recv(65536).startswith(b"HTTP/1.1 200")
        assert all_of(other) == b""


def test_connections_that_never_speak_do_not_keep_others_out_for_long(tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(12)]
        assert all(one.recv(1) == b"" for one in silent), "they are let go"
        with connect(port) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b'{"n_bytes": 0}' in raw.recv(65536)
        for one in silent:
            one.close()


def test_one_connection_serves_many_requests_and_a_broken_off_body_harms_nobody(tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        with connect(port) as raw:
            for n in (0, 10, 0, 65536):
                raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n)
                assert raw.recv(65536).endswith(b'{"n_bytes": %d}' % n)
        with connect(port) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        with connect(port) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.recv(65536).startswith(b"HTTP/1.1 200")


# --------------------------------------------------------------------------------------------------------- the show


def test_nothing_is_interrupted_while_sound_is_passing(tmp_path: Path) -> None:
    later_s = 0.0
    channels = [ChannelSetup(name="Vox")]
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)[:, None].astype(np.float32)
    with LiveRig(channels) as rig, started(rig, Control(channels, sample_rate_hz=48000.0)) as lockstep:
        ear = Ear(rig.segment_path, clock=lambda: time.monotonic() + later_s)
        updater = Updater(Rauc("rauc-is-not-here"), Upload(tmp_path), ear, Events(), version="0.1.0",
                          restart_request=tmp_path / "restart")  # fmt: skip
        ear.listen()
        assert (ear.engine_state, ear.why_not_now) == ("running", None)
        play(rig, lockstep, tone, 960)
        ear.listen()
        assert ear.peak_dbfs > -50.0
        with pytest.raises(Refusal, match=r"sound is passing .* say --even-if-sounding") as refused:
            asyncio.run(updater.restart(even_if_sounding=False))
        assert refused.value.facts == {"is_sounding": True}
        assert not (tmp_path / "restart").exists()
        asyncio.run(updater.restart(even_if_sounding=True))
        assert (tmp_path / "restart").exists()
        later_s = QUIET_S + 10.0  # the engine's last word is as old then: it says nothing any more
        ear.listen()
        assert ear.why_not_now is None
        ear.close()


def test_status_and_checkup_tell_of_the_engine_as_it_is_when_they_are_asked(tmp_path: Path) -> None:
    """Not as it was at the last look at the meters: half a second is longer than a start takes."""
    ear, events = Ear(tmp_path / "segment"), Events()
    upload, rauc = Upload(tmp_path), Rauc("rauc-is-not-here")
    api = Api(
        Identity(box_id="1", name="stage", version="0.1.0", fingerprint=""), load_board("sim"),
        Places(data=tmp_path, settings=tmp_path, recordings=tmp_path, decisions=tmp_path, journalctl=""),
        pairing=Pairing(tmp_path, None), upload=upload, events=events, ear=ear,
        updater=Updater(rauc, upload, ear, events, version="0.1.0", restart_request=tmp_path / "restart"),
    )  # fmt: skip

    def told() -> tuple[str, str]:
        """Return what both say."""
        status, checkup = asyncio.run(api._status(None)).value, asyncio.run(api._checkup(None)).value
        assert status["engine"]["counters"].get("engine_starts", 0) == (status["engine"]["state"] != "absent")
        return status["engine"]["state"], checkup["findings"][0]["text"]

    ear.listen()
    assert told() == ("absent", "does not run; see `evenhand logs`")
    with EngineSide(tmp_path / "segment"), Damage(tmp_path / "segment") as damage:
        assert told() == ("starting", "starting")
        damage.number("state", 1)
        assert told() == ("running", "runs")
    (tmp_path / "segment").unlink()
    assert told() == ("absent", "does not run; see `evenhand logs`")
    ear.close()


def test_a_segment_that_cannot_be_looked_at_is_no_silence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    ear = Ear(tmp_path / "folder")
    ear.listen()
    assert "cannot tell whether sound is passing" in ear.why_not_now
    absent = Ear(tmp_path / "absent")
    absent.listen()
    assert absent.why_not_now is None
    assert absent.engine_state == "absent"


def test_rauc_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match="no image was written here"):
        Rauc(str(tmp_path / "rauc")).system()
