"""What happens in a chaos run, and when: drawn from a seed, kept as JSON lines, replayed exactly.

The first line of a file says ``seed`` and ``length_s``, each other one is an event: ``at_s``, ``fault``, ``amount``,
``for_s``. Times are those of the card's clock, in steps of ``STEP_S``.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hil_tests.board import FAULTS
from hil_tests.errors import HilError

STEP_S = 0.02  # a tick of control
MEAN_GAP_S = 1.5  # between two events
QUIET_S = 2.0  # without a new fault, at both ends
MAX_LENGTH_S = 24 * 3600.0
MAX_FILE_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Event:
    """A fault of ``FAULTS``, from ``at_s`` on, for ``for_s``: 0 where it is over by itself."""

    at_s: float
    fault: str
    amount: float
    for_s: float

    @property
    def end_s(self) -> float:
        """When it is put right."""
        return round(self.at_s + self.for_s, 3)

    def line(self) -> str:
        """Return it as it stands in a file."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Script:
    """A whole run; events in the order of their times."""

    seed: int
    length_s: float
    events: tuple[Event, ...]

    def text(self) -> str:
        """Return the file."""
        head = json.dumps({"seed": self.seed, "length_s": self.length_s})
        return "\n".join([head, *(event.line() for event in self.events)]) + "\n"

    def having(self, events: Iterable[Event], *, length_s: float | None = None) -> Script:
        """Return one of some of these events, and of a length."""
        return Script(seed=self.seed, length_s=length_s or self.length_s, events=tuple(events))


@dataclass(frozen=True)
class _Habit:
    """How a fault comes: how often against others, with which amounts, and for how long."""

    weight: float
    amounts: tuple[float, ...] = (1.0,)
    for_s: tuple[float, float] = (0.0, 0.0)


HABITS = {
    "capture_xrun": _Habit(4.0, (1.0, 2.0, 3.0)),
    "playback_xrun": _Habit(4.0, (1.0, 2.0, 3.0)),
    "unplug": _Habit(1.0, for_s=(0.1, 3.0)),
    "late_wake": _Habit(4.0, (8.0, 16.0, 32.0, 48.0, 64.0, 200.0), (0.06, 1.0)),
    "engine_killed": _Habit(1.0),
    "control_killed": _Habit(2.0),
    "engine_stopped": _Habit(1.0, for_s=(0.02, 0.4)),
    "control_stopped": _Habit(3.0, for_s=(0.5, 6.0)),
    "cpu_hog": _Habit(1.0, (1.0, 2.0), (0.5, 4.0)),
    "memory_short": _Habit(1.5, (4.0, 16.0, 64.0), (0.5, 8.0)),
    "disk_full": _Habit(2.0, (0.0, 0.25), (0.5, 15.0)),
    "disk_stuck": _Habit(1.5, for_s=(0.5, 12.0)),
    "disk_slow": _Habit(1.0, (16.0, 256.0), (0.5, 8.0)),
    "state_block": _Habit(1.0, (0.0, 0.3, 0.7, 0.999)),
    "state_bit": _Habit(1.0, tuple(part / 100.0 for part in range(100))),
    "network_gone": _Habit(1.0, for_s=(0.5, 8.0)),
    "network_delay_ms": _Habit(1.0, (20.0, 200.0), (0.5, 8.0)),
    "network_loss": _Habit(1.0, (0.02, 0.1), (0.5, 8.0)),
    "network_cut": _Habit(1.0),
    "brown_out": _Habit(0.7, for_s=(0.1, 2.0)),
}


def draw(seed: int, length_s: float, kinds: Sequence[str]) -> Script:
    """Return the script of a seed: the same for the same seed, length and kinds.

    Faults of different kinds overlap as they fall; two of a kind do not, and without power nothing else begins.
    """
    rng = random.Random(seed)
    names = [name for name in HABITS if name in kinds]
    if not names:
        raise HilError("chaos has no fault to choose from on this rig")
    weights = [HABITS[name].weight for name in names]
    busy_s = dict.fromkeys(names, 0.0)
    events: list[Event] = []
    at_s = QUIET_S
    while (at_s := at_s + rng.expovariate(1.0 / MEAN_GAP_S)) < length_s - QUIET_S:
        name = rng.choices(names, weights)[0]
        habit = HABITS[name]
        amount, for_s = rng.choice(habit.amounts), _in_steps(rng.uniform(*habit.for_s))
        begin_s = _in_steps(at_s)
        if begin_s <= max(busy_s[name], busy_s.get("brown_out", 0.0)):
            continue
        event = Event(at_s=begin_s, fault=name, amount=amount, for_s=min(for_s, _in_steps(length_s - begin_s)))
        events.append(event)
        busy_s[name] = event.end_s
    return Script(seed=seed, length_s=length_s, events=tuple(events))


def read_script(path: Path) -> Script:
    """Return the script of a file.

    Raises
    ------
    HilError
        When it is none; with the line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(MAX_FILE_BYTES).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        raise HilError(f"{path}: cannot be read: {why}; a run leaves its script in the folder --out") from None
    n_read = 0
    try:
        head = json.loads(lines[0])
        seed, length_s = int(head["seed"]), float(head["length_s"])
        if not STEP_S <= length_s <= MAX_LENGTH_S:
            raise ValueError(f"length_s = {length_s} lies outside {STEP_S} to {MAX_LENGTH_S}")
        events = []
        for line in lines[1:]:
            n_read += 1
            events.append(_event(json.loads(line), length_s))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        where = f"{path}, line {n_read + 1}"
        raise HilError(f"{where}: is no line of a chaos script: {what}; see hil_tests/README.md") from None
    return Script(seed=seed, length_s=length_s, events=tuple(sorted(events, key=lambda event: event.at_s)))


def _event(record: dict[str, object], length_s: float) -> Event:
    at_s, amount, for_s = (float(str(record[key])) for key in ("at_s", "amount", "for_s"))
    fault = str(record["fault"])
    if fault not in FAULTS:
        raise ValueError(f"there is no fault {fault!r}; there are {', '.join(FAULTS)}")
    if not (math.isfinite(amount) and 0.0 <= at_s <= length_s and 0.0 <= for_s <= length_s):
        raise ValueError(f"{fault} at {at_s} s for {for_s} s lies outside the {length_s} s of the script")
    if FAULTS[fault].lasts != (for_s > 0.0):
        how = "lasts: for_s is more than 0" if FAULTS[fault].lasts else "is over by itself: for_s is 0"
        raise ValueError(f"{fault} {how}")
    return Event(at_s=at_s, fault=fault, amount=amount, for_s=for_s)


def _in_steps(seconds: float) -> float:
    return round(round(seconds / STEP_S) * STEP_S, 3)
