"""Whether a box that has just started can be trusted with a show: engine, periods, control, agent, model, in turn.

What an update must pass before it stays. It looks from outside, as a viewer of the segment: sound is not disturbed. A
box whose update agent does not run could never be updated again: such a release does not stay either.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from board_configs.board import Board

from .errors import EvenhandError
from .inference.bundle import SHIPPED, read_bundle
from .inference.keys import trusted_keys
from .inference.trial import chosen
from .segment import LiveStatus, Segment, SegmentAbsentError

LOOK_S = 0.25
FRESH_NS = 2_000_000_000  # a beat of engine or control is no older
MODEL_CHANNELS = 8
AGENT = "evenhand-agent.service"
MAX_STEADY_S = 60.0
FED_S = 10.0  # an agent feeds its watchdog twice a second
ASK_S, ANSWER_S = 1.0, 20.0  # between questions to systemd; for its answer


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    item: str
    is_good: bool
    words: str


def self_test(
    board: Board, segment: Path, *, seconds: float, start_s: float, needs_agent: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:  # fmt: skip
    """Yield what was found, as it is found; it ends with the first thing that is not good.

    Parameters
    ----------
    seconds
        How long the periods are watched.
    start_s
        How long engine and control, and then the agent, may take until they run.
    needs_agent
        Whether a machine that does not start an update agent is not good; else none is looked for there.
    """
    for look in (
        lambda: _engine(board, segment, seconds, start_s, sleep),
        lambda: agent(seconds=seconds, start_s=start_s, is_needed=needs_agent, sleep=sleep),
        lambda: _model(SHIPPED),
    ):
        for finding in look():
            yield finding
            if not finding.is_good:
                return


def _engine(
    board: Board, path: Path, seconds: float, start_s: float, sleep: Callable[[float], None]
) -> Iterator[Finding]:
    until_s = time.monotonic() + start_s
    words = "has made no segment"
    while time.monotonic() < until_s:
        try:
            with Segment(path, is_control=False) as segment:
                words = _not_yet(segment.status())
                if not words:
                    yield Finding(item="engine", is_good=True, words=f"runs at {segment.sample_rate_hz:.0f} Hz")
                    yield from _periods(board, segment, seconds, sleep)
                    return
        except SegmentAbsentError:
            words = "has made no segment"
        except EvenhandError as error:
            words = str(error)
        sleep(LOOK_S)
    yield Finding(item="engine", is_good=False, words=f"{words} {start_s:.0f} s after the start")


def _not_yet(status: LiveStatus) -> str:
    now_ns = time.monotonic_ns()
    if status.state != "running":
        return f"is in state {status.state}" + (f" ({status.trouble})" if status.trouble else "")
    if now_ns - status.engine_beat_ns > FRESH_NS:
        return "has no beat"
    if not status.control_pid or now_ns - status.control_beat_ns > FRESH_NS:
        return "runs, but control does not answer"
    return ""


def _periods(board: Board, segment: Segment, seconds: float, sleep: Callable[[float], None]) -> Iterator[Finding]:
    before = segment.status()
    until_s = time.monotonic() + seconds
    silent_s = 0.0
    while time.monotonic() < until_s:
        sleep(LOOK_S)
        now = segment.status()
        if now.engine_pid != before.engine_pid or not segment.is_current:
            yield Finding(item="periods", is_good=False, words="the engine died and was started again")
            return
        if now.state != "running":
            yield Finding(item="periods", is_good=False, words=f"the engine went into state {now.state} {now.trouble}")
            return
        if time.monotonic_ns() - now.control_beat_ns > FRESH_NS:
            silent_s += LOOK_S
    after = segment.status()
    served, lost = (after.counters[name] - before.counters[name] for name in ("periods", "periods_lost"))
    percent = 100.0 * served / max(served + lost, 1)
    least = board.budget.min_served_percent
    wanted = seconds * board.audio.sample_rate_hz / board.audio.period_frames
    words = f"{served} served and {lost} lost in {seconds:.0f} s: {percent:.2f} %, {least:g} % are promised"
    if served + lost < wanted / 2:
        yield Finding(item="periods", is_good=False, words=f"{words}; the card's clock stands still")
        return
    yield Finding(item="periods", is_good=percent >= least, words=words)
    is_answering = silent_s <= seconds / 4 and after.control_pid == before.control_pid
    words = "answers" if is_answering else f"was silent for {silent_s:.0f} s, or died"
    yield Finding(item="control", is_good=is_answering, words=words)


def agent(
    *, seconds: float, start_s: float, is_needed: bool, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Finding]:
    """Yield whether systemd has had the update agent ready, and its watchdog fed, for ``seconds``, of 60 at most.

    Parameters
    ----------
    start_s
        How much longer than that it may take.
    is_needed
        Whether it is not good where it does not start with this machine; else nothing is yielded there.
    """
    steady_s = min(seconds, MAX_STEADY_S)
    until_s = time.monotonic() + steady_s + start_s
    while True:
        told = _unit(AGENT)
        if not told.get("WantedBy") and not is_needed:
            return
        ready_s, fed_s = _ago_s(told, "ActiveEnter"), _ago_s(told, "Watchdog")
        is_ready = told.get("ActiveState") == "active" and fed_s <= FED_S
        if is_ready and told["WantedBy"] and ready_s >= steady_s:
            yield Finding(item="agent", is_good=True, words=f"has been ready for {ready_s:.0f} s")
            return
        if time.monotonic() > until_s:
            yield Finding(item="agent", is_good=False, words=_why_not_ready(told, fed_s))
            return
        sleep(ASK_S)


def _ago_s(told: dict[str, str], what: str) -> float:
    return time.monotonic() - int(told.get(f"{what}TimestampMonotonic", 0)) / 1e6


def _why_not_ready(told: dict[str, str], fed_s: float) -> str:
    if not told:
        return "is nothing that systemd tells of"
    if not told["WantedBy"]:
        return "does not start with this machine: nobody could update it"
    if told["ActiveState"] == "active" and fed_s > FED_S:
        return f"hangs: its watchdog was fed {fed_s:.0f} s ago"
    return f"is {told['ActiveState']}, and systemd has started it again {told['NRestarts']} times"


def _unit(name: str) -> dict[str, str]:
    """Return what systemd knows of a service; nothing where there is no systemd, or it does not answer."""
    properties = ("WantedBy", "ActiveState", "ActiveEnterTimestampMonotonic", "WatchdogTimestampMonotonic", "NRestarts")
    command = ["systemctl", "show", *(f"--property={what}" for what in properties), name]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return told if set(properties) <= set(told) else {}


def _model(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield Finding(item="model", is_good=True, words="none is shipped: rules alone")
        return
    try:
        bundle = read_bundle(path, trusted_keys())
        candidate = chosen(bundle, path, (), n_channels=MODEL_CHANNELS, is_timed=False)
        yield Finding(item="model", is_good=True, words=f"{bundle.title} plays its golden vectors, {candidate.title}")
    except EvenhandError as error:
        yield Finding(item="model", is_good=False, words=str(error))
