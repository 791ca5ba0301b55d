"""The baselines by name, as mixes of a session."""

from __future__ import annotations

from collections.abc import Callable

from ..console import Mixed, Setting, gain_shared, render
from ..sessions import Session
from . import levels, perez_gonzalez
from .students import CLIP, TICK, Students

BY_SETTINGS: dict[str, Callable[[Session], list[Setting]]] = {
    "B0 sum": levels.unity,
    "B1 equal LUFS": levels.equal_loudness,
    "B2 LUFS + role offsets": levels.role_offsets,
    "B3 Perez-Gonzalez": perez_gonzalez.settings,
    "B8 random": levels.chance,
}
GAIN_SHARING, ORACLE = "B4 Dugan/NOM", "B7 oracle labels"


def mixes(session: Session, students: Students | None = None) -> dict[str, Mixed]:
    """Return the mix of every baseline that applies.

    Gain sharing to talk alone, the oracle where there is truth, and the learned ones where they were fitted.
    """
    rate_hz = session.sample_rate_hz
    made = {name: render(session.stems, rule(session), rate_hz) for name, rule in BY_SETTINGS.items()}
    if all(role == "speech" for role in session.roles):
        made[GAIN_SHARING] = render(gain_shared(session.stems, rate_hz), levels.unity(session), rate_hz)
    if "offset_lu" in session.truth:
        made[ORACLE] = render(session.stems, levels.oracle(session), rate_hz)
    if students is not None:
        from . import learned  # needs the feature kernels, which plain baselines do not

        x = learned.inputs_of(session)
        made[CLIP] = render(session.stems, learned.clip_settings(session, students, x), rate_hz)
        made[TICK] = render(session.stems, learned.tick_settings(students, x), rate_hz)
    return made
