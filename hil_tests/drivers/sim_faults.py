"""What can be broken about a simulated box.

Out of reach here: a card clock that drifts (ours moves by hand), and jumps of the clock: a process alone has none of
its own, and time namespaces shift only the monotonic one, and only for who is born in them.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hil_tests.board import FAULTS
from hil_tests.errors import HilError

from .card_link import KINDS
from .data_disk import DataDisk
from .hogs import CpuHogs, MemoryFence
from .wire import Wire

if TYPE_CHECKING:
    from .sim_box import SimBox

SIGNALS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}
STATE = "/var/lib/evenhand/state/last.toml"
DRIFT = "its clock moves by hand, as fast as the box follows"
CARD_AWAY = ("unplug", "late_wake", "engine_stopped")  # over once the engine has its card again
DEATH_S = 5.0  # a process that waits for a stuck disk dies later


class SimFaults:
    """The ``Faults`` of ``hil_tests.board``. A context manager: leaving it ends them all."""

    def __init__(self, box: SimBox, disk: DataDisk, wire: Wire) -> None:
        self._box, self._disk, self._wire = box, disk, wire
        self._hogs, self._fence = CpuHogs(), MemoryFence()
        self._on: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_all()

    @property
    def kinds(self) -> tuple[str, ...]:
        """What may be asked for."""
        return tuple(k for k, v in FAULTS.items() if v.needs in self._box.rig.has and k not in self.lacking)

    @property
    def lacking(self) -> Mapping[str, str]:
        """What cannot be here, and why."""
        disk, memory = self._disk.lacking, self._fence.lacking
        reasons = {"drift_ppm": DRIFT, "memory_short": memory, "disk_full": disk, "disk_stuck": disk,
                   "disk_slow": self._disk.lacking_slow}  # fmt: skip
        return {kind: reason for kind, reason in reasons.items() if reason}

    def begin(self, kind: str, amount: float = 1.0) -> None:
        """Let it happen."""
        if kind not in self.kinds:
            why = self.lacking.get(kind) or f"it can {', '.join(self.kinds)}"
            raise HilError(f"this rig cannot {kind!r}: {why}")
        if FAULTS[kind].lasts:
            self._on.add(kind)
        name, _, way = kind.rpartition("_")
        if kind in KINDS:
            self._box.card.fault(kind, amount)
        elif way in SIGNALS:
            self._signal(name, SIGNALS[way])
        elif kind == "cpu_hog":
            self._hogs.begin(int(amount))
        elif kind == "memory_short":
            self._fence.begin(self._box.pids(), amount)
        elif kind == "disk_full":
            self._disk.fill(amount)
        elif kind == "disk_stuck":
            self._disk.stick()
        elif kind == "disk_slow":
            self._disk.slow(amount)
        elif kind == "state_block":
            self._disk.spoil(self._box.file(STATE), amount)
        elif kind == "state_bit":
            self._disk.flip(self._box.file(STATE), amount)
        elif kind == "network_delay_ms":
            self._wire.delay(amount / 1000.0)
        elif kind == "network_loss":
            self._wire.lose(amount)
        elif kind == "network_gone":
            self._wire.plug(is_in=False)
        elif kind == "network_cut":
            self._wire.cut()
        elif kind == "throttled":
            self._box.say_throttled(int(amount))
        elif kind == "brown_out":
            self._box.cut_power()
            self._on -= {"engine_stopped", "control_stopped", "disk_stuck", "disk_slow"}

    def end(self, kind: str) -> None:
        """Put it right again; what takes the engine's card away ends once the engine has it again."""
        self._on.discard(kind)
        if kind in ("unplug", "late_wake"):
            self._box.card.fault(kind, 0.0)
        elif kind.endswith("_stopped"):
            with suppress(HilError):  # it has died meanwhile
                self._box.service(kind.removesuffix("_stopped")).send(signal.SIGCONT)
        elif kind == "cpu_hog":
            self._hogs.end()
        elif kind == "memory_short":
            self._fence.end()
        elif kind == "disk_full":
            self._disk.empty()
        elif kind == "disk_stuck":
            self._disk.unstick()
        elif kind == "disk_slow":
            self._disk.hurry()
        elif kind == "network_delay_ms":
            self._wire.delay(0.0)
        elif kind == "network_loss":
            self._wire.lose(0.0)
        elif kind == "network_gone":
            self._wire.plug(is_in=True)
        elif kind == "throttled":
            self._box.say_throttled(0)
        elif kind == "brown_out" and not self._box.has_power:
            self._box.power_on()
            self._box.wait_until_up()
        if kind in CARD_AWAY and self._box.has_power and not self._on & {"unplug", "engine_stopped"}:
            self._box.wait_for_card()

    def end_all(self) -> None:
        """End what would outlast a box without power; its card is plugged in again."""
        for kind in self._on & {"unplug", "late_wake"}:
            self._box.card.fault(kind, 0.0)
        self._on.clear()
        self._hogs.end()
        self._fence.end()
        self._disk.free()
        self._wire.plug(is_in=True)
        self._wire.delay(0.0)
        self._wire.lose(0.0)

    def _signal(self, name: str, number: signal.Signals) -> None:
        service = self._box.service(name)
        until_s = time.monotonic() + DEATH_S
        while not service.pid and time.monotonic() < until_s:  # it is just being started again
            time.sleep(0.001)
        pid = service.send(number)
        while number == signal.SIGKILL and service.pid == pid and time.monotonic() < until_s:
            time.sleep(0.001)
