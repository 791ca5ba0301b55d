"""Acceptance: measures a box on a rig once through, and holds the figures against limits. The page is another file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from .audio_probe import AudioProbe
from .board import AudioPort, Box
from .errors import HilError
from .probe.automix_law import AutomixLaw
from .probe.limits import Limit, Result, Verdict, judge
from .probe.response import Response
from .probe.room import FeedbackMargin, Room, feedback_margin
from .scene import scene_toml, stand_still

NEEDS = ("audio_loopback", "shell")
SETTLE_S = 0.5
DROPOUTS_S = 20.0
LOUD_PEAK_DBFS = -6.0
MAIN = "main_l"
# What decides and what mixes, on the box itself.
DIGESTS = (
    "cd /opt/evenhand && find firmware/inference/pretrained firmware dsp_kernels -maxdepth 1 "
    r"\( -name '*.bundle' -o -name '_*.so' \) | sort -u | xargs sha256sum"
)
AUX = "aux_"


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What an installer files with a venue.

    Parameters
    ----------
    facts
        What was measured: rig, board, versions, digests.
    results
        In the order of the page.
    """

    facts: dict[str, str]
    results: tuple[Result, ...]
    verdicts: tuple[Verdict, ...]
    response: Response
    crosstalk_db: NDArray[np.float64]

    @property
    def is_accepted(self) -> bool:
        """Return whether every limit is held."""
        return all(verdict.is_held for verdict in self.verdicts)

    def record(self) -> dict[str, Any]:
        """Return it for a machine."""
        curve = self.response
        return {
            "facts": self.facts,
            "is_accepted": self.is_accepted,
            "results": [{"kind": r.NAME, "line": r.line(), "figures": r.figures()} for r in self.results],
            "limits": [
                {"kind": v.limit.result, "figure": v.limit.figure, "min": v.limit.min, "max": v.limit.max,
                 "value": v.value, "is_held": v.is_held} for v in self.verdicts
            ],
            "response": {
                "freq_hz": curve.freq_hz.round(2).tolist(), "magnitude_db": curve.magnitude_db.round(4).tolist(),
                "group_delay_ms": curve.group_delay_ms.round(4).tolist(),
                "uncertainty_db": curve.uncertainty_db.round(5).tolist(),
            },
            "crosstalk_db": self.crosstalk_db.round(1).tolist(),
        }  # fmt: skip


def aux_outputs(port: AudioPort) -> tuple[str, ...]:
    """Return the outputs at which channels are told apart: at most as many as there are inputs.

    Raises
    ------
    HilError
        When the board gives no aux bus an output.
    """
    names = tuple(name for name in port.output_names if name.startswith(AUX))[: port.n_inputs]
    if not names:
        raise HilError(f"no aux bus has an output here ({', '.join(port.output_names)}): no channel can be told apart")
    return names


def straight_scene(port: AudioPort) -> str:
    """Return a mixer of wires: every strip at unity on the left main, and each on one of the aux outputs in turn."""
    buses = [int(name.removeprefix(AUX)) for name in aux_outputs(port)]
    strips = [{"pan.position": -1.0, f"send.{buses[ch % len(buses)]}.level_db": 0.0} for ch in range(port.n_inputs)]
    return scene_toml(strips)


def sharing_scene(n_inputs: int) -> str:
    """Return a mixer whose strips all share gain by power."""
    strips = [{"pan.position": -1.0, "automix.group": 1} for _ in range(n_inputs)]
    return scene_toml(strips, group=[{"share.mode": "speech"}])


def measure(box: Box, *, venue: str = "", limits: Sequence[Limit], tell: Callable[[str], None] = print) -> Acceptance:
    """Measure a box, with power or without; it stands still afterwards.

    Raises
    ------
    HilError
        When the box refuses, a figure cannot be told, or a limit is set on what was not measured.
    """
    if not box.has_power:
        box.power_on()
    box.wait_until_up()
    facts = _facts(box, venue)
    probe, n_inputs = AudioProbe(box.audio), box.audio.n_inputs
    results: list[Result] = []

    def add(result: Result) -> None:
        tell(result.line())
        results.append(result)

    stand_still(box, straight_scene(box.audio))
    box.pass_time(SETTLE_S)
    auxes = aux_outputs(box.audio)
    arrival = probe.arrival(0, MAIN)
    add(arrival)
    add(probe.channel_map(auxes, tuple((ch % len(auxes),) for ch in range(n_inputs))))
    response, taps = probe.response(0, MAIN)
    add(response)
    add(probe.distortion(0, MAIN, peak_dbfs=LOUD_PEAK_DBFS))
    add(probe.multitone(0, MAIN))
    for floor in probe.noise():
        add(floor)
    crosstalk = probe.crosstalk(auxes, latency_frames=arrival.latency_frames)
    add(crosstalk)
    add(probe.dropouts(0, MAIN, duration_s=DROPOUTS_S))

    stand_still(box, sharing_scene(n_inputs))
    box.pass_time(SETTLE_S)
    law = probe.automix_law(MAIN)
    add(law)
    for margin in margins(taps, law, box.audio.sample_rate_hz):
        add(margin)
    budget = Limit(result="latency", figure="latency_frames", max=float(box.board.budget.max_round_trip_frames))
    return Acceptance(
        facts=facts, results=tuple(results), verdicts=judge(results, [budget, *limits]), response=response,
        crosstalk_db=crosstalk.crosstalk_db,
    )  # fmt: skip


def margins(taps: NDArray[np.float64], law: AutomixLaw, sample_rate_hz: float) -> Iterator[FeedbackMargin]:
    """Yield the margin of a simulated room for each number of open microphones, with shared gain and without.

    Parameters
    ----------
    taps
        Impulse response of one strip of the box, latency included.
    """
    for n_open, gain_db in zip(law.n_open, law.gain_db, strict=True):
        rooms = sum(Room(seed=ch + 1).response(sample_rate_hz) for ch in range(n_open))
        for name, shared_db in (("shared gain", gain_db), ("no sharing", 0.0)):
            where = f"{n_open} open, {name}"
            yield feedback_margin(taps * 10.0 ** (shared_db / 20.0), np.asarray(rooms), sample_rate_hz, where=where)


def _facts(box: Box, venue: str) -> dict[str, str]:
    facts = {
        "venue": venue or "not named",
        "measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "rig": f"{box.rig.name}: {box.rig.title}",
        "board": f"{box.board.name}: {box.board.title}",
        "contract of the bench": CONTRACT_ID,
        "rig file, SHA-256": digest(box.rig.path),
        "board file, SHA-256": digest(box.board.path),
    }
    if "network" in box.rig.has:
        (told,) = json.loads(box.evenhand("status", "--json"))["boxes"]
        facts |= {
            "box": f"{told['name']} ({told['id']})",
            "firmware": str(told["version"]),
            "contract of the box": str(told["contract_id"]),
        }
        facts |= {f"slot {slot['bootname']}": _slot(slot) for slot in told["update"]["slots"]}
    for line in box.run(DIGESTS).splitlines():
        sha256, _, name = line.partition("  ")
        facts[f"{name}, SHA-256"] = sha256
    return facts


def _slot(slot: dict[str, Any]) -> str:
    """Say what is in it; what came with the image has no version there, for nobody has installed it."""
    return str(slot["version"] or ("as it came with the image" if slot["is_booted"] else "nothing installed"))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
