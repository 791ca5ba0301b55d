"""Puts figures and figures' numbers into one self-contained page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from dsp_kernels.contract.generated.contract import CONTRACT_ID, PARAMS

from . import wording
from .collect import Collector
from .families import FAMILIES, family

_ENTRIES = {(p.scope, p.name): p for p in PARAMS}
MAX_ROWS = 2000  # of the decision table; the rest is in the decision file


def write_page(
    path: Path,
    *,
    collected: Collector,
    record: dict[str, Any],
    decisions: Sequence[dict[str, Any]],
    target_lufs: float,
    title: str,
    notes: Sequence[str],
) -> None:
    """Write the report of a render; ``record`` is what ``--json`` prints, ``decisions`` the lines of the log."""
    from . import figures, spectra  # Matplotlib is slow to load
    from .svg import drawing

    with drawing():
        drawn = {
            "overview": figures.overview(collected, target_lufs, record["integrated_lufs"]),
            "gains": figures.gains(collected),
            "masking": figures.masking(collected),
            "timeline": figures.timeline(decisions, collected) if decisions else "",
            "mix_spectrum": spectra.mix_spectrum(collected),
            "spectra": spectra.channel_spectra(collected),
        }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(
        decibels=wording.decibels,
        pan=wording.pan,
        bands=wording.bands,
        gate=wording.gate,
        evidence=wording.evidence,
        compressor=wording.compressor,
        sends=wording.sends,
        clock=figures.clock,
        signed=_signed,
    )
    shown = list(decisions[:MAX_ROWS])
    page = environment.get_template("page.html").render(
        title=title,
        record=record,
        figure=drawn,
        rows=_channel_rows(collected, record["channels"], decisions),
        decisions=[{**d, "family": family(d["parameter"]), "values": _values(d)} for d in shown],
        n_more=len(decisions) - len(shown),
        families=FAMILIES,
        n_by_family=Counter(family(d["parameter"]) for d in decisions),
        target_lufs=target_lufs,
        contract_id=CONTRACT_ID,
        notes=notes,
        verdict=_verdict(collected),
    )
    path.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")


def _channel_rows(
    collected: Collector, channels: Sequence[dict[str, Any]], decisions: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    n_moves = Counter(d["index"] for d in decisions if d["scope"] == "channel")
    masked = collected.masking()
    return [
        {**channel, "n_moves": n_moves[index], "masked": None if np.isnan(masked[0, index]) else masked[:, index] * 100}
        for index, channel in enumerate(channels)
    ]


def _verdict(collected: Collector) -> str:
    """Return the line above the masking figure."""
    masked = collected.masking()
    is_heard = ~np.isnan(masked[0])
    if not is_heard.any():
        return "Nothing was heard."
    before, after = masked[:, is_heard].mean(axis=1)
    return f"On average {before * 100:.0f} % of a channel was masked as it came in, {after * 100:.0f} % is in the mix."


def _values(decision: dict[str, Any]) -> str:
    entry = _ENTRIES.get((decision["scope"], decision["parameter"]))
    return " → ".join(wording.setting(decision["parameter"], decision[end], entry) for end in ("from", "to"))


def _signed(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}".replace("-", "−")
