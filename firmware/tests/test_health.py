"""The box tells how the machine is, and what it does not know it does not make up."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware.system.health import UNLIMITED, read_health

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max locked memory         8388608              {memlock}            bytes
Max realtime priority     0                    {priority}           {empty}
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def limits(memlock: str, priority: str, capabilities: int = 0) -> dict[str, str]:
    return {
        "proc/self/limits": LIMITS.format(memlock=memlock, priority=priority, empty=""),
        "proc/self/status": f"Name:\tpython3\nCapEff:\t{capabilities:016x}\nCapBnd:\t{2**40 - 1:016x}",
    }


def test_a_tuned_box_has_nothing_to_complain_about(tmp_path: Path) -> None:
    health = read_health(
        write(
            tmp_path,
            {
                "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
                "sys/class/thermal/thermal_zone0/temp": "51540",
                "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
                "sys/devices/system/cpu/isolated": "3",
                "sys/kernel/realtime": "1",
                **limits("unlimited", "95"),
            },
        )
    )
    assert health.temp_c == pytest.approx(51.54)
    assert (health.throttled_now, health.throttled_since_boot) == ((), ())
    assert (health.preemption, health.isolated_cores) == ("rt", (3,))
    assert (health.max_rt_priority, health.memlock_bytes) == (95, UNLIMITED)
    assert health.complaints == ()


def test_each_thing_that_costs_periods_is_told_with_what_to_do(tmp_path: Path) -> None:
    files = {
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance",
        **limits("8388608", "0"),
    }
    health = read_health(write(tmp_path, files))
    assert health.throttled_now == ("undervoltage", "throttled")
    assert health.throttled_since_boot == ("undervoltage", "throttled")
    assert health.governors == ("ondemand", "performance")
    assert [c.split(":")[0] for c in health.complaints] == [
        "undervoltage, throttled",
        "CPU frequency governor is ondemand, performance",
        "no real-time priority",
        "only 8192 KiB may be locked",
    ]


def test_what_is_over_is_told_apart_from_what_holds_now(tmp_path: Path) -> None:
    health = read_health(write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "80000"}))
    assert (health.throttled_now, health.throttled_since_boot) == ((), ("soft temperature limit",))


def test_the_warmest_zone_counts_and_a_sleeping_one_does_not(tmp_path: Path) -> None:
    zones = {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "47000",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
        "sys/class/thermal/thermal_zone2/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone2/temp": "62500",
    }
    health = read_health(write(tmp_path, zones))
    assert health.temp_c == 62.5
    assert health.temps_c == {"cpu-thermal": 47.0, "cpu-thermal thermal_zone2": 62.5}


def test_root_may_do_what_the_limits_forbid(tmp_path: Path) -> None:
    health = read_health(write(tmp_path, limits("8388608", "0", capabilities=1 << 14 | 1 << 23)))
    assert (health.max_rt_priority, health.memlock_bytes) == (99, UNLIMITED)


@pytest.mark.parametrize(
    ("files", "preemption"),
    [
        ({"proc/version": "Linux version 6.12 #1 SMP PREEMPT_RT Mon"}, "rt"),
        ({"proc/version": "Linux version 6.6 #1 SMP PREEMPT Mon"}, "full"),
        ({"proc/version": "Linux version 6.6 #1 SMP PREEMPT_DYNAMIC Mon"}, "dynamic"),
        ({"proc/version": "Linux 6.6 SMP PREEMPT_DYNAMIC", "proc/cmdline": "quiet preempt=full"}, "full"),
        ({"proc/version": "x PREEMPT_DYNAMIC", "sys/kernel/debug/sched/preempt": "none (voluntary) full"}, "voluntary"),
        ({"proc/version": "Linux version 5.10 #1 SMP Mon"}, "none"),
        ({}, None),
    ],
)
def test_the_kernel_says_how_it_gives_way(tmp_path: Path, files: dict[str, str], preemption: str | None) -> None:
    assert read_health(write(tmp_path, files)).preemption == preemption


def test_a_machine_that_tells_nothing_is_believed_nothing(tmp_path: Path) -> None:
    health = read_health(tmp_path)
    assert (health.temp_c, health.temps_c, health.throttled_now, health.preemption) == (None, {}, None, None)
    assert (health.governors, health.isolated_cores) == ((), ())


@pytest.mark.parametrize(("text", "cores"), [("1,3-5", (1, 3, 4, 5)), ("", ()), ("(null)", ())])
def test_a_list_of_cores_is_read_as_the_kernel_writes_it(tmp_path: Path, text: str, cores: tuple[int, ...]) -> None:
    assert read_health(write(tmp_path, {"sys/devices/system/cpu/isolated": text})).isolated_cores == cores


def test_this_machine_is_read_without_trouble() -> None:
    health = read_health()
    assert health.preemption is not None
    assert health.max_rt_priority >= 0
