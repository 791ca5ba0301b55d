"""Baselines that set levels: the sum, equal loudness, equal loudness with role offsets, the truth, and chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..console import Setting
from ..measures.loudness import measure
from ..measures.parameters import tone_bands
from ..sessions import Session

SILENT_LUFS = -70.0
COMMON_LUFS = -30.0
# What a role is worth in four steps, LU under the lead (P): coarse on purpose, this is a baseline.
STEP_LU = {
    0.0: ("vocal_lead", "speech"),
    -3.0: ("kick", "snare", "bass", "drums", "playback"),
    -10.0: ("hihat", "cymbal", "percussion", "ambience"),
}
OTHER_STEP_LU = -6.0
RANDOM_GAIN_DB = 12.0


def stem_lufs(session: Session) -> NDArray[np.float64]:
    """Return the loudness of each stem; ``nan`` for a silent one."""
    values = np.array([measure(stem, session.sample_rate_hz).integrated_lufs for stem in session.stems])
    return np.where(values > SILENT_LUFS, values, np.nan)


def unity(session: Session) -> list[Setting]:
    """B0: the sum of what comes in."""
    return [Setting() for _ in session.stems]


def equal_loudness(session: Session, offsets_lu: NDArray[np.floating] | None = None) -> list[Setting]:
    """B1: every channel equally loud; with ``offsets_lu``, that much apart."""
    offsets = np.zeros(len(session.stems)) if offsets_lu is None else offsets_lu
    gains_db = COMMON_LUFS + offsets - stem_lufs(session)
    return [Setting(gain_db=float(gain)) if np.isfinite(gain) else Setting() for gain in gains_db]


def role_offsets(session: Session) -> list[Setting]:
    """B2: equal loudness plus what the true role is worth."""
    of_role = {role: step for step, roles in STEP_LU.items() for role in roles}
    return equal_loudness(session, np.array([of_role.get(role, OTHER_STEP_LU) for role in session.roles]))


def oracle(session: Session) -> list[Setting]:
    """B7: the settings that the session itself says are right."""
    truth = session.truth
    n = len(session.stems)
    offsets = np.asarray(truth["offset_lu"], float)
    pans = np.asarray(truth.get("pan", np.zeros(n)), float)
    tones = np.asarray(truth.get("tone_db", np.zeros((n, 4))), float)
    return [
        Setting(
            gain_db=level.gain_db, pan=float(pan), bands=tuple(b for b in tone_bands(tone) if abs(b.gain_db) > 0.05)
        )
        for level, pan, tone in zip(equal_loudness(session, offsets), pans, tones, strict=True)
    ]


def chance(session: Session, seed: int = 0) -> list[Setting]:
    """B8: gains around equal loudness and pans at random."""
    rng = np.random.default_rng(seed)
    n = len(session.stems)
    gains, pans = rng.uniform(-RANDOM_GAIN_DB, RANDOM_GAIN_DB, n), rng.uniform(-1, 1, n)
    return [
        Setting(gain_db=level.gain_db + gain, pan=float(pan))
        for level, gain, pan in zip(equal_loudness(session), gains, pans, strict=True)
    ]
