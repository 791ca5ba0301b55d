"""Puts figures and figures' numbers into one self-contained page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A figure for the head of the page."""

    name: str
    figure: str
    unit: str


def write_page(
    path: Path,
    *,
    collected: Collector,
    record: dict[str, Any],
    decisions: Sequence[dict[str, Any]],
    target_lufs: float,
    title: str,
    notes: Sequence[str],
    facts: Sequence[Fact] = (),
    story: dict[str, Any] | None = None,
    occasion: str = "",
    made_by: str = "evenhand-box render",
    all_decisions: str = "--decisions FILE.jsonl",
    n_by_family: Mapping[str, int] | None = None,
) -> None:
    """Write the report of a mix.

    Parameters
    ----------
    record
        What ``--json`` prints.
    decisions
        Lines of the log; where they are only a part of it, ``n_by_family`` counts all and ``all_decisions`` has them.
    facts
        Figures that stand behind those of the mix.
    story
        What a model took the music for: style, trust, and spans of genre, section and key.
    occasion
        When it was mixed, if that matters.
    made_by
        The command that the foot of the page names.
    """
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
        clock=wording.clock,
        signed=_signed,
    )
    shown = list(decisions[:MAX_ROWS])
    counts = Counter(family(d["parameter"]) for d in decisions) if n_by_family is None else n_by_family
    n_decisions = sum(counts.values())
    page = environment.get_template("page.html").render(
        title=title,
        record=record,
        figure=drawn,
        rows=record["channels"],
        decisions=[{**d, "family": family(d["parameter"]), "values": _values(d)} for d in shown],
        n_decisions=n_decisions,
        n_more=n_decisions - len(shown),
        families=FAMILIES,
        n_by_family=counts,
        target_lufs=target_lufs,
        contract_id=CONTRACT_ID,
        notes=notes,
        facts=facts,
        story=story,
        occasion=occasion,
        made_by=made_by,
        all_decisions=all_decisions,
        has_breaks=bool(collected.breaks_s),
        verdict=_verdict(collected),
    )
    path.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")


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
