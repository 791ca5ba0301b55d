"""The parameters of the good mix of a recorded session, from what is true about it; tables in targets.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES, SECTIONS, STYLES

from .performance import Performance
from .recording import RecordedSession
from .stem_truth import StemTruth

TICKS_PER_S = 50
HELD_S = 1.0  # who fell silent for less still matters
PAUSE_S = 2.0  # a lead that pauses for less is not replaced
_VOICES = ("speech", "vocal_lead")


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Sampled from the valid answers; shapes and units as the shards have them.

    Attributes
    ----------
    importance
        ``(n_ticks, n_channels)``, 0 to 1; the lead is 1.
    offset_lu
        ``(n_styles, n_seconds, n_channels)`` relative to the lead.
    pan_abs
        ``(n_styles, n_channels)``.
    tone_db
        ``(n_channels, 4)``.
    compressor
        ``(n_channels, 2)``: threshold relative to the channel's slow loudness in dB, and ratio.
    send_db
        ``(n_styles, n_seconds, n_channels)``.
    sigma
        ``(5,)``: of offset, pan, tone, compressor threshold and send.
    """

    importance: NDArray[np.float64]
    offset_lu: NDArray[np.float64]
    pan_abs: NDArray[np.float64]
    tone_db: NDArray[np.float64]
    compressor: NDArray[np.float64]
    send_db: NDArray[np.float64]
    sigma: NDArray[np.float64]


@cache
def tables() -> dict[str, Any]:
    """Return targets.toml."""
    return tomllib.loads(Path(__file__).with_name("targets.toml").read_text(encoding="utf-8"))


def targets(rng: np.random.Generator, session: RecordedSession) -> Targets:
    """Return one valid answer for every style: the tables' answer plus a spread that stays with a channel."""
    t, performance = tables(), session.performance
    roles = [mic.role for mic in session.microphones]
    genre = performance.genre or "speech"
    scale = t["sigma"]["genre"][genre]
    sigma = scale * np.array([t["sigma"][key] for key in ("offset_lu", "pan_abs", "tone_db", "compressor_db",
                                                          "send_db")])  # fmt: skip
    spread = rng.standard_normal((len(roles), 4 + 4))
    importance, leads = _importance(session, roles)
    seconds = [slice(start, start + TICKS_PER_S) for start in range(0, session.n_ticks, TICKS_PER_S)]
    lead_share = np.array([leads[second].mean(axis=0) for second in seconds])
    section = section_words(performance, len(seconds), 1.0)
    offset = _offsets(session, roles, lead_share, section) + sigma[0] * spread[:, 0]
    send = _sends(session, roles, section)
    off_db = t["send"]["off_db"]
    send = np.where(send > off_db, np.maximum(send + sigma[4] * spread[:, 3], off_db), off_db)
    pan = _pans(session, roles)
    pan = np.where(pan > 0.0, np.clip(pan + sigma[1] * spread[:, 1], 0.0, 1.0), 0.0)
    compressor = _compressors(session, roles)
    is_on = compressor[:, 1] > 1.0
    compressor[:, 0] += sigma[3] * spread[:, 2] * is_on
    compressor[:, 1] = np.where(is_on, np.maximum(compressor[:, 1] * 2.0 ** (0.1 * sigma[3] * spread[:, 2]), 1.0), 1.0)
    tone = _tones(session, roles) + sigma[2] * spread[:, 4:]
    return Targets(
        importance=importance,
        offset_lu=offset,
        pan_abs=pan,
        tone_db=np.clip(tone, -t["tone"]["most_db"], t["tone"]["most_db"]),
        compressor=compressor,
        send_db=send,
        sigma=sigma,
    )


def section_words(performance: Performance, n: int, step_s: float) -> list[str | None]:
    """Return the section at the middle of each of ``n`` steps; None for talk and before the first."""
    begins = np.array([begin for begin, _ in performance.sections])
    at = np.searchsorted(begins, (np.arange(n) + 0.5) * step_s, side="right") - 1
    return [performance.sections[k][1] if k >= 0 else None for k in at.tolist()]


def _importance(session: RecordedSession, roles: list[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how much each channel matters and who leads, tick by tick."""
    base = np.array([tables()["importance"][role] for role in roles])
    sounds = _widened(session.is_active, HELD_S)
    leads = np.zeros(sounds.shape, bool)
    instants_s = (np.arange(session.n_ticks) + 0.5) / TICKS_PER_S
    for ch, mic in enumerate(session.microphones):
        if mic.stem is not None and not mic.is_dead:
            for begin_s, end_s in session.stems[mic.stem].lead_spans_s:
                leads[:, ch] |= (instants_s >= begin_s) & (instants_s < end_s)
    leads &= sounds
    # Where nobody leads for a while, whoever could carry a tune and matters most of those who sound takes the place.
    weight = np.where(sounds, base, 0.0)
    is_led = _widened(leads.any(axis=1, keepdims=True), PAUSE_S)[:, 0]
    tuneful = weight * np.isin(roles, (*tables()["lead"]["tune_roles"], "vocal_lead", "vocal_backing", "speech"))
    takes_over = ~is_led & (tuneful.max(axis=1) > 0.0)
    leads[np.flatnonzero(takes_over), np.argmax(tuneful[takes_over], axis=1)] = True
    return np.where(leads, 1.0, weight), leads


def _widened(happens: NDArray[np.bool_], by_s: float) -> NDArray[np.bool_]:
    """Return where something happens within ``by_s`` before or after, along ticks."""
    size = 2 * int(by_s * TICKS_PER_S) + 1
    return scipy.ndimage.maximum_filter1d(happens.astype(np.uint8), size, axis=0, mode="constant") > 0


def _by_role(table: dict[str, float], roles: list[str], otherwise: float = 0.0) -> NDArray[np.float64]:
    return np.array([table.get(role, otherwise) for role in roles])


def _offsets(
    session: RecordedSession, roles: list[str], lead_share: NDArray[np.float64], section: list[str | None]
) -> NDArray[np.float64]:
    t, genre = tables(), session.performance.genre
    own = _by_role(t["offset_lu"], roles)
    if genre is not None:
        own = own + _by_role(t["genre_lu"][genre], roles)
    own = own - t["crowd"]["db_per_doubling"] * np.log2(_crowd(session, roles))
    by_section = {word: _by_role(t["section_lu"][word], roles) for word in SECTIONS}
    moved = np.stack([by_section[word] if word is not None else np.zeros(len(roles)) for word in section])
    lead = np.where(np.isin(roles, _VOICES), t["lead"]["vocal_lu"], t["lead"]["instrument_lu"])
    another_leads = np.clip(lead_share.sum(axis=1, keepdims=True) - lead_share, 0.0, 1.0)
    takeover = t["lead"]["takeover_lu"]
    is_tune = np.isin(roles, t["lead"]["tune_roles"])
    styles = []
    for style in STYLES:
        follows = own + moved + _by_role(t["style_lu"][style], roles)
        follows = follows - is_tune * another_leads * np.maximum(follows - takeover, 0.0)
        styles.append(_under_talk(session, roles, lead_share * lead + (1.0 - lead_share) * follows))
    return np.stack(styles)


def _under_talk(session: RecordedSession, roles: list[str], offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower everything but talk where somebody talks; a session of music alone is left as it is."""
    t = tables()["talk"]
    is_talk = np.isin(roles, "speech")
    if session.performance.scene_kind == "music" or not is_talk.any():
        return offset
    talks = session.is_active[:, is_talk].any(axis=1).astype(float)
    share = np.array([talks[k * TICKS_PER_S : (k + 1) * TICKS_PER_S].mean() for k in range(len(offset))])
    near = np.maximum(share, np.maximum(np.append(share[1:], 0.0), np.insert(share[:-1], 0, 0.0)) * 0.5)
    ducked = np.minimum(1.0, 2.0 * near)[:, None]
    # The bed as a whole belongs bed_lu under the talk: the loudest of it, and the rest as far below as before.
    loudest = offset[:, ~is_talk].max(axis=1, keepdims=True) if (~is_talk).any() else np.zeros((len(offset), 1))
    under = offset - loudest + t["bed_lu"]
    alone = offset - loudest + t["alone_lu"] if session.performance.scene_kind == "speech" else offset
    return np.where(is_talk, offset, ducked * under + (1.0 - ducked) * alone)


def _crowd(session: RecordedSession, roles: list[str]) -> NDArray[np.float64]:
    """Return how many channels share a channel's role; talkers take turns, and share gain."""
    sounds = session.is_active.any(axis=0)
    return np.array([
        1.0 if role == "speech" else max(1.0, float(sum(r == role and s for r, s in zip(roles, sounds, strict=True))))
        for role in roles
    ])  # fmt: skip


def _pans(session: RecordedSession, roles: list[str]) -> NDArray[np.float64]:
    t, genre = tables()["pan"], session.performance.genre
    several = _sources_of_role(session, roles) > 1
    wide = np.where(several, _by_role(t["several"], roles), _by_role(t["alone"], roles))
    wide = wide * (t["genre"][genre] if genre is not None else 1.0)
    is_stereo = np.array([mic.is_stereo for mic in session.microphones])
    wide = np.where(np.isin(roles, t["centre"]) | is_stereo, 0.0, wide)
    return np.clip(np.stack([wide * t["style"][style] for style in STYLES]), 0.0, 1.0)


def _sources_of_role(session: RecordedSession, roles: list[str]) -> NDArray[np.int64]:
    stems = [mic.stem for mic in session.microphones]
    return np.array([len({s for s, r in zip(stems, roles, strict=True) if r == role}) for role in roles])


def _sends(session: RecordedSession, roles: list[str], section: list[str | None]) -> NDArray[np.float64]:
    t, performance = tables()["send"], session.performance
    base = _by_role(t["role"], roles, t["off_db"])
    is_wet = base > t["off_db"]
    base = base + (t["genre"][performance.genre] if performance.genre is not None else 0.0)
    base = base - t["stereo_less_db"] * np.array([mic.is_stereo for mic in session.microphones])
    base = base - (t["mixed_less_db"] if performance.scene_kind == "mixed" else 0.0)
    by_second = np.array([t["section"][word] if word is not None else 0.0 for word in section])[:, None]
    sends = np.stack([base + by_second + t["style"][style] for style in STYLES])
    return np.where(is_wet, np.maximum(sends, t["off_db"] + 2.0), t["off_db"])


def _compressors(session: RecordedSession, roles: list[str]) -> NDArray[np.float64]:
    t, genre = tables()["compressor"], session.performance.genre
    factor = t["genre"][genre] if genre is not None else 1.0
    excess = (_by_role(t["ratio"], roles, 1.0) - 1.0) * factor
    livelier_db = np.array([_spread_db(session, ch) for ch in range(len(roles))]) - t["usual_spread_db"]
    excess = excess * np.clip(1.0 + t["ratio_per_db"] * livelier_db, 0.4, 1.5)
    threshold = _by_role(t["threshold_db"], roles)
    return np.stack([threshold, np.minimum(1.0 + excess, t["most_ratio"])], axis=1)


def _spread_db(session: RecordedSession, ch: int) -> float:
    stem = session.microphones[ch].stem
    truth: StemTruth | None = None if stem is None else session.truths[stem]
    return tables()["compressor"]["usual_spread_db"] if truth is None else truth.spread_db


def _tones(session: RecordedSession, roles: list[str]) -> NDArray[np.float64]:
    t, genre = tables()["tone"], session.performance.genre
    habit = np.array([t["role"].get(role, [0.0] * 4) for role in roles])
    factor = t["genre"][genre] if genre is not None else 1.0
    has_source = np.array([mic.stem is not None for mic in session.microphones])[:, None]
    return np.where(has_source, factor * habit - session.eq_fault_db, 0.0)


def role_indices(session: RecordedSession) -> NDArray[np.int16]:
    """Return each channel's role as an index into ``ROLES``."""
    return np.array([ROLES.index(mic.role) for mic in session.microphones], np.int16)
