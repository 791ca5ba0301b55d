"""The units under a real systemd, with a card that ticks: what is restarted by what, and what each process may do."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator

import pytest

from firmware.segment import Segment
from firmware.tests import sandbox_probe
from firmware.tests.systemd_rig import can_raise_limits, why_not
from firmware.tests.unit_box import CONTROL, ENGINE, RECORDER, Box, box_with_a_card, changed
from firmware.tests.unit_file import UNITS, UnitFile

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no systemd of our own: {why_not()}")

AUDIO_PRIORITY = 80
TRIAL_S = 240.0  # a model is tried in each runtime and precision first: seconds on a machine that is not loaded


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with box_with_a_card() as running:
        yield running


@pytest.fixture
def mixer(box: Box) -> Box:
    box.start()
    return box


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
    rights = ("-p", "CPUSchedulingPolicy=fifo", "-p", "CPUSchedulingPriority=10", "-p", limit, "-p", "LimitCORE=1")
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


def test_a_recorder_that_is_switched_on_joins_records_and_leaves_without_anyone_noticing(mixer: Box) -> None:
    engine, control = mixer.main_pid(ENGINE), mixer.main_pid(CONTROL)
    mixer.run("systemctl", "start", RECORDER)
    assert mixer.show(RECORDER, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "exec-condition"}
    mixer.run("sed", "--in-place", "s/^EVENHAND_RECORDER=off/EVENHAND_RECORDER=on/", "/etc/evenhand/box.env")
    mixer.run("systemctl", "start", "evenhand.target")
    recordings = mixer.inside("/var/lib/evenhand/recordings")
    mixer.wait_for(lambda: any(p.stat().st_size > 100_000 for p in recordings.rglob("*.wav")), "nothing is recorded")
    mixer.run("systemctl", "stop", RECORDER)
    mixer.run("sed", "--in-place", "s/^EVENHAND_RECORDER=on/EVENHAND_RECORDER=off/", "/etc/evenhand/box.env")
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
