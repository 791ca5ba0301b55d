"""B3, the cross-adaptive rules of Perez-Gonzalez and Reiss, told from whole stems: loudness, panning, masking.

Every channel at the same loudness; channels of the same register spread over the width, the low ones in the middle; and
a cut where a channel covers one of the three strongest critical bands of another that does not need it itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..console import Setting
from ..measures.balance import BARK_EDGES_HZ, bark_powers
from ..measures.parameters import Band
from ..sessions import Session
from .levels import equal_loudness

LOW_HZ = 200.0
REGISTER_EDGES_HZ = (200.0, 800.0, 2500.0)
WIDTH = 0.5
N_TOP = 3
MARGIN_DB, CUT_LIMIT_DB, CUT_Q = 3.0, 6.0, 2.0
N_CUTS = 2
CENTRES_HZ = np.sqrt(np.maximum(BARK_EDGES_HZ[:-1], 50.0) * BARK_EDGES_HZ[1:])


def settings(session: Session) -> list[Setting]:
    """Return gain, pan and cuts of each channel."""
    levels = equal_loudness(session)
    power = np.stack([bark_powers(stem, session.sample_rate_hz).mean(axis=0) for stem in session.stems])
    gains_lin = np.array([10 ** (level.gain_db / 10) for level in levels])
    level_db = 10 * np.log10(power * gains_lin[:, None] + 1e-12)
    pans = positions(CENTRES_HZ[level_db.argmax(axis=1)], [stem.shape[1] == 2 for stem in session.stems])
    return [
        Setting(gain_db=level.gain_db, pan=float(pan), bands=cuts(level_db, ch))
        for ch, (level, pan) in enumerate(zip(levels, pans, strict=True))
    ]


def positions(dominant_hz: NDArray[np.floating], is_stereo: list[bool]) -> NDArray[np.float64]:
    """Return the pan of each channel; stereo channels keep their picture."""
    register = np.searchsorted(REGISTER_EDGES_HZ, dominant_hz, side="right")
    found = np.zeros(len(dominant_hz))
    for which in range(1, len(REGISTER_EDGES_HZ) + 1):
        members = [ch for ch in np.flatnonzero(register == which) if not is_stereo[ch]]
        for k, ch in enumerate(members):
            found[ch] = ((k + 0.5) / len(members) * 2 - 1) * WIDTH
    return found


def cuts(level_db: NDArray[np.floating], ch: int) -> tuple[Band, ...]:
    """Return the cuts of a channel, from the band levels of all, ``(n_channels, 24)``."""
    is_top = level_db >= np.partition(level_db, -N_TOP, axis=1)[:, -N_TOP, None]
    others = np.arange(len(level_db)) != ch
    over_db = np.where(is_top & others[:, None], level_db[ch] - level_db + MARGIN_DB, -np.inf).max(axis=0)
    cut_db = np.where(is_top[ch], 0.0, np.clip(over_db, 0.0, CUT_LIMIT_DB))
    deepest = [int(band) for band in np.argsort(-cut_db)[:N_CUTS] if cut_db[band] > 0.5]
    return tuple(
        Band(kind="bell", freq_hz=float(CENTRES_HZ[band]), gain_db=-float(cut_db[band]), q=CUT_Q) for band in deepest
    )
