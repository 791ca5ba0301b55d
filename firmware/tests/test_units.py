"""The units as they are written: systemd accepts them, the processes accept their command lines, the limits fit."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from board_configs.board import load_board
from firmware import engine_process, live_config, mixer_setup
from firmware.system import board_units
from firmware.tests.unit_file import UNITS, UnitFile, command_line, environment_file, has_systemd_analyze, seconds

SERVICES = ("engine", "control", "preamps", "recorder", "setup")
# What does not belong to the mixer: another user, folders of its own.
BESIDES = ("agent", "seed")
# The exposure that systemd-analyze finds, 0 to 10. What is left of the engine's: a real-time thread on a core of its
# own, the sound card, the group that opens it, and the socket of its watchdog.
CEILINGS = {"engine": 0.6, "control": 0.2, "preamps": 0.4, "recorder": 0.2, "setup": 0.2, "again@": 0.7,
            "agent": 1.2, "restart": 0.7, "serial@": 1.2, "seed": 0.7}  # fmt: skip
PARSERS = {
    "firmware.engine_process": "_arguments",
    "firmware.control_process": "_arguments",
    "firmware.preamp_process": "_arguments",
    "firmware.recorder.process": "_parser",
    "firmware.mixer_setup": "_arguments",
    "firmware.update.agent": "_arguments",
    "firmware.update.seed_network": "_arguments",
}
# enum MAX_FAILURES of the audio thread: so many times in a row, and once more, it waits for a card that stands still.
AUDIO_THREAD = Path(__file__).resolve().parents[1] / "rt" / "live" / "audio_thread.c"
MIB = 1 << 20
PYTHON_OF_THE_UNITS = "/opt/evenhand/.venv/bin/python"

needs_systemctl = pytest.mark.skipif(shutil.which("systemctl") is None, reason="systemctl is not installed")
needs_systemd_analyze = pytest.mark.skipif(not has_systemd_analyze(), reason="systemd-analyze is not installed")


def unit(name: str) -> UnitFile:
    return UnitFile(UNITS / f"evenhand-{name}.service")


# ---------------------------------------------------------------------------------------------------- what systemd says


@needs_systemd_analyze
def test_systemd_finds_nothing_to_say_about_a_unit(tmp_path: Path) -> None:
    python = tmp_path / PYTHON_OF_THE_UNITS[1:]
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")
    for folder in ("usr/bin", "bin", "sbin"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for tool in ("usr/bin/sleep", "usr/bin/systemctl", "usr/bin/test", "bin/true", "sbin/modprobe"):
        (tmp_path / tool).touch(0o755)
    system = tmp_path / "etc/systemd/system"
    shutil.copytree(UNITS, system)
    stock = Path("/lib/systemd/system")
    shutil.copytree(stock, tmp_path / "lib/systemd/system", symlinks=True)
    paths = [
        f"/etc/systemd/system/{path.name}"
        for path in system.iterdir()
        if path.suffix in (".service", ".target", ".path")
    ]
    assert len(paths) == len(CEILINGS) + 2
    said = verify(tmp_path, paths)
    assert [line for line in said.splitlines() if "evenhand" in line] == []
    broken = system / "evenhand-engine.service"
    broken.write_text(broken.read_text().replace("WatchdogSec=2s", "WatchdogSec=soon"))
    assert "evenhand-engine.service" in verify(tmp_path, paths)


def verify(root: Path, paths: list[str]) -> str:
    command = ["systemd-analyze", "verify", "--man=no", "--generators=no", f"--root={root}", *paths]
    return subprocess.run(command, capture_output=True, text=True).stderr


@needs_systemd_analyze
@pytest.mark.parametrize(("name", "ceiling"), CEILINGS.items())
def test_a_unit_is_exposed_no_more_than_its_job_needs(name: str, ceiling: float) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    command.append(str(UNITS / f"evenhand-{name}.service"))
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
    assert exposure <= ceiling, said


# ------------------------------------------------------------------------------------------------------ command lines


@pytest.mark.parametrize("name", SERVICES + BESIDES)
def test_a_process_accepts_the_command_line_of_its_unit(name: str) -> None:
    module, arguments = started_module(unit(name))
    parser(module).parse_args(arguments)


def test_what_box_env_suggests_is_accepted_too() -> None:
    text = (UNITS / "box.env").read_text()
    suggested = re.findall(r"^# .*?(?:such as|with): (--.*)$", text, re.MULTILINE)
    assert len(suggested) == 4
    for options, name in zip(suggested, ("engine", "control", "control", "agent"), strict=True):
        module, arguments = started_module(unit(name))
        parser(module).parse_args([*arguments, *options.split()])


def test_box_env_sets_every_variable_that_a_unit_uses_and_no_other() -> None:
    lines = [line for u in SERVICES + BESIDES for key in ("ExecCondition", "ExecStart") for line in unit(u).all(key)]
    used = {name for line in lines for name in re.findall(r"\$\{?(EVENHAND_\w+)", line)}
    assert used == set(environment_file(UNITS / "box.env"))


def test_box_env_names_a_board_that_brings_its_own_channels() -> None:
    board = load_board(environment_file(UNITS / "box.env")["EVENHAND_BOARD"])
    assert mixer_setup.setup_of_board(board).strips


def test_processes_agree_on_the_files_they_share() -> None:
    options = {name: shared_files(name) for name in SERVICES}
    assert options["engine"]["--mixer"] == options["control"]["--mixer"] == options["setup"]["--out"]
    assert options["engine"]["--segment"] == options["control"]["--segment"]
    assert options["engine"]["--record-ring"] == options["recorder"]["--ring"]


def test_the_agent_asks_for_a_restart_where_systemd_looks_and_is_nobody_of_the_mixer() -> None:
    agent, options = unit("agent"), shared_files("agent")
    assert options["--restart-request"] == UnitFile(UNITS / "evenhand-restart.path").one("PathExists")
    assert options["--segment"] == shared_files("engine")["--segment"]
    assert agent.one("User") == agent.one("Group") == "evenhand-agent"
    assert "evenhand" in agent.words("SupplementaryGroups")
    assert unit("engine").one("UMask") == "0027", "the group may look at the meters"
    assert shared_files("control")["--restored"].startswith(options["--data"] + "/restored/")
    assert int(agent.one("OOMScoreAdjust")) > int(unit("control").one("OOMScoreAdjust"))


def shared_files(name: str) -> dict[str, str]:
    _, arguments = started_module(unit(name))
    return {key: value for key, value in pairwise(arguments) if key.startswith("--")}


def started_module(service: UnitFile) -> tuple[str, list[str]]:
    words = command_line(service.one("ExecStart"), environment_file(UNITS / "box.env"))
    assert words[0] == PYTHON_OF_THE_UNITS
    at = words.index("-m")
    return words[at + 1], words[at + 2 :]


def parser(module: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = getattr(importlib.import_module(module), PARSERS[module])()
    return made


# ------------------------------------------------------------------------------------------------- who depends on whom


@needs_systemctl
@pytest.mark.parametrize(
    "name", ["evenhand.target", "evenhand-agent.service", "evenhand-restart.path", "evenhand-seed.service"]
)
def test_what_a_start_brings_up_can_be_enabled(tmp_path: Path, name: str) -> None:
    assert enabled(tmp_path, name, file=name) == [f"multi-user.target.wants/{name}"]


def test_the_target_brings_up_the_mixer_and_what_box_env_switches_on() -> None:
    wanted = UnitFile(UNITS / "evenhand.target").words("Wants")
    assert wanted == {f"evenhand-{name}.service" for name in ("engine", "control", "recorder", "preamps")}
    for name in ("recorder", "preamps"):
        assert unit(name).one("ExecCondition") == f"/usr/bin/test ${{EVENHAND_{name.upper()}}} = on"
        assert environment_file(UNITS / "box.env")[f"EVENHAND_{name.upper()}"] == "off"


@needs_systemctl
def test_a_cable_that_is_enabled_is_served_when_its_port_comes_and_no_start_waits_for_it(tmp_path: Path) -> None:
    links = enabled(tmp_path, "evenhand-serial@ttyGS0", file="evenhand-serial@.service")
    assert links == ["dev-ttyGS0.device.wants/evenhand-serial@ttyGS0.service"]


def enabled(root: Path, name: str, *, file: str) -> list[str]:
    """Enable a unit of a file, and return the links that it makes."""
    system = root / "etc/systemd/system"
    system.mkdir(parents=True)
    shutil.copy(UNITS / file, system)
    subprocess.run(["systemctl", f"--root={root}", "enable", name], check=True, capture_output=True)
    return [str(path.relative_to(system)) for path in system.rglob("*") if path.is_symlink()]


def test_the_engine_depends_on_nothing_that_decides_or_records() -> None:
    engine = unit("engine")
    for key in ("Requires", "Requisite", "BindsTo", "PartOf", "Wants", "After", "Upholds", "Conflicts"):
        assert not {"evenhand-control.service", "evenhand-recorder.service"} & engine.words(key)
    for name in ("control", "recorder"):
        for key in ("RequiredBy", "Before", "Conflicts", "BoundBy", "PropagatesStopTo", "OnFailure", "OnSuccess"):
            assert "evenhand-engine.service" not in unit(name).words(key)


def test_control_is_not_kept_waiting_for_an_engine_that_waits_for_control() -> None:
    control = unit("control")
    for key in ("After", "Requires", "Requisite", "BindsTo", "Wants"):
        assert "evenhand-engine.service" not in control.words(key)


def test_what_processes_share_outlives_each_of_them() -> None:
    for name in SERVICES:
        assert unit(name).one("RuntimeDirectory") == "evenhand"
        assert unit(name).one("RuntimeDirectoryPreserve") == "yes"
        assert unit(name).one("User") == "evenhand"  # a segment of another user is refused
        assert "RemoveIPC" not in unit(name).path.read_text()


@pytest.mark.parametrize("name", ["engine", "control"])
def test_a_process_is_always_started_again_and_a_crash_loop_pauses(name: str) -> None:
    service = unit(name)
    assert service.one("Restart") == "always"
    assert service.seconds("RestartSec") <= 0.1
    assert service.one("OnFailure") == "evenhand-again@%p.service"
    pause = next(c for c in unit("again@").all("ExecStart") if "sleep" in c)
    assert seconds(pause.split()[-1]) >= 10.0
    assert int(service.one("StartLimitBurst")) >= 3


# --------------------------------------------------------------------------------------------------------------- limits


def test_the_engine_may_have_the_priority_and_the_memory_that_it_asks_for() -> None:
    engine = unit("engine")
    assert int(engine.one("LimitRTPRIO")) >= engine_process.AUDIO_PRIORITY
    assert engine.one("LimitMEMLOCK") == "infinity"
    assert engine.one("RestrictRealtime") == "no"
    assert engine.words("DeviceAllow") == {"char-alsa", "rw"}
    assert not engine.all("MemoryMax")  # locked memory cannot be given back: a ceiling could only kill the sound


def test_only_the_engine_may_run_in_real_time_lock_memory_and_open_devices() -> None:
    for name in ("control", "recorder", "setup"):
        service = unit(name)
        assert service.one("RestrictRealtime") == "yes"
        assert service.one("PrivateDevices") == "yes"
        assert not service.all("LimitRTPRIO") + service.all("LimitMEMLOCK") + service.all("DeviceAllow")


def test_a_spinning_audio_thread_is_ended_before_the_watchdog_has_to() -> None:
    soft_s, hard_s = (seconds(part) for part in unit("engine").one("LimitRTTIME").split(":"))
    catching_up_s = 16 * live_config.TICK_MS / 1000  # EH_N_TICKS: all that analysis can be behind
    assert 2 * catching_up_s < soft_s < hard_s <= unit("engine").seconds("WatchdogSec")


def test_the_watchdog_outlasts_a_card_that_stands_still() -> None:
    _, arguments = started_module(unit("engine"))
    timeout_s = parser("firmware.engine_process").parse_args(arguments).card_timeout_ms / 1000
    max_failures = int(re.search(r"MAX_FAILURES = (\d+)", AUDIO_THREAD.read_text())[1])
    assert (max_failures + 1) * timeout_s < unit("engine").seconds("WatchdogSec")


def test_the_start_outlasts_the_wait_for_a_first_snapshot_and_the_stop_outlasts_the_fade() -> None:
    engine = unit("engine")
    assert engine.seconds("TimeoutStartSec") > 2 * live_config.SNAPSHOT_TIMEOUT_MS / 1000
    _, arguments = started_module(engine)
    timeout_s = parser("firmware.engine_process").parse_args(arguments).card_timeout_ms / 1000
    n_waits = 1 + 8 + 1  # the fade's period and the longest play-out, each of which a dying card may delay
    n_waits += 2  # a second card that dies in its play-out: one period in, one out
    assert engine.seconds("TimeoutStopSec") > n_waits * timeout_s


def test_control_and_recorder_die_before_the_engine_when_memory_is_short() -> None:
    score = {name: int(unit(name).one("OOMScoreAdjust")) for name in ("engine", "control", "recorder")}
    assert score["engine"] == -900
    assert 0 < score["recorder"] < score["control"]
    assert size_bytes(unit("control").one("MemoryMax")) == 250 * MIB
    assert size_bytes(unit("control").one("MemoryHigh")) < 250 * MIB


def size_bytes(text: str) -> int:
    return int(text.removesuffix("M")) * MIB


# ----------------------------------------------------------------------------------------------- what the board decides


def test_a_board_keeps_the_rest_of_every_process_off_the_cores_of_the_sound(tmp_path: Path) -> None:
    board = load_board("raspberry_pi_4")
    files = board_units.write_board_units(board, tmp_path)
    assert {path.parent.name for path in files} == {
        f"evenhand-{name}.service.d" for name in ("engine", "control", "preamps", "recorder")
    }
    for path in files:
        assert UnitFile(path).all("CPUAffinity") == ["", " ".join(map(str, board.cores.control))]


def test_another_board_takes_back_what_the_first_asked_for(tmp_path: Path) -> None:
    board_units.write_board_units(load_board("raspberry_pi_4"), tmp_path)
    for path in board_units.write_board_units(load_board("qemu_arm64"), tmp_path):
        assert UnitFile(path).all("CPUAffinity") == [""]


def test_the_set_up_writes_the_strips_that_the_board_names(tmp_path: Path) -> None:
    out = tmp_path / "mixer.json"
    assert mixer_setup.main(["--board", "raspberry_pi_5", "--out", str(out)]) == 0
    assert mixer_setup.read_setup(out) == mixer_setup.setup_of_board(load_board("raspberry_pi_5"))


@pytest.mark.parametrize("board", ["sim", "no_such_board"])
@pytest.mark.parametrize("main", [mixer_setup.main, board_units.main])
def test_a_refusal_is_one_line_and_changes_nothing(
    board: str, main: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "there" / "mixer.json"
    out.parent.mkdir()
    out.write_text("before")
    if board == "sim" and main is board_units.main:
        out = tmp_path / "away"  # its cores are fine, the folder is not
    assert main(["--board", board, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "mixer.json"]
    assert (tmp_path / "there" / "mixer.json").read_text() == "before"
