"""Matplotlib figures as inline SVG that takes its colours and its typeface from the page."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Stand-ins that Matplotlib can draw with; in the page each becomes the custom property of that name.
COLOURS = {
    name: f"#0101{number:02x}"
    for number, name in enumerate(
        ("ink", "soft", "line", "fill", "accent", "warm", "gain", "tone", "dynamics", "sharing", "space", "other"), 16
    )
}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evenhand",
    "text.parse_math": False,
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["soft"],
    "ytick.labelcolor": COLOURS["soft"],
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.facecolor": "none",
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Hold the style while figures are drawn; letters our metrics font lacks are the browser's business."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def to_svg(figure: Figure, name: str, label: str) -> str:
    """Return ``<svg>`` that scales with the page; ``name`` keeps its ids apart from other figures'."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', _opening(label), svg, count=1)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]+", r"font-size: \1px", svg)
    svg = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group(0)), svg)  # a tenth of a point
    for colour, value in COLOURS.items():
        svg = svg.replace(value, f"var(--{colour})")
    return svg.strip()


def _opening(label: str) -> Any:
    safe = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return lambda found: f'<svg viewBox="{found.group(1)}" role="img" aria-label="{safe}">'
