"""The update agent's unit under a real systemd: what it may do, and what it costs the sound when it is abused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from firmware.tests.systemd_rig import why_not
from firmware.tests.unit_box import ENGINE, Box, box_with_a_card

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no systemd of our own: {why_not()}")


@pytest.fixture(scope="module")
def mixer() -> Iterator[Box]:
    with box_with_a_card() as box:
        box.start()
        yield box


# Pairs with the agent from inside.
PAIR = """
import http.client, json, ssl
from firmware.update.certificate import Path, hashlib
from firmware.update.pairing import key_of, proof
from dsp_kernels.contract.generated.contract import CONTRACT_ID
code = Path("/var/lib/evenhand-agent/pairing-code").read_text()
pem = Path("/var/lib/evenhand-agent/box.pem").read_text()
fingerprint, nonce = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest(), "0" * 32
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def ask(method, path, body=None, token="", whence="127.0.0.1"):
    connection = http.client.HTTPSConnection("127.0.0.1", 4717, context=context, timeout=30, source_address=(whence, 0))
    connection.request(method, "/v1/" + path, body, {"Authorization": "Bearer " + token})
    return json.loads(connection.getresponse().read())
shown = proof(key_of(code, fingerprint, nonce), "laptop")
token = ask("POST", "pair", json.dumps({"name": "x", "nonce": nonce, "proof": shown}))["token"]
"""

# Asks how the mixer is, keeps a scene, and asks for a restart.
ASK = (
    PAIR
    + """
scene = 'contract_id = "%s"\\n' % CONTRACT_ID
print(json.dumps({
    "status": ask("GET", "status", token=token),
    "put": ask("PUT", "scenes/Verse", scene, token),
    "checkup": ask("GET", "checkup", token=token),
    "restart": ask("POST", "restart", "{}", token),
}))
"""
)

# Does for a while all at once what strangers and laptops gone mad do, and says what came of it.
ABUSE = (
    PAIR
    + """
import collections, os, socket, threading, time
SECONDS = 20
def counters():
    return ask("GET", "status", token=token)["engine"]["counters"]
quiet = counters()
time.sleep(SECONDS)
before = counters()
ends_s, answers = time.monotonic() + SECONDS, collections.Counter()
# Each kind comes from an address of its own: eight requests of one are answered at once, not more.
def raw(whence):
    return context.wrap_socket(socket.create_connection(("127.0.0.1", 4717), timeout=30, source_address=(whence, 0)))
def again(what, whence):
    def run():
        while time.monotonic() < ends_s:
            try:
                answers[what.__name__, what(whence)] += 1
            except OSError as error:
                answers[what.__name__, type(error).__name__] += 1
    return threading.Thread(target=run)
def told(whence, method, path, body=None, token=token):
    return ask(method, path, body, token, whence).get("error", "done")[:60]
def hundred_gigabytes(whence):
    asked = {"size_bytes": 100 << 30, "sha256": "0" * 64, "name": "x.raucb"}
    return told(whence, "POST", "upload", json.dumps(asked))
def wrong_token(whence):
    return told(whence, "GET", "status", token="0" * 64)
def path_trick(whence):
    return told(whence, "GET", "recordings/..%2f../%2fetc%2fpasswd")
def crowd(whence):
    return told(whence, "GET", "events?after=0&wait_s=1")
def slow_loris(whence):
    with raw(whence) as line:
        for _ in range(20):
            line.send(b"x")
            time.sleep(0.2)
    return "waited for"
def noise(whence):
    with raw(whence) as line:
        line.sendall(os.urandom(1 << 20))
        return line.recv(100)[9:12].decode()
def upload(whence):
    told(whence, "DELETE", "upload")
    told(whence, "POST", "upload", json.dumps({"size_bytes": 8 << 20, "sha256": "1" * 64, "name": "x.raucb"}))
    connection = http.client.HTTPSConnection("127.0.0.1", 4717, context=context, timeout=30, source_address=(whence, 0))
    head = {"Authorization": "Bearer " + token, "Upload-Offset": "0"}
    connection.request("PATCH", "/v1/upload/" + "1" * 64, bytes(8 << 20), head)
    return json.loads(connection.getresponse().read()).get("error", "done")[:40]
kinds = {crowd: 50, slow_loris: 8, upload: 1, hundred_gigabytes: 1, wrong_token: 1, path_trick: 1, noise: 1}
threads = [again(kind, f"127.0.0.{at}") for at, (kind, n) in enumerate(kinds.items(), start=2) for _ in range(n)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for _ in range(60):  # the last of the crowd are let go
    after = ask("GET", "status", token=token)
    if "engine" in after:
        break
    time.sleep(0.5)
print(json.dumps({
    "quiet": quiet, "before": before, "after": after["engine"]["counters"], "state": after["engine"]["state"],
    "answers": {" ".join(key): n for key, n in sorted(answers.items())},
}))
"""
)


def test_the_agent_looks_at_the_mixer_from_a_sandbox_and_a_user_of_its_own(mixer: Box) -> None:
    mixer.run("systemd-tmpfiles", "--create", "/etc/evenhand-units/tmpfiles.d/evenhand.conf")
    mixer.run("ip", "link", "set", "lo", "up")
    done = mixer.run("systemctl", "start", "evenhand-agent.service", check=False)
    assert done.returncode == 0, done.stderr + mixer.log("evenhand-agent") + mixer.console_text()[-3000:]
    mixer.wait_for(lambda: mixer.is_active("evenhand-agent.service"), "the agent does not start")
    python = "cd /opt/evenhand && exec .venv/bin/python -c"
    told = json.loads(mixer.run("sh", "-c", f'{python} "$0"', ASK).stdout)
    assert told["status"]["engine"]["state"] == "running"
    assert told["status"]["engine"]["counters"]["periods"] > 0
    assert told["status"]["sound"]["why_not_now"] is None, "silence was taken for sound, or nothing was heard"
    assert told["put"] == told["restart"] == {}
    findings = {finding["what"]: finding for finding in told["checkup"]["findings"]}
    assert findings["real time"]["is_well"] is True
    assert mixer.run("stat", "-c", "%U %G %a", "/var/lib/evenhand/scenes/Verse.toml").stdout.split() == [
        "evenhand-agent", "evenhand", "660",
    ]  # fmt: skip
    mixer.run("test", "-e", "/run/evenhand-agent/restart")
    as_agent = ["setpriv", "--reuid=evenhand-agent", "--regid=evenhand-agent", "--groups=evenhand"]
    for path in ("/var/lib/evenhand/state/x", "/run/evenhand/x", "/var/lib/evenhand/recordings/x"):
        assert mixer.run(*as_agent, "touch", path, check=False).returncode != 0, path
    assert mixer.run(*as_agent, "kill", "-0", str(mixer.main_pid(ENGINE)), check=False).returncode != 0
    assert "Traceback" not in mixer.log("evenhand-agent")
    mixer.run("systemctl", "stop", "evenhand-agent.service")


@pytest.mark.soak
def test_an_abused_agent_costs_the_engine_no_period(mixer: Box) -> None:
    mixer.run("systemd-tmpfiles", "--create", "/etc/evenhand-units/tmpfiles.d/evenhand.conf")
    mixer.run("ip", "link", "set", "lo", "up")
    mixer.run("systemctl", "start", "evenhand-agent.service")
    mixer.wait_for(lambda: mixer.is_active("evenhand-agent.service"), "the agent does not start")
    engine, agent = mixer.main_pid(ENGINE), mixer.main_pid("evenhand-agent.service")
    told = json.loads(
        mixer.run("sh", "-c", 'cd /opt/evenhand && exec .venv/bin/python -c "$0"', ABUSE, timeout_s=600).stdout
    )
    answers, quiet, before, after = told["answers"], told["quiet"], told["before"], told["after"]
    n_lost, n_lost_before = (b["periods_lost"] - a["periods_lost"] for a, b in ((before, after), (quiet, before)))
    print(f"abuse: {sum(answers.values())} requests, {after['periods'] - before['periods']} periods, {n_lost} lost; "
          f"as long without: {before['periods'] - quiet['periods']}, {n_lost_before} lost; {answers}")  # fmt: skip
    assert mixer.main_pid("evenhand-agent.service") == agent, "it was worn out"
    for what, said in {
        "hundred_gigabytes": "a bundle has at most", "wrong_token": "this box does not know you",
        "path_trick": "is no name in a recording", "crowd": "requests from",
        "noise": "400", "upload": "all came, and it is not what was",
    }.items():  # fmt: skip
        assert any(name.startswith(what) and said in name for name in answers), (what, answers)
    assert "Traceback" not in mixer.log("evenhand-agent")
    mixer.run("systemctl", "stop", "evenhand-agent.service")
    assert after["periods"] > before["periods"] + 1000, "the engine stood still"
    assert (told["state"], mixer.main_pid(ENGINE)) == ("running", engine)
    if n_lost_before:
        pytest.skip(f"this machine loses {n_lost_before} periods without any abuse, {n_lost} with it: it cannot tell")
    assert (n_lost, after["xruns"]) == (0, before["xruns"])
