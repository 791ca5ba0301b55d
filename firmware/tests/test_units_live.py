"""The units under a real systemd, with a card that ticks: what is restarted by what, and what each process may do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from board_configs.board import load_board
from firmware.segment import Segment
from firmware.system.alsa_config import alsa_config_text
from firmware.system.board_units import write_board_units
from firmware.system.virtual_card import VirtualCard
from firmware.tests import sandbox_probe
from firmware.tests.live_rig import PCM
from firmware.tests.systemd_rig import REPOSITORY, SystemdRig, can_raise_limits, why_not
from firmware.tests.unit_file import UNITS, UnitFile

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no systemd of our own: {why_not()}")

ENGINE, CONTROL, RECORDER = (f"evenhand-{name}.service" for name in ("engine", "control", "recorder"))
AUDIO_PRIORITY = 80
PROBED = ("engine", "control", "recorder")
TRIAL_S = 240.0  # a model is tried in each runtime and precision first: seconds on a machine that is not loaded
# A machine that may not raise limits (containers) gives the engine the two rights behind them instead; all else stays.
RIGHTS = "CAP_SYS_NICE CAP_IPC_LOCK"
STAND_IN = f"[Service]\nPrivateUsers=no\nAmbientCapabilities={RIGHTS}\nCapabilityBoundingSet={RIGHTS}\n"


class Box(SystemdRig):
    """A machine with Evenhand's units, a board and a virtual card that runs by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cores = sorted(os.sched_getaffinity(0))
        self.core, self.audio_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
        board = board_file(folder / "test_box.toml", self.core, self.audio_core)
        drop_ins = folder / "drop_ins"
        drop_ins.mkdir()
        files = {
            "etc/evenhand/box.env": changed(
                (UNITS / "box.env").read_text(),
                EVENHAND_BOARD="/etc/evenhand/test_box.toml",
                EVENHAND_ENGINE_OPTIONS=f"--pcm {PCM}",
                EVENHAND_CONTROL_OPTIONS="--markers /run/evenhand/markers",
            ),
            "etc/evenhand/test_box.toml": board.read_text(),
            "etc/evenhand/asound.conf": alsa_config_text({PCM: folder / "shared/card"})
            .replace(str(folder / "shared"), "/run/shared")
            .replace(str(REPOSITORY), "/opt/evenhand"),
            f"etc/evenhand-units/{ENGINE}.d/card.conf": "[Service]\nReadWritePaths=/run/shared\n"
            "Environment=ALSA_CONFIG_PATH=/etc/evenhand/asound.conf\n",
            # A Python with a shared library looks for it where it was built, which ProtectHome= may hide.
            "etc/evenhand-units/evenhand-agent.service.d/python.conf": "[Service]\n"
            "Environment=LD_LIBRARY_PATH=/opt/python/lib\n",
        }
        files |= {
            f"etc/evenhand-units/{path.relative_to(drop_ins)}": path.read_text()
            for path in write_board_units(load_board(board), drop_ins)
        }
        files |= {f"etc/evenhand-units/probe-{name}.service": probe_unit(name) for name in PROBED}
        if not can_raise_limits():
            files[f"etc/evenhand-units/{ENGINE}.d/rights.conf"] = STAND_IN
        super().__init__(files, folder / "shared")

    def start(self) -> None:
        """Have engine and control running, whatever a test before left behind."""
        for unit in (ENGINE, CONTROL):
            self.run("systemctl", "reset-failed", unit, check=False)
        self.run("systemctl", "start", "evenhand.target")
        self.wait_for(lambda: self.is_active(ENGINE) and self.is_active(CONTROL), "the mixer does not start")

    def is_active(self, unit: str) -> bool:
        """Whether a service says that it is ready."""
        return self.show(unit, "ActiveState")["ActiveState"] == "active"

    def wait_for_another(self, unit: str, pid: int) -> int:
        """Return the process that took the place of ``pid``, once it is ready."""

        def found() -> int:
            now = self.main_pid(unit)
            return now if now not in (0, pid) and self.is_active(unit) else 0

        another: int = self.wait_for(found, f"{unit} is not started again")
        return another

    def inside(self, path: str) -> Path:
        """Return a path of the box as this machine sees it."""
        return Path(f"/proc/{self.init_pid}/root{path}")

    def read(self, pid: int, file: str) -> str:
        """Return a file about a process."""
        return self.run("cat", f"/proc/{pid}/{file}").stdout


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="evenhand-test-", dir="/dev/shm"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "shared").mkdir()
        card = VirtualCard(folder / "shared/card", n_capture=20, n_playback=24, tape=False, recorder=False)
        stack.enter_context(card)
        yield stack.enter_context(Box(folder))


@pytest.fixture
def mixer(box: Box) -> Box:
    box.start()
    return box


def board_file(path: Path, core: int | None, audio_core: int | None) -> Path:
    """Write a board with the channels of a real one and two cores of this machine, if it has them."""
    cores = f"[cores]\naudio = {audio_core}\nanalysis = {core}\ncontrol = [{core}]\n" if core is not None else ""
    text = re.sub(r"(?s)\[cores\].*?\n(?=\[budget)", cores, load_board("raspberry_pi_4").path.read_text())
    path.write_text(text)
    return path


def changed(text: str, **values: str) -> str:
    for key, value in values.items():
        text, n = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert n == 1
    return text


def status_of(text: str, key: str) -> str:
    return re.search(rf"^{key}:\s*(.*)$", text, re.MULTILINE)[1]


# -------------------------------------------------------------------------------------------------------------- rights


def test_the_engine_gets_its_priority_its_cores_and_its_memory_and_no_other_right(mixer: Box) -> None:
    pid = mixer.main_pid(ENGINE)
    status = mixer.read(pid, "status")
    assert int(status_of(status, "VmLck").split()[0]) > 10_000  # kB: all of it
    assert status_of(status, "Seccomp") == "2"
    assert status_of(status, "NoNewPrivs") == "1"
    threads = mixer.run("sh", "-c", f"for t in /proc/{pid}/task/*; do chrt -p ${{t##*/}}; done").stdout
    assert threads.count("SCHED_FIFO") == 2
    assert f"priority: {AUDIO_PRIORITY}" in threads
    cores = mixer.run("sh", "-c", f"grep -h Cpus_allowed_list /proc/{pid}/task/*/status").stdout.split()[1::2]
    if mixer.core is not None:  # main, keeper, analysis; audio
        assert sorted(cores) == sorted(map(str, [mixer.core] * 3 + [mixer.audio_core]))
    if not can_raise_limits():
        return
    assert int(status_of(status, "CapEff"), 16) == 0
    limits = mixer.read(pid, "limits")
    assert re.search(r"realtime priority +90 +90", limits)
    assert re.search(r"locked memory +unlimited +unlimited", limits)
    assert mixer.read(pid, "oom_score_adj").strip() == "-900"


def test_control_has_no_right_at_all_and_keeps_to_its_cores(mixer: Box) -> None:
    pid = mixer.main_pid(CONTROL)
    status = mixer.read(pid, "status")
    assert int(status_of(status, "CapEff"), 16) == 0
    assert status_of(status, "Seccomp") == "2"
    assert mixer.read(pid, "oom_score_adj").strip() == "300"
    if mixer.core is not None:
        assert status_of(status, "Cpus_allowed_list") == str(mixer.core)


def test_a_real_time_thread_that_spins_is_ended_by_its_limit(mixer: Box) -> None:
    limit = f"LimitRTTIME={UnitFile(UNITS / ENGINE).one('LimitRTTIME')}"
    spin = ("/opt/evenhand/.venv/bin/python", "-c", "while True: pass")
    started_s = time.monotonic()
    rights = ("-p", "CPUSchedulingPolicy=fifo", "-p", "CPUSchedulingPriority=10", "-p", limit, "-p", "LimitCORE=0")
    mixer.run("systemd-run", "--unit=spin", *rights, *spin)
    mixer.wait_for(lambda: mixer.show("spin", "ActiveState")["ActiveState"] == "failed", "nobody ends it")
    assert mixer.show("spin", "ExecMainStatus")["ExecMainStatus"] == str(int(signal.SIGXCPU))
    assert time.monotonic() - started_s > 0.9  # of processor time, not sooner


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("engine", {"unix socket", "read the sound card", "write the shared folder"}),
        ("control", {"unix socket", "write the shared folder"}),
        ("recorder", {"write the shared folder"}),
    ],
)
def test_behind_its_sandbox_a_process_can_do_its_job_and_nothing_else(mixer: Box, name: str, allowed: set[str]) -> None:
    mixer.run("sh", "-c", "echo sound >/run/node && chgrp audio /run/node && chmod 0640 /run/node")
    mixer.run("systemctl", "start", f"probe-{name}.service")
    assert set(json.loads(mixer.log(f"probe-{name}"))) == allowed


def test_behind_controls_sandbox_a_model_is_loaded(mixer: Box) -> None:
    settings = mixer.inside("/etc/evenhand/box.env")
    before = settings.read_text()
    options = "--markers /run/evenhand/markers --model shipped"
    settings.write_text(changed(before, EVENHAND_CONTROL_OPTIONS=options))
    mixer.run("systemctl", "restart", CONTROL)
    mixer.wait_for(lambda: "decides with the rules" in mixer.log("evenhand-control"), "no model is loaded", TRIAL_S)
    settings.write_text(before)
    mixer.run("systemctl", "restart", CONTROL)


def test_the_probe_can_do_all_of_it_without_a_sandbox(mixer: Box) -> None:
    mixer.run("sh", "-c", "echo sound >/run/node")
    done = mixer.run("/opt/python/bin/python3", "/opt/evenhand/firmware/tests/sandbox_probe.py")
    assert set(json.loads(done.stdout)) == set(sandbox_probe.ATTEMPTS)


def probe_unit(name: str) -> str:
    """Return the unit of a process with its sandbox as it is, and the probe in place of the process."""
    command = "ExecStart=/opt/evenhand/.venv/bin/python /opt/evenhand/firmware/tests/sandbox_probe.py"
    text = re.sub(r"\\\n", " ", (UNITS / f"evenhand-{name}.service").read_text())
    text = re.sub(r"(?m)^(Type|Restart\w*|WatchdogSec|NotifyAccess|OnFailure|PartOf|Requires)=.*\n", "", text)
    return re.sub(r"(?m)^ExecStart=.*$", f"Type=oneshot\n{command}", text)


# ------------------------------------------------------------------------------------------------- the failure ladder


def test_control_killed_is_back_and_the_engine_never_notices(mixer: Box) -> None:
    engine, control = mixer.main_pid(ENGINE), mixer.main_pid(CONTROL)
    mixer.kill(CONTROL, signal.SIGKILL)
    mixer.wait_for_another(CONTROL, control)
    assert mixer.main_pid(ENGINE) == engine


def test_the_engine_killed_takes_up_the_segment_and_control_goes_on(mixer: Box) -> None:
    engine, control = mixer.main_pid(ENGINE), mixer.main_pid(CONTROL)
    segment = mixer.inside("/run/evenhand/segment").stat().st_ino
    mixer.kill(ENGINE, signal.SIGKILL)
    another = mixer.wait_for_another(ENGINE, engine)
    assert mixer.main_pid(CONTROL) == control
    assert mixer.inside("/run/evenhand/segment").stat().st_ino == segment
    mixer.run("kill", "-0", str(another))


def test_an_engine_that_hangs_is_replaced_by_its_watchdog_and_control_by_its_own(mixer: Box) -> None:
    engine, control = mixer.main_pid(ENGINE), mixer.main_pid(CONTROL)
    mixer.kill(CONTROL, signal.SIGSTOP)
    mixer.kill(ENGINE, signal.SIGSTOP)
    another = mixer.wait_for_another(ENGINE, engine)
    assert mixer.main_pid(CONTROL) == control  # its watchdog has more patience
    mixer.wait_for_another(CONTROL, control)
    assert mixer.main_pid(ENGINE) == another
    assert all(f"{unit}: Watchdog timeout" in mixer.console_text() for unit in (ENGINE, CONTROL))


def test_an_engine_that_dies_again_and_again_pauses_and_never_gives_up(mixer: Box) -> None:
    control = mixer.main_pid(CONTROL)
    mixer.run("mv", "/run/evenhand/mixer.json", "/run/evenhand/away.json")
    mixer.kill(ENGINE, signal.SIGKILL)
    mixer.wait_for(lambda: mixer.show(ENGINE, "ActiveState")["ActiveState"] == "failed", "it is tried for ever")
    failed_s = time.monotonic()
    mixer.run("mv", "/run/evenhand/away.json", "/run/evenhand/mixer.json")
    mixer.wait_for(lambda: mixer.is_active(ENGINE), "it is given up")
    assert time.monotonic() - failed_s > 5.0  # a pause, not another try at once
    assert mixer.main_pid(CONTROL) == control
    assert "error: /run/evenhand/mixer.json: cannot be read" in mixer.log("evenhand-engine")


# ---------------------------------------------------------------------------------------------------- start and stop


def test_a_recorder_joins_records_and_leaves_without_anyone_noticing(mixer: Box) -> None:
    engine, control = mixer.main_pid(ENGINE), mixer.main_pid(CONTROL)
    mixer.run("systemctl", "start", RECORDER)
    recordings = mixer.inside("/var/lib/evenhand/recordings")
    mixer.wait_for(lambda: any(p.stat().st_size > 100_000 for p in recordings.rglob("*.wav")), "nothing is recorded")
    mixer.run("systemctl", "stop", RECORDER)
    assert mixer.show(RECORDER, "Result")["Result"] == "success"
    assert (mixer.main_pid(ENGINE), mixer.main_pid(CONTROL)) == (engine, control)


def test_a_new_set_up_reaches_engine_and_control(mixer: Box) -> None:
    engine, control = mixer.main_pid(ENGINE), mixer.main_pid(CONTROL)
    mixer.run("systemctl", "restart", "evenhand-setup.service")
    mixer.wait_for_another(ENGINE, engine)
    mixer.wait_for_another(CONTROL, control)


def test_the_target_stops_everything_politely_and_leaves_the_segment(mixer: Box) -> None:
    mixer.run("systemctl", "stop", "evenhand.target")
    mixer.wait_for(lambda: not (mixer.is_active(ENGINE) or mixer.is_active(CONTROL)), "they go on")
    for unit in (ENGINE, CONTROL):
        mixer.wait_for(lambda unit=unit: mixer.show(unit, "ActiveState")["ActiveState"] == "inactive", f"{unit} fails")
        assert mixer.show(unit, "Result")["Result"] == "success"
    assert mixer.inside("/run/evenhand/segment").stat().st_mode & 0o777 == 0o640
    viewer = Segment(mixer.inside("/run/evenhand/segment"), is_control=False)
    assert viewer.status().state == "stopped"
    viewer.close()


def test_folders_are_made_for_the_user_of_the_processes_alone(mixer: Box) -> None:
    mixer.run("systemd-tmpfiles", "--create", "/etc/evenhand-units/tmpfiles.d/evenhand.conf")
    listed = mixer.run("stat", "--format", "%U %G %a", "/run/evenhand", "/var/lib/evenhand/recordings").stdout
    assert listed.splitlines() == ["evenhand evenhand 750"] * 2


# ------------------------------------------------------------------------------------------------------------ the agent

# Pairs with the agent from inside, asks how the mixer is, keeps a scene, and asks for a restart.
ASK = """
import http.client, json, ssl
from firmware.update.certificate import Path, hashlib
from firmware.update.pairing import key_of, proof
from dsp_kernels.contract.generated.contract import CONTRACT_ID
code = Path("/var/lib/evenhand-agent/pairing-code").read_text()
pem = Path("/var/lib/evenhand-agent/box.pem").read_text()
fingerprint, nonce = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest(), "0" * 32
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def ask(method, path, body=None, token=""):
    connection = http.client.HTTPSConnection("127.0.0.1", 4717, context=context, timeout=30)
    connection.request(method, "/v1/" + path, body, {"Authorization": "Bearer " + token})
    return json.loads(connection.getresponse().read())
shown = proof(key_of(code, fingerprint, nonce), "laptop")
token = ask("POST", "pair", json.dumps({"name": "x", "nonce": nonce, "proof": shown}))["token"]
scene = 'contract_id = "%s"\\n' % CONTRACT_ID
print(json.dumps({
    "status": ask("GET", "status", token=token),
    "put": ask("PUT", "scenes/Verse", scene, token),
    "checkup": ask("GET", "checkup", token=token),
    "restart": ask("POST", "restart", "{}", token),
}))
"""


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
