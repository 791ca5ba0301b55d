"""How the machine is: temperature, throttling, and whether the kernel lets the audio thread keep its promises."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Bits of a Raspberry Pi's throttled word: what holds now; sixteen bits higher, what held since the boot.
THROTTLED_BITS = {0: "undervoltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
SINCE_BOOT_SHIFT = 16
THROTTLED_FILES = ("sys/devices/platform/soc/soc:firmware/get_throttled", "sys/firmware/get_throttled")
VCGENCMD_TIMEOUT_S = 2.0
UNLIMITED = -1
MAX_PRIORITY = 99
CAP_IPC_LOCK, CAP_SYS_NICE = 14, 23  # they lift the limits; root has them


@dataclass(frozen=True, kw_only=True)
class Health:
    """The state of the machine. None: this machine does not say."""

    temp_c: float | None  # of its warmest zone
    temps_c: dict[str, float]  # by zone
    throttled_now: tuple[str, ...] | None
    throttled_since_boot: tuple[str, ...] | None
    governors: tuple[str, ...]  # of all cores, each once
    max_rt_priority: int  # 0: no real-time thread may start
    memlock_bytes: int  # UNLIMITED, or how much may be locked
    preemption: str | None  # "rt", "full", "lazy", "voluntary", "none"; "dynamic": chosen at boot, and not told which
    isolated_cores: tuple[int, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """What will cost periods, each with what to do about it."""
        found = []
        if self.throttled_now:
            found.append(f"{', '.join(self.throttled_now)}: check the power supply and the cooling")
        if set(self.governors) - {"performance"}:
            found.append(f"CPU frequency governor is {', '.join(self.governors)}: set performance")
        if self.max_rt_priority == 0:
            found.append("no real-time priority: give this user rtprio 95 in /etc/security/limits.d")
        if self.memlock_bytes != UNLIMITED:
            found.append(f"only {self.memlock_bytes // 1024} KiB may be locked: give this user memlock unlimited")
        return tuple(found)


def read_health(root: Path = Path("/")) -> Health:
    """Read the state of the machine whose file tree begins at ``root``."""
    temps_c = _temperatures(root)
    throttled = _throttled_word(root)
    capabilities = _capabilities(root)
    limits = _read(root / "proc/self/limits")
    return Health(
        temp_c=max(temps_c.values(), default=None),
        temps_c=temps_c,
        throttled_now=None if throttled is None else _named(throttled),
        throttled_since_boot=None if throttled is None else _named(throttled >> SINCE_BOOT_SHIFT),
        governors=_governors(root),
        max_rt_priority=MAX_PRIORITY if CAP_SYS_NICE in capabilities else _priority(limits),
        memlock_bytes=UNLIMITED if CAP_IPC_LOCK in capabilities else _hard_limit(limits, "Max locked memory"),
        preemption=_preemption(root),
        isolated_cores=_cores(_read(root / "sys/devices/system/cpu/isolated")),
    )


def _temperatures(root: Path) -> dict[str, float]:
    temps_c: dict[str, float] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        text = _read(zone / "temp")
        if re.fullmatch(r"-?\d+", text):  # a zone that sleeps cannot be read: a Jetson has some
            name = _read(zone / "type") or zone.name
            temps_c[name if name not in temps_c else f"{name} {zone.name}"] = int(text) / 1000.0
    return temps_c


def _throttled_word(root: Path) -> int | None:
    for name in THROTTLED_FILES:
        text = _read(root / name)
        if re.fullmatch(r"(0x)?[0-9a-fA-F]+", text):
            return int(text, 16)
    command = shutil.which("vcgencmd") if root == Path("/") else None
    if command is None:
        return None
    try:
        done = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=VCGENCMD_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", done.stdout.strip())
    return int(match[1], 16) if match else None


def _named(word: int) -> tuple[str, ...]:
    return tuple(name for bit, name in THROTTLED_BITS.items() if word >> bit & 1)


def _governors(root: Path) -> tuple[str, ...]:
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({_read(f) for f in files} - {""}))


def _capabilities(root: Path) -> set[int]:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", _read(root / "proc/self/status"), re.MULTILINE)
    word = int(found[1], 16) if found else 0
    return {bit for bit in range(word.bit_length()) if word >> bit & 1}


def _hard_limit(limits: str, name: str) -> int:
    """Return the limit that this process may raise itself to."""
    found = re.search(rf"^{name}\s+\S+\s+(\S+)", limits, re.MULTILINE)
    if found is None:
        return 0
    return UNLIMITED if found[1] == "unlimited" else int(found[1])


def _priority(limits: str) -> int:
    priority = _hard_limit(limits, "Max realtime priority")
    return MAX_PRIORITY if priority == UNLIMITED else priority


def _preemption(root: Path) -> str | None:
    if _read(root / "sys/kernel/realtime") == "1":
        return "rt"
    chosen = re.search(r"\((\w+)\)", _read(root / "sys/kernel/debug/sched/preempt")) or re.search(
        r"\bpreempt=(\w+)", _read(root / "proc/cmdline")
    )
    if chosen:
        return chosen[1]
    version = _read(root / "proc/version")
    built = re.search(r"\bPREEMPT(?:_(RT|DYNAMIC))?\b", version)
    if built:
        return {"RT": "rt", "DYNAMIC": "dynamic"}.get(built[1], "full")
    return "none" if version else None


def _cores(text: str) -> tuple[int, ...]:
    """Return the cores of a kernel's list, like ``1,3-5``."""
    cores: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match:
            cores.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(cores)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
