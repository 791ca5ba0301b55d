"""The gate: what a TFLite file must prove before it may ship; what fails is refused in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..nets.layout import HEADS
from .flatbuffer import NEWEST_VERSION, anatomy
from .runtimes import RUNTIMES, Ran, run_model

Feeds = dict[str, NDArray[np.float32]]

MAX_BYTES = {"role": 330_000, "mix": 300_000, "song": 200_000}
BUCKETS = (8, 16, 32, 48)
DRIFT_TICKS = 1000
# No delegate takes an int8 BATCH_MATMUL of two activations, so two pools cut the graph in three.
MAX_DELEGATED_PARTS = 3
# Largest rms difference of a file from the float network, in the unit of each head; f16 may have a tenth.
MAX_RMS = {
    "offset_lu": 0.5,
    "pan_abs": 0.04,
    "tone_db": 0.3,
    "compressor_threshold_db": 0.7,
    "compressor_log2_ratio": 0.08,
    "send_db": 1.5,
}
MAX_RMS_LOGIT = 0.5
F16_SHARE = 0.1
FLOAT_TOLERANCE = 2e-3
ROWS_OF_CHANNELS = ("x", "role_prob", "mask")


@dataclass(kw_only=True)
class Report:
    """What the gate measured, ready for JSON."""

    net: str
    precision: str
    measured: dict[str, Any] = field(default_factory=dict)

    def refuse(self, what: str) -> None:
        """Stop a file that fails."""
        raise ModelError(f"{self.net}_{self.precision}.tflite: {what}; it must not ship")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file at the gate.

    Attributes
    ----------
    feeds
        ``(n_ticks, ...)`` inputs of one stream, without taps; for the mix network in 16 slots.
    expected
        What the float network says to them, ``(n_ticks, n_rows, n_columns)``.
    n_channels
        How many of the slots are real.
    """

    net: str
    precision: str
    model: bytes
    feeds: Feeds
    expected: NDArray[np.float32]
    n_channels: int
    delays_ticks: tuple[int, ...]
    width: int

    @property
    def output(self) -> str:
        """Name of the output that is not state."""
        return {"role": "role_logits", "song": "z", "mix": "y"}[self.net]

    def streams(self) -> dict[str, Feeds]:
        """Return the stream as it is, and every variation that a check wants to hear."""
        still = {k: np.repeat(v[-1:], DRIFT_TICKS, axis=0) for k, v in self.feeds.items()}
        found = {"plain": self.feeds}
        if self.delays_ticks:
            found["still"] = still
        if self.net == "mix":
            slots = self.feeds["x"].shape[1]
            order = _order(slots)
            found["order"] = {k: v[:, order] if k in ROWS_OF_CHANNELS else v for k, v in self.feeds.items()}
            rubbish = np.random.default_rng(1).uniform(-1.0, 1.0, self.feeds["x"].shape).astype(np.float32)
            rubbish[:, : self.n_channels] = self.feeds["x"][:, : self.n_channels]
            found["rubbish"] = {**self.feeds, "x": rubbish}
            for width in BUCKETS:
                found[f"bucket_{width}"] = {
                    k: _resized(v, width) if k in ROWS_OF_CHANNELS else v for k, v in self.feeds.items()
                }
        return found


def check(candidate: Candidate, *, runtimes: Sequence[str] = RUNTIMES) -> Report:
    """Run every check."""
    report = Report(net=candidate.net, precision=candidate.precision)
    _check_anatomy(candidate, report)
    streams = candidate.streams()
    for runtime in runtimes:
        ran = run_model(
            runtime, candidate.model, streams, delays_ticks=candidate.delays_ticks, tap_width=candidate.width
        )
        _check_parity(candidate, report, runtime, ran["plain"])
        report.measured[f"{runtime}_max_rss_kb"] = ran["plain"].max_rss_kb
        report.measured[f"{runtime}_delegated_parts"] = parts = ran["plain"].delegated_parts
        if parts > MAX_DELEGATED_PARTS:
            report.refuse(f"{runtime}: falls into {parts} delegated parts, at most {MAX_DELEGATED_PARTS}")
        for name, one in ran.items():
            if name.startswith("bucket_") or (candidate.net != "mix" and name == "plain"):
                report.measured[f"{runtime}_{name}_median_us"] = round(one.median_us, 1)
                report.measured[f"{runtime}_{name}_p99_us"] = round(one.p99_us, 1)
        if candidate.net == "mix":
            _check_order_and_padding(candidate, report, runtime, ran)
        if "still" in ran:
            _check_drift(candidate, report, runtime, ran["still"])
    return report


def _check_anatomy(candidate: Candidate, report: Report) -> None:
    found = anatomy(candidate.model)
    report.measured["size_bytes"] = found.size_bytes
    report.measured["operators"] = {o.name: o.count for o in found.operators}
    for operator in found.operators:
        if operator.name not in NEWEST_VERSION:
            report.refuse(f"operator {operator.name} is not on the list")
        if operator.version > NEWEST_VERSION[operator.name]:
            newest = NEWEST_VERSION[operator.name]
            report.refuse(f"{operator.name} version {operator.version}, tflite-runtime 2.14 knows up to {newest}")
    if candidate.precision == "int8" and found.inner_float:
        report.refuse(f"float tensor {found.inner_float[0]} inside")
    if found.unmoved:
        report.refuse(f"calibration never saw {found.unmoved[0]} move")
    if found.tied:
        report.refuse(f"two processors would round the product {found.tied[0]} in two ways")
    if found.per_channel_dense:
        report.refuse(f"{found.per_channel_dense} dense layers with a scale for each output")
    if found.size_bytes > MAX_BYTES[candidate.net]:
        report.refuse(f"{found.size_bytes} bytes, at most {MAX_BYTES[candidate.net]}")


def _check_parity(candidate: Candidate, report: Report, runtime: str, ran: Ran) -> None:
    got = ran.outputs[candidate.output][:, : candidate.n_channels]
    want = candidate.expected[:, : candidate.n_channels]
    share = 1.0 if candidate.precision == "int8" else F16_SHARE
    if not np.isfinite(got).all():
        report.refuse(f"{runtime}: output is not finite")
    for name, head in HEADS[candidate.net].items():
        error = head.scale * (got[..., head.columns] - want[..., head.columns])
        rms = float(np.sqrt(np.mean(error**2)))
        report.measured[f"{runtime}_rms_{name}"] = round(rms, 5)
        most = share * MAX_RMS.get(name, MAX_RMS_LOGIT if head.unit == "logit" else np.inf)
        if rms > most:
            report.refuse(
                f"{runtime}: {name} is {rms:.3g} {head.unit} (rms) from the float network, at most {most:.3g}"
            )


def _check_order_and_padding(candidate: Candidate, report: Report, runtime: str, ran: dict[str, Ran]) -> None:
    """Other order, other buckets, rubbish in masked slots: the channels must not notice (int8: not by one bit)."""
    tolerance = 0.0 if candidate.precision == "int8" else FLOAT_TOLERANCE
    n = candidate.n_channels
    there = {name: np.arange(n) for name in ran if name == "rubbish" or name.startswith("bucket_")}
    there["order"] = np.argsort(_order(candidate.feeds["x"].shape[1]))[:n]
    for name, rows in there.items():
        if name.startswith("bucket_") and int(name[7:]) < n:
            continue
        difference = float(np.abs(ran[name].outputs["y"][:, rows] - ran["plain"].outputs["y"][:, :n]).max(initial=0.0))
        report.measured[f"{runtime}_{name}_difference"] = difference
        if difference > tolerance:
            report.refuse(f"{runtime}: {name} changes the answer by {difference:.3g}")


def _check_drift(candidate: Candidate, report: Report, runtime: str, ran: Ran) -> None:
    """Return a thousand ticks of one unchanging scene must end where they stood once the delay lines were full."""
    out = ran.outputs[candidate.output]
    full = sum(candidate.delays_ticks) + 1
    drift = float(np.abs(out[full:] - out[full]).max(initial=0.0))
    report.measured[f"{runtime}_drift"] = drift
    if drift > 0.0:
        report.refuse(f"{runtime}: drifts by {drift:.3g} within {DRIFT_TICKS} ticks of the same input")


def _order(n_slots: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(n_slots)


def _resized(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    missing = width - values.shape[1]
    return np.pad(values, ((0, 0), (0, missing), (0, 0))) if missing > 0 else values[:, :width]
