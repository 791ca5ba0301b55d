"""Which output comes back on which input, how loud and with which sign: each output speaks in a turn of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .arrival import Arrival, measure_arrival
from .errors import ProbeError
from .signals import PEAK_DBFS, mls

_N_BITS = 12
GAP_S = 0.1  # longer than any latency that is looked for, and what a room rings
MIN_ARRIVAL_DB = -40.0  # under the loudest arrival of the same turn: crosstalk, which `crosstalk` measures


@dataclass(frozen=True, kw_only=True)
class ChannelMap:
    """What arrives where. Numbers count from 0.

    Parameters
    ----------
    arrivals
        ``arrivals[output]`` maps the inputs on which this output came back to how it did.
    expected
        The inputs on which each output should come back.
    """

    NAME: ClassVar[str] = "channel_map"

    n_inputs: int
    arrivals: tuple[dict[int, Arrival], ...]
    expected: tuple[tuple[int, ...], ...]

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Return the inputs of each output."""
        return tuple(tuple(sorted(found)) for found in self.arrivals)

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        found = [a for arrivals in self.arrivals for a in arrivals.values()]
        gains = [a.gain_db for a in found] or [0.0]
        latencies = [a.latency_frames for a in found] or [0]
        return {
            "n_silent": sum(not arrivals for arrivals in self.arrivals),
            "n_elsewhere": sum(ins not in ((), want) for ins, want in zip(self.inputs, self.expected, strict=True)),
            "n_inverted": sum(a.polarity < 0 for a in found),
            "gain_spread_db": max(gains) - min(gains),
            "latency_spread_frames": max(latencies) - min(latencies),
        }

    def line(self) -> str:
        """Return it in one line; what is not where it should be, by number."""
        odd = [
            f"{ch} > {','.join(map(str, ins)) or 'nowhere'}"
            for ch, (ins, want) in enumerate(zip(self.inputs, self.expected, strict=True))
            if ins != want
        ]
        odd += [f"{ch} inverted on {i}" for ch, at in enumerate(self.arrivals) for i, a in at.items() if a.polarity < 0]
        return f"{len(self.arrivals)} channels: " + ("; ".join(odd) or "each where it should be, and upright")


def map_signals(n_outputs: int, sample_rate_hz: float, *, peak_dbfs: float = PEAK_DBFS) -> NDArray[np.float64]:
    """Return ``(n_frames, n_outputs)``: one MLS an output, one after the other, with a gap after each."""
    burst, step = mls(_N_BITS, peak_dbfs=peak_dbfs), _step(sample_rate_hz)
    frames = np.zeros((step * n_outputs, n_outputs))
    for ch in range(n_outputs):
        frames[ch * step : ch * step + len(burst), ch] = burst
    return frames


def measure_map(
    recorded: NDArray[np.floating],
    n_outputs: int,
    sample_rate_hz: float,
    *,
    expected: tuple[tuple[int, ...], ...] | None = None,
) -> ChannelMap:
    """Read a recording of `map_signals`.

    Parameters
    ----------
    recorded
        ``(n_frames, n_inputs)``; not shorter than what was played.
    expected
        The inputs of each output; left out, output n belongs on input n alone.

    Raises
    ------
    ProbeError
        When it is shorter, or no output came back anywhere.
    """
    step, burst = _step(sample_rate_hz), mls(_N_BITS, peak_dbfs=0.0)
    if recorded.ndim != 2 or len(recorded) < step * n_outputs:
        raise ProbeError(f"a map of {n_outputs} outputs needs {step * n_outputs} frames of every input, "
                         f"not an array of shape {recorded.shape}")  # fmt: skip
    turns = [recorded[ch * step : (ch + 1) * step] for ch in range(n_outputs)]
    arrivals = tuple(_arrivals(burst, turn, sample_rate_hz) for turn in turns)
    if not any(arrivals):
        raise ProbeError(f"nothing came back on any of {recorded.shape[1]} inputs; check cables, mutes and the card")
    return ChannelMap(
        n_inputs=recorded.shape[1], arrivals=arrivals, expected=expected or tuple((ch,) for ch in range(n_outputs))
    )


def _step(sample_rate_hz: float) -> int:
    return 2**_N_BITS - 1 + round(GAP_S * sample_rate_hz)


def _arrivals(burst: NDArray[np.float64], turn: NDArray[np.floating], sample_rate_hz: float) -> dict[int, Arrival]:
    found: dict[int, Arrival] = {}
    for ch in range(turn.shape[1]):
        if not turn[:, ch].any():
            continue
        try:
            found[ch] = measure_arrival(burst, turn[:, ch], sample_rate_hz, where=f"input {ch}")
        except ProbeError:
            continue  # not on this one; that it is nowhere shows in the map
    loudest_db = max((a.gain_db for a in found.values()), default=0.0)
    return {ch: a for ch, a in found.items() if a.gain_db >= loudest_db + MIN_ARRIVAL_DB}
