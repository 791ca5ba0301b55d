"""The plots of an evaluation, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def confusion_matrix(path: Path, counts: NDArray[np.integer], names: Sequence[str], title: str) -> Path:
    """Draw counts, rows truth, shaded by share of the row; classes that never occur are left out."""
    kept = np.flatnonzero((counts.sum(axis=0) + counts.sum(axis=1)) > 0)
    shown = counts[np.ix_(kept, kept)]
    figure, axes = _figure(title, size=max(4.0, 0.42 * len(kept) + 1.5))
    share = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(shown), strict=True):
        axes.text(j, i, str(shown[i, j]), ha="center", va="center", fontsize=7, color="w" if share[i, j] > 0.5 else "k")
    words = [names[k].replace("_", " ") for k in kept]
    axes.set_xticks(range(len(kept)), words, rotation=90, fontsize=7)
    axes.set_yticks(range(len(kept)), words, fontsize=7)
    axes.set_xlabel("guess")
    axes.set_ylabel("truth")
    return _saved(figure, path)


def calibration(path: Path, bins: Sequence[tuple[float, float, int]], title: str) -> Path:
    """Draw share right over confidence; the size of a point is how often."""
    figure, axes = _figure(title)
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    said, right, counts = (np.array(column) for column in zip(*bins, strict=True))
    axes.scatter(said, right, s=20 + 180 * counts / counts.max())
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")
    return _saved(figure, path)


def histogram(path: Path, values: NDArray[np.floating], unit: str, title: str) -> Path:
    """Draw how errors are spread, the outer per cent gathered at the ends."""
    figure, axes = _figure(title)
    low, high = np.quantile(values, [0.01, 0.99])
    axes.hist(np.clip(values, low, high), bins=60)
    axes.set(xlabel=f"error, {unit}", ylabel="count")
    return _saved(figure, path)


def size_sweep(path: Path, sizes: Sequence[int], series: Mapping[str, Sequence[float]], unit: str, title: str) -> Path:
    """Draw an error over the number of channels."""
    figure, axes = _figure(title)
    for name, values in series.items():
        axes.plot(sizes, values, "o-", label=name)
    axes.set(xlabel="channels", ylabel=unit, xticks=list(sizes), ylim=(0, None))
    axes.legend()
    return _saved(figure, path)


def _figure(title: str, size: float = 4.5) -> tuple[Figure, Any]:
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9)
    return figure, axes


def _saved(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
