"""What was measured beside what the board promises: pass, fail, or not measured, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from board_configs.board import BudgetSpec

PASS, FAIL, NOT_MEASURED = "pass", "fail", "not measured"
MIN_CLICKS = 3  # fewer may be a door that fell shut


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One promise of the board. ``value`` is None where it was not measured; ``why`` says what no number does."""

    item: str
    value: float | None
    budget: float
    verdict: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Clicks:
    """What came back over the cable: ``n_heard`` clicks, with every way through the card that one of them took."""

    n_heard: int
    ways_frames: Collection[int]

    @property
    def way_frames(self) -> int | None:
        """The way through the card; the longest, should they differ, and None where too few came back."""
        return max(self.ways_frames) if self.n_heard >= MIN_CLICKS else None


def round_trip_verdict(
    clicks: Clicks, *, limiter_frames: int, cable: tuple[int, int], n_xruns: int, budget: BudgetSpec
) -> Verdict:
    """Judge the delay of the live mix: the way through the card, the same for all clicks, and the limiter's own."""
    limit = budget.max_round_trip_frames
    way_frames = clicks.way_frames
    if way_frames is None:
        why = f"no cable found: connect output {cable[0]} to input {cable[1]}"
        if clicks.n_heard:
            why = f"only {clicks.n_heard} clicks came back, with {n_xruns} xruns: check the cable, measure longer"
        return Verdict(item="round_trip_frames", value=None, budget=limit, verdict=NOT_MEASURED, why=why)
    value = way_frames + limiter_frames
    if len(clicks.ways_frames) > 1:
        why = (
            f"clicks took {min(clicks.ways_frames)} to {way_frames} frames: "
            f"connect nothing but output {cable[0]} to input {cable[1]}"
        )
        return Verdict(item="round_trip_frames", value=value, budget=limit, verdict=FAIL, why=why)
    return at_most("round_trip_frames", value, limit, missing="")


def at_most(item: str, value: float | None, limit: float, *, missing: str) -> Verdict:
    """Judge what must not be above ``limit``; ``missing`` is why there is no value, where there is none."""
    if value is None:
        return Verdict(item=item, value=None, budget=limit, verdict=NOT_MEASURED, why=missing)
    return Verdict(item=item, value=value, budget=limit, verdict=PASS if value <= limit else FAIL)


def at_least(item: str, value: float, limit: float) -> Verdict:
    """Judge what must not be below ``limit``."""
    return Verdict(item=item, value=value, budget=limit, verdict=PASS if value >= limit else FAIL)
