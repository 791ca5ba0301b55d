"""What strangers, and laptops gone mad, can do to a box: nothing that anybody hears, and each is told why."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.boxes import PairedBox
from host_tools.device import Device
from host_tools.errors import HostError, RefusedError
from host_tools.tests.box_rig import FakeBox

MAX_MEMORY_BYTES = 120 << 20


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeBox]:
    with FakeBox(tmp_path_factory.mktemp("box"), options=["--max-bundle-mb", "100"]) as running:
        (running.data / "scenes" / "Verse.toml").write_text("secret")
        (running.folder / "outside.toml").write_text("outside")
        take = running.recordings / "2026-01-01_Friday"
        take.mkdir()
        (take / "mix.wav").write_bytes(bytes(range(256)) * 40)
        (take / "link.wav").symlink_to(running.folder / "outside.toml")
        yield running


@pytest.fixture(scope="module")
def known(rig: FakeBox) -> PairedBox:
    return rig.pair()


@pytest.fixture
def device(known: PairedBox) -> Iterator[Device]:
    with Device.of(known) as connected:
        yield connected


def memory_bytes(rig: FakeBox) -> int:
    lines = Path(f"/proc/{rig.process.pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def connect(rig: FakeBox) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", rig.port), timeout=30))


def talk(rig: FakeBox, said: bytes) -> tuple[int, dict[str, object]]:
    """Return status and object of the answer to raw bytes."""
    with connect(rig) as raw:
        raw.sendall(said)
        head, _, body = read_all(raw).partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


def read_all(raw: ssl.SSLSocket) -> bytes:
    content = b""
    try:
        while data := raw.recv(65536):
            content += data
    except (ConnectionError, ssl.SSLError):
        pass
    return content


def announce(device: Device, size_bytes: int, content: bytes = b"") -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    device.post("upload", size_bytes=size_bytes, sha256=sha256, name="x.raucb")
    return sha256


# ------------------------------------------------------------------------------------------------------------ size


def test_a_hundred_gigabytes_announced_are_refused_and_reserve_nothing(device: Device, rig: FakeBox) -> None:
    with pytest.raises(RefusedError, match="a bundle has at most 104857600") as refused:
        announce(device, 100 << 30)
    assert refused.value.status == 413
    assert device.get("upload")["size_bytes"] == 0
    assert not (rig.home / "bundle.part").exists()


def test_a_hundred_gigabytes_in_one_request_are_refused_at_its_head(
    rig: FakeBox, known: PairedBox, device: Device
) -> None:
    upload_id = announce(device, 1000)
    head = (
        f"PATCH /v1/upload/{upload_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {known.token}\r\n"
        f"Upload-Offset: 0\r\nContent-Length: {100 << 30}\r\n\r\n"
    ).encode()
    status, told = talk(rig, head + b"x" * 100_000)
    assert (status, told["error"]) == (413, f"{100 << 30} bytes sent, 1000 are missing; send what was announced")
    assert device.get("upload")["offset_bytes"] == 0


def test_a_body_without_a_length_ends_where_the_announced_size_ends(
    rig: FakeBox, known: PairedBox, device: Device
) -> None:
    upload_id = announce(device, 1000)
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = (
        f"PATCH /v1/upload/{upload_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {known.token}\r\n"
        "Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    status, told = talk(rig, head + chunk * 3)
    assert (status, told["error"]) == (413, "more bytes than were announced; they are not taken")
    assert (rig.home / "bundle.part").stat().st_size == 0


def test_what_arrives_is_what_was_announced_or_nothing(device: Device, rig: FakeBox) -> None:
    content = b"x" * 5000
    upload_id = announce(device, 5000, b"something else")
    with pytest.raises(RefusedError, match="stands at 0 bytes"):
        device.send("PATCH", "upload", upload_id, body=b"x", headers={"upload-offset": "7"})
    with pytest.raises(RefusedError, match="it is not what was announced"):
        device.send("PATCH", "upload", upload_id, body=content, headers={"upload-offset": "0"})
    assert list(rig.home.glob("bundle*")) == []
    for verb in ("verify", "install"):
        with pytest.raises(RefusedError, match="no complete bundle is here"):
            device.post(verb)


def test_a_body_larger_than_an_object_may_be_is_not_read(device: Device, rig: FakeBox) -> None:
    with pytest.raises(RefusedError, match="at most 65536 are taken here"):
        device.send("POST", "upload", body=b"[" * (1 << 20))
    with pytest.raises(RefusedError, match="is not JSON"):
        device.send("POST", "upload", body=b"[" * 60_000)
    assert memory_bytes(rig) < MAX_MEMORY_BYTES


# ----------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["../outside", "..%2foutside", "/etc/passwd", ".", "..", "a/b", "a\0b", "x" * 300, ""])
def test_no_name_leads_out_of_the_scenes(device: Device, rig: FakeBox, name: str) -> None:
    for method, body in (("GET", b""), ("PUT", b"x"), ("DELETE", b"")):
        with pytest.raises(RefusedError) as refused:
            device.send(method, "scenes", name, body=body)
        assert refused.value.status in (400, 404), refused.value
    assert sorted(path.name for path in rig.folder.glob("*.toml")) == ["outside.toml", "seed.toml"]
    assert (rig.folder / "outside.toml").read_text() == "outside"


@pytest.mark.parametrize(
    "target", ["/v1/scenes/../../outside", "/v1/recordings/..%2f../box.env", "/../etc/passwd", "*"]
)
def test_no_raw_path_leads_anywhere(rig: FakeBox, known: PairedBox, target: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {known.token}\r\nConnection: close\r\n\r\n"
    status, told = talk(rig, request.encode())
    assert status in (400, 404)
    assert set(told) == {"error"}


@pytest.mark.parametrize(
    ("recording", "name"),
    [("..", "seed.toml"), ("2026-01-01_Friday", "../../box.env"), ("2026-01-01_Friday", "link.wav"), (".", "x"),
     ("2026-01-01_Friday", ".."), ("nothing", "mix.wav")],
)  # fmt: skip
def test_no_name_leads_out_of_the_recordings(device: Device, recording: str, name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        device.read("recordings", recording, name)
    assert refused.value.status in (400, 404)


def test_what_is_no_scene_is_not_kept(device: Device, rig: FakeBox) -> None:
    with pytest.raises(RefusedError, match="names no contract_id, so it is no scene"):
        device.send("PUT", "scenes", "Verse", body=b"title = 'x'")
    assert (rig.data / "scenes" / "Verse.toml").read_text() == "secret"
    assert [p.name for p in (rig.data / "scenes").iterdir()] == ["Verse.toml"]


# ------------------------------------------------------------------------------------------------- crowds and patience


def test_fifty_at_once_are_served_or_refused_with_a_reason_and_memory_stays(rig: FakeBox, known: PairedBox) -> None:
    answers: list[str] = []

    def one() -> None:
        try:
            with Device.of(known) as mine:
                mine.get("events", after=0, wait_s=2)
                answers.append("served")
        except HostError as error:
            answers.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 50
    assert answers.count("served") >= 8
    refused = {answer for answer in answers if answer != "served"}
    assert refused <= {"127.0.0.1: 8 requests from 127.0.0.1 are being answered already; try again"}
    assert memory_bytes(rig) < MAX_MEMORY_BYTES
    with Device.of(known) as after:
        assert after.get("status")["name"] == "stage"


@pytest.mark.soak
def test_slow_clients_are_let_go_and_do_not_keep_others_out(rig: FakeBox, known: PairedBox) -> None:
    began_s = time.monotonic()
    crowd = [connect(rig) for _ in range(6)]
    for raw in crowd:
        raw.sendall(b"GET /v1/hello HTTP/1.1\r\nX: ")
    silent = socket.create_connection(("127.0.0.1", rig.port), timeout=30)  # never begins its handshake
    while time.monotonic() - began_s < 9:
        for raw in crowd:
            raw.sendall(b"x")
        with Device.of(known) as other:
            assert other.get("hello")["name"] == "stage"
        time.sleep(0.5)
    for raw in crowd:
        assert read_all(raw) == b"", "it was answered"
        raw.close()
    assert silent.recv(1) == b""
    silent.close()
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize(
    "said",
    [b"\r\n" * 20_000, b"GET " + b"/" * 40_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000, b"\x16\x03" * 5000,
     b"GET / HTTP/x\r\n\r\n", b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
         b"GET /v1/hello?" + b"a=1&" * 50 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
         b"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"],
    ids=["newlines", "long path", "many headers", "binary", "version", "address", "many fields", "negative length"],
)  # fmt: skip
def test_what_is_no_request_is_answered_as_such(rig: FakeBox, said: bytes) -> None:
    status, told = talk(rig, said)
    assert 400 <= status < 500
    assert "no HTTP request" in str(told["error"])


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "\xe9"])
def test_a_method_that_nobody_asked_for_is_answered_too(rig: FakeBox, method: str) -> None:
    with connect(rig) as raw:
        raw.sendall(f"{method} /v1/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
        head, _, body = read_all(raw).partition(b"\r\n\r\n")
    assert 400 <= int(head.split()[1]) < 500
    assert (body == b"") == (method == "HEAD")


def test_a_box_that_was_abused_has_nothing_to_hide(rig: FakeBox, device: Device) -> None:
    assert rig.lines == [], "something went wrong inside"
    assert rig.n_starts == 1
    assert device.get("status")["update"]["state"] == "idle"
