"""Everything that is measured on one mix of one session."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measures import audio_features, automix_mape, balance, fitted_levels, loudness, spectral_loss, stability
from .sessions import Session

MATCH_LUFS = -23.0  # every mix is brought to this before it is compared
LOWER_IS_BETTER = (
    "mape_loudness_percent", "mape_spectral_percent", "mape_panning_percent", "mape_dynamic_percent",
    "fixed_loudness_percent", "fixed_spectral_percent", "fixed_panning_percent", "fixed_dynamic_percent",
    "af_loss", "mr_stft", "balance_lu", "balance_fitted_lu", "lead_to_band_error_lu", "masked_fraction",
    "worst_lead_masked_fraction",
)  # fmt: skip
HIGHER_IS_BETTER = ("order_tau",)
PLAIN = ("lead_to_band_lu", "loudness_range_lu", "true_peak_dbtp", "peak_to_loudness_lu")
FADER = "fader.level_db"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the mixes of a session are compared with, measured once."""

    mix: NDArray[np.floating]
    levels_lu: NDArray[np.float64]  # of its strips, or fitted where only the mix is known
    fitted_lu: NDArray[np.float64]
    lead_to_band_lu: float
    features: audio_features.AudioFeatures
    stems: fitted_levels.StemPowers
    target: automix_mape.Target


def measure_reference(session: Session) -> Reference | None:
    """Return what there is to know of the session's reference; None without one."""
    if session.reference is None:
        return None
    rate_hz = session.sample_rate_hz
    mix = loudness.at_loudness(session.reference, rate_hz, MATCH_LUFS)
    stems = fitted_levels.stem_powers(list(session.stems), rate_hz)
    fitted = fitted_levels.fitted_levels_lu(stems, mix, rate_hz)
    strips = session.reference_strips
    return Reference(
        mix=mix,
        levels_lu=balance.levels_lu(list(strips), session.reference, rate_hz) if strips else fitted,
        fitted_lu=fitted,
        lead_to_band_lu=balance.lead_to_band_lu(list(strips), session.is_lead, rate_hz) if strips else math.nan,
        features=audio_features.measure(mix, rate_hz),
        stems=stems,
        target=automix_mape.target_of(mix, rate_hz),
    )


def score(
    session: Session,
    mix: NDArray[np.floating],
    strips: list[NDArray[np.floating]] | None,
    reference: Reference | None,
) -> dict[str, float]:
    """Return every measure that applies; ``strips`` sum up to ``mix`` and are None where only the mix is known."""
    rate_hz = session.sample_rate_hz
    heard = loudness.measure(mix, rate_hz)
    matched = loudness.at_loudness(mix, rate_hz, MATCH_LUFS)
    found = {
        "loudness_range_lu": heard.loudness_range_lu,
        "true_peak_dbtp": heard.true_peak_dbtp,
        "peak_to_loudness_lu": heard.peak_to_loudness_lu,
    }
    if strips:
        masking = balance.masking(strips, session.is_lead, rate_hz)
        found |= {
            "lead_to_band_lu": balance.lead_to_band_lu(strips, session.is_lead, rate_hz),
            "masked_fraction": masking.mean,
            "worst_lead_masked_fraction": masking.worst_lead,
        }
    return found | (_against(session, matched, strips, reference, found) if reference else {})


def _against(
    session: Session,
    matched: NDArray[np.float64],
    strips: list[NDArray[np.floating]] | None,
    reference: Reference,
    found: dict[str, float],
) -> dict[str, float]:
    rate_hz = session.sample_rate_hz
    errors = automix_mape.compare(reference.target, matched, rate_hz)
    fitted = fitted_levels.fitted_levels_lu(reference.stems, matched, rate_hz)
    # Like is compared with like: exact strips with exact strips, fitted levels with fitted ones.
    is_exact = bool(strips) and session.reference_strips is not None
    levels = balance.levels_lu(strips, matched_sum(strips), rate_hz) if strips and is_exact else fitted
    truth = reference.levels_lu if is_exact else reference.fitted_lu
    parity, fixed = (automix_mape.group_means(errors, field) for field in ("mape_percent", "fixed_percent"))
    return {
        **{f"mape_{group}_percent": value for group, value in parity.items()},
        **{f"fixed_{group}_percent": value for group, value in fixed.items()},
        **{f"{name}_error_{error.unit}": error.absolute for group in errors.values() for name, error in group.items()},
        "af_loss": audio_features.af_loss(audio_features.measure(matched, rate_hz), reference.features),
        "mr_stft": spectral_loss.stereo_distance(matched, reference.mix),
        "balance_lu": balance.balance_error_lu(levels, truth),
        "balance_fitted_lu": balance.balance_error_lu(fitted, reference.fitted_lu),
        "order_tau": balance.order_tau(levels, truth),
        "lead_to_band_error_lu": abs(found.get("lead_to_band_lu", math.nan) - reference.lead_to_band_lu),
    }


def matched_sum(strips: list[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the plain sum of strips: what levels are relative to, without what buses add."""
    return np.sum([np.asarray(strip, np.float64) for strip in strips], axis=0)


def restlessness(decisions: list[dict[str, Any]], n_channels: int, duration_s: float) -> dict[str, float]:
    """Return the stability of the faders, from a decision log."""
    moves = [
        (int(d["index"]), float(d["time_s"]), float(d["from"]), float(d["to"]))
        for d in decisions
        if d["scope"] == "channel" and d["parameter"] == FADER
    ]
    found = stability.of_moves(moves, n_channels, duration_s)
    return {
        "fader_variation_db_per_min": found.variation_per_minute,
        "fader_max_slew_db_per_s": found.max_slew_per_s,
        "fader_reversed_percent": found.reversed_percent,
    }
