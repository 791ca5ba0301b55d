"""What the preamps' process and control tell each other: whole states, so that no message is missed for good.

Each side sends all it has to say about twice a second and when something changes. A wish carries a number and is sent
until it is answered; a turned knob is told until control has heard of it.
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import EvenhandError

MAX_MESSAGE_BYTES = 100_000  # 64 preamps take about 20 kB
MAX_PREAMPS, MAX_HANDS = 64, 256
MAX_MESSAGES = 64  # taken at one look
FIELDS = ("gain_db", "is_pad_on", "is_phantom_on")

Place = tuple[str, int]  # key of the card, capture channel from 1


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A preamp as its card says it is; None where it has no such control.

    ``phantom_switch`` names the switch: channels may share it. ``wants_pad``, ``wants_phantom``: what the board file
    says and nobody has seen to yet.
    """

    card: str
    channel: int
    gain_db: float | None
    min_gain_db: float | None
    max_gain_db: float | None
    is_pad_on: bool | None
    is_phantom_on: bool | None
    phantom_switch: str | None
    phantom_settle_ms: float
    wants_pad: bool | None
    wants_phantom: bool | None

    @property
    def place(self) -> Place:
        """Card and channel."""
        return self.card, self.channel


@dataclass(frozen=True, kw_only=True)
class Hand:
    """Somebody else turned a control of a preamp; ``number`` counts such events from 1."""

    number: int
    card: str
    channel: int
    field: str
    before: float
    after: float

    @property
    def place(self) -> Place:
        """Card and channel."""
        return self.card, self.channel


@dataclass(frozen=True, kw_only=True)
class PreampStatus:
    """All that the preamps' process has to say. ``boot`` tells one such process from the next."""

    boot: int
    done: int  # the wish that was answered last
    readings: tuple[Reading, ...]
    hands: tuple[Hand, ...]  # that control has not heard of


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One control of a preamp to be set. A switch is 0 or 1."""

    card: str
    channel: int
    field: str
    value: float


@dataclass(frozen=True, kw_only=True)
class PreampWish:
    """What control asks for. ``heard`` is the newest hand of ``boot`` it knows of; number 0 asks nothing."""

    boot: int
    heard: int
    number: int = 0
    settings: tuple[Setting, ...] = ()


def packed(message: PreampStatus | PreampWish) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(asdict(message), allow_nan=False).encode()


def status_of(message: bytes) -> PreampStatus | None:
    """Return the status that a message is, or None: what else arrives at a socket is dropped."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        record = _record(message)
        readings = tuple(_reading(entry) for entry in _list(record["readings"], MAX_PREAMPS))
        hands = tuple(_hand(entry) for entry in _list(record["hands"], MAX_HANDS))
        return PreampStatus(boot=_whole(record["boot"]), done=_whole(record["done"]), readings=readings, hands=hands)
    return None


def wish_of(message: bytes) -> PreampWish | None:
    """Return the wish that a message is, or None."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        record = _record(message)
        settings = tuple(_setting(entry) for entry in _list(record["settings"], 3 * MAX_PREAMPS))
        return PreampWish(
            boot=_whole(record["boot"]), heard=_whole(record["heard"]), number=_whole(record["number"]),
            settings=settings,
        )  # fmt: skip
    return None


def _record(message: bytes) -> dict[str, Any]:
    record = json.loads(message)
    if not isinstance(record, dict):
        raise TypeError("no object")
    return record


def _list(value: Any, most: int) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > most or not all(isinstance(entry, dict) for entry in value):
        raise TypeError("no list of objects")
    return value


def _reading(entry: dict[str, Any]) -> Reading:
    is_right = all(
        (
            isinstance(entry["card"], str),
            isinstance(entry["phantom_switch"], str | None),
            all(entry[name] is None or _is_number(entry[name]) for name in ("gain_db", "min_gain_db", "max_gain_db")),
            all(
                isinstance(entry[name], bool | None)
                for name in ("is_pad_on", "is_phantom_on", "wants_pad", "wants_phantom")
            ),
            _is_number(entry["phantom_settle_ms"]),
        )
    )
    _whole(entry["channel"])
    if not is_right:
        raise TypeError("no reading of a preamp")
    return Reading(**entry)


def _hand(entry: dict[str, Any]) -> Hand:
    _whole(entry["number"]), _whole(entry["channel"])
    are_numbers = _is_number(entry["before"]) and _is_number(entry["after"])
    if not (isinstance(entry["card"], str) and entry["field"] in FIELDS and are_numbers):
        raise TypeError("nobody's hand")
    return Hand(**entry)


def _setting(entry: dict[str, Any]) -> Setting:
    _whole(entry["channel"])
    if not (isinstance(entry["card"], str) and entry["field"] in FIELDS and _is_number(entry["value"])):
        raise TypeError("no setting")
    return Setting(**entry)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError("no whole number")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Mailbox:
    """A Unix datagram socket at ``path`` that never waits. A context manager: the file goes with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)  # of a process that was killed
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise EvenhandError(f"{path}: cannot be made ({error.strerror}); is the folder there?") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def fileno(self) -> int:
        """Return what becomes readable when a message is there."""
        return self._socket.fileno()

    def send(self, to: Path, message: bytes) -> bool:
        """Send a message; False when nobody is there or he does not read."""
        try:
            self._socket.sendto(message, str(to))
        except OSError:
            return False
        return True

    def messages(self) -> Iterator[bytes]:
        """Yield what has arrived."""
        for _ in range(MAX_MESSAGES):
            try:
                yield self._socket.recv(MAX_MESSAGE_BYTES)
            except OSError:
                return
