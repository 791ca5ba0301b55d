"""The page of an acceptance: one HTML file that needs nothing else, for a printer as for a screen."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .acceptance import Acceptance
from .probe.limits import Verdict
from .report import CSS

TITLES = {
    "latency": "Latency and polarity",
    "channel_map": "Channels",
    "response": "Frequency response",
    "distortion": "Distortion, one tone",
    "multitone": "Distortion, many tones",
    "noise": "Noise floor",
    "crosstalk": "Crosstalk",
    "dropouts": "Dropouts",
    "automix": "Gain sharing of open microphones",
    "feedback": "Gain before feedback: a simulation",
}
FEEDBACK_NOTE = (
    "Not measured in the venue. The box's measured response closes a loop through a made-up room (4 m from the "
    "loudspeaker, 0.8 s of reverberation, cardioid microphones); 0 dB is the loudspeaker's level at 1 m. It compares "
    "settings of a box; a venue rings where its own room says."
)
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM = 900, 220, 50, 16, 20  # of a picture, and its margins: labels lie in them
_TICKS_HZ = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


def page(acceptance: Acceptance) -> str:
    """Return the page."""
    verdict = "accepted" if acceptance.is_accepted else "not accepted"
    css_class = "passed" if acceptance.is_accepted else "failed"
    facts = "".join(f"<tr><th>{_text(k)}<td>{_text(v)}</tr>" for k, v in acceptance.facts.items())
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evenhand: acceptance</title>',
        f"<style>{CSS.read_text()}</style><h1>Acceptance</h1>",
        f'<p><span class="{css_class}">{verdict}</span>: {_told(acceptance.verdicts)}</p><table>{facts}</table>',
    ]
    for kind, title in TITLES.items():
        lines = [r.line() for r in acceptance.results if kind == r.NAME]
        if not lines:
            continue
        parts.append(f"<h2>{title}</h2>")
        if kind == "feedback":
            parts.append(f"<p>{FEEDBACK_NOTE}</p>")
        parts.append(f"<p>{'<br>'.join(map(_text, lines))}</p>")
        if kind == "response":
            curve = acceptance.response
            parts.append(_curve_svg(curve.freq_hz, curve.magnitude_db, "dB"))
            parts.append(_curve_svg(curve.freq_hz, curve.group_delay_ms, "ms of group delay"))
        if kind == "crosstalk":
            parts.append(_matrix_table(acceptance.crosstalk_db))
    rows = "".join(_verdict_row(v) for v in acceptance.verdicts)
    head = '<tr><th>what<th>limit<th class="figure">measured<th></tr>'
    parts.append(f"<h2>Limits</h2><table>{head}{rows}</table></html>\n")
    return "\n".join(parts)


def _told(verdicts: Sequence[Verdict]) -> str:
    n_broken = sum(not v.is_held for v in verdicts)
    return f"{n_broken} of {len(verdicts)} limits are broken" if n_broken else f"all {len(verdicts)} limits are held"


def _verdict_row(verdict: Verdict) -> str:
    limit = verdict.limit
    css_class, word = ("passed", "held") if verdict.is_held else ("failed", "broken")
    return (
        f"<tr><td>{_text(TITLES.get(limit.result, limit.result))}<td>{_text(limit.text())}"
        f'<td class="figure">{verdict.value:.6g}<td class="{css_class}">{word}</tr>'
    )


def _matrix_table(crosstalk_db: NDArray[np.float64]) -> str:
    head = "".join(f"<th>out {ch + 1}" for ch in range(crosstalk_db.shape[1]))
    rows = "".join(
        f"<tr><th>in {ch + 1}{''.join(f'<td>{value:.0f}' for value in row)}</tr>" for ch, row in enumerate(crosstalk_db)
    )
    return f'<table class="figures"><tr><th>dB{head}</tr>{rows}</table>'


def _curve_svg(freq_hz: NDArray[np.float64], values: NDArray[np.float64], unit: str) -> str:
    middle = 0.5 * float(np.max(values) + np.min(values))
    half = max(0.6 * float(np.ptp(values)), 0.5)
    low, high = middle - half, middle + half

    def x(hz: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * float(np.log(hz / 20.0) / np.log(1000.0))

    def y(value: float) -> float:
        return (_HEIGHT - _BOTTOM) * (high - value) / (high - low)

    points = [(x(float(f)), y(float(v))) for f, v in zip(freq_hz, values, strict=True)]
    strokes = f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(
        f"L{b[0]:.1f} {b[1]:.1f}" for _, b in pairwise(points)
    )
    ticks = "".join(
        f'<text x="{x(hz):.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{hz if hz < 1000 else f"{hz // 1000}k"}</text>'
        for hz in _TICKS_HZ
    )
    marks = "".join(
        f'<text x="0" y="{y(v) + 3:.0f}">{round(v, 2) + 0.0:.2f}</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#e3e4e0"/>'
        for v in np.linspace(low, high, 7)[1:-1]
    )
    label = f'<text x="{_LEFT + 6}" y="12">{unit} over Hz</text>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{marks}{ticks}{label}<path d="{strokes}"/></svg>'


def _text(value: object) -> str:
    return html.escape(str(value))
