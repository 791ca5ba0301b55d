"""What the numbers of the networks mean: normalised outputs into the units of the mixer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .answer import CHANNEL_DTYPE, SESSION_DTYPE, TARGETS, bounded
from .evidence import log_softmax
from .net_spec import Head

_LIMIT = 50.0  # of what a head may mean; exponents must not overflow
_SIGMA_OF = ("offset_lu", "pan_abs", "tone_db", "compressor_threshold_db", "send_db")


class Decoder:
    """Reads the output of one network as its heads say."""

    def __init__(self, heads: Mapping[str, Head]) -> None:
        self._scale = np.repeat([h.scale for h in heads.values()], [h.count for h in heads.values()])
        self._offset = np.repeat([h.offset for h in heads.values()], [h.count for h in heads.values()])
        self._place = {name: slice(h.first, h.first + h.count) for name, h in heads.items()}
        self._sigma_scale = np.array([heads[name].scale for name in _SIGMA_OF if name in heads])

    def read(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what all heads mean in ``rows (n, n_columns)``; what is no number means 0."""
        meant = rows * self._scale + self._offset
        meant = np.where(np.isfinite(meant), meant, 0.0)
        return np.minimum(np.maximum(meant, -_LIMIT), _LIMIT)

    def head(self, name: str, meant: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the columns of a head, ``(n, count)``."""
        return meant[:, self._place[name]]

    def session(self, z: NDArray[np.float32]) -> NDArray[np.void]:
        """Return what the song network says, ``(1, n)``, as a row of ``SESSION_DTYPE``."""
        meant = self.read(z)
        told = np.zeros((), SESSION_DTYPE)
        for name in ("beat", "downbeat", "boundary"):
            told[name] = _probability(self.head(name, meant))[0, 0]
        for name in ("section", "genre", "scene", "key"):
            told[f"{name}_prob"] = np.exp(log_softmax(self.head(name, meant)[0]))
        return told

    def channels(self, y: NDArray[np.float32]) -> NDArray[np.void]:
        """Return what the mix network says, ``(n_channels, n)``, as bounded rows of ``CHANNEL_DTYPE``."""
        meant = self.read(y)
        told = np.zeros(len(y), CHANNEL_DTYPE)
        for name in ("offset_lu", "pan_abs", "tone_db", "send_db"):
            told[name] = self.head(name, meant)
        told["threshold_db"] = self.head("compressor_threshold_db", meant)[:, 0]
        told["ratio"] = 2.0 ** np.minimum(self.head("compressor_log2_ratio", meant)[:, 0], 10.0)
        told["sigma"] = self._sigma_scale * np.exp(np.minimum(self.head("ln_sigma", meant), 5.0))
        for name in ("importance", "activity", "bleed"):
            told[name] = _probability(self.head(name, meant)[:, 0])
        return bounded(told)


def _probability(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-logit))


def targets_of(rows: NDArray[np.void], style: int) -> NDArray[np.float64]:
    """Return the targets of rows of ``CHANNEL_DTYPE`` in the order of ``TARGETS``, ``(n, len(TARGETS))``."""
    told = np.column_stack([
        rows["offset_lu"][:, style], rows["pan_abs"][:, style], rows["tone_db"], rows["threshold_db"], rows["ratio"],
        rows["send_db"][:, style],
    ])  # fmt: skip
    assert told.shape[1] == len(TARGETS)
    return told.astype(np.float64)
