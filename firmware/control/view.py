"""What a rule is given: the channels, what was heard on them, and where the parameters stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES
from firmware.observation import Loudness

from . import slots
from .arbiter import Arbiter
from .learned import Learned
from .listening import Listening
from .mixer_state import MixerState
from .proposals import Proposal

ROLE_INDEX = {role: n for n, role in enumerate(ROLES)}
VOICES = ("speech", "vocal_lead", "vocal_backing")
TALKER_CONFIDENCE = 0.75  # P: by the sound alone, singers are taken for talkers with less
LINE_PAUSE_S = 8.0  # P: two bars at a slow tempo; longer is a solo of somebody else
DRUMS = ("kick", "snare", "hihat", "tom", "cymbal", "drums", "percussion")
SILENT = Loudness(
    momentary_lufs=-100.0,
    short_term_lufs=-100.0,
    integrated_lufs=-100.0,
    loudness_range_lu=0.0,
    sample_peak_dbfs=-100.0,
    true_peak_dbtp=-100.0,
)


class View:
    """One mixer as rules see it. ``roles`` are words of the contract; ``has_role`` is False where nobody knows yet."""

    def __init__(
        self,
        names: list[str],
        is_stereo: NDArray[np.bool_],
        state: MixerState,
        arbiter: Arbiter,
        listening: Listening,
        learned: Learned,
        tick_s: float,
    ) -> None:
        self.names, self.is_stereo, self.n_channels = names, is_stereo, len(names)
        self.state, self.arbiter, self.listening, self.tick_s = state, arbiter, listening, tick_s
        self.learned = learned
        self.is_role_given = np.zeros(len(names), bool)  # by a name, a scene or the set-up
        self.time_s = 0.0
        self.loudness = SILENT
        self.limiter_gain_db = 0.0  # of the record bus, lowest of both sides since the last tick
        self.roles: list[str] = ["other"] * len(names)
        self.has_role = np.zeros(len(names), bool)
        self.role_confidence = np.zeros(len(names))
        self.roles_version = 0
        self._role_index = np.zeros(len(names), np.intp)
        self._is_named_lead = np.zeros(len(names), bool)
        self._values: dict[str, NDArray[np.float32]] = {}
        self._asked: dict[str, NDArray[np.float32]] = {}

    def set_roles(self, roles: list[str], confidence: NDArray[np.floating]) -> None:
        """Say what the channels are; rules that stand on roles look again."""
        self.roles = list(roles)
        self.role_confidence = np.asarray(confidence, np.float64)
        self.has_role = self.role_confidence > 0.0
        self._role_index = np.array([ROLE_INDEX[r] for r in roles], np.intp)
        self._is_named_lead = self.is_role_given & self.is_role("vocal_lead")
        self.roles_version += 1

    def by_role(self, table: Mapping[str, float], otherwise: float = 0.0) -> NDArray[np.float64]:
        """Return the table's value for each channel's role."""
        row = np.array([table.get(role, otherwise) for role in ROLES])
        return row[self._role_index]

    def is_role(self, *roles: str) -> NDArray[np.bool_]:
        """Return which channels have one of the roles."""
        return np.isin(self._role_index, [ROLE_INDEX[r] for r in roles])

    def leads(self) -> NDArray[np.bool_]:
        """Return which channels somebody named a lead vocal, and sound: between two lines they still do."""
        return self._is_named_lead & (self.listening.quiet_s < LINE_PAUSE_S)

    def is_talker(self) -> NDArray[np.bool_]:
        """Return which channels are speech surely enough to act on others: to share gain, to make a band give way.

        Where no band plays, a guess from the sound will do.
        """
        speech = self.is_role("speech")
        if self.scene_kind == "speech":
            return speech
        return speech & (self.role_confidence >= TALKER_CONFIDENCE)

    @property
    def scene_kind(self) -> str:
        """``speech``, ``music`` or ``mixed``: what the roles say the session is, or a model where names do not tell."""
        heard = self.learned.scene_kind
        if heard is not None and not self.is_role_given.all():
            return heard
        has_speech = bool(self.is_role("speech").any())
        has_music = not bool(self.is_role("speech", "playback", "ambience", "other").all())
        if has_speech:
            return "mixed" if has_music else "speech"
        return "music"

    def value(self, name: str) -> NDArray[np.float32]:
        """Return a live view of a channel parameter, shape ``(n_channels,)``."""
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = self.state.column(name, self.n_channels)
        return found

    def heading(self, name: str) -> NDArray[np.float32]:
        """Return where a channel parameter is going, or stands."""
        return slots.strided(self.arbiter.heading, "channel", name, self.n_channels)

    def rate_per_s(self, name: str) -> NDArray[np.float32]:
        """Return how fast a channel parameter is going where it is; what it was where it stands."""
        return slots.strided(self.arbiter.rate_per_s, "channel", name, self.n_channels)

    def asked(self, name: str) -> NDArray[np.float32]:
        """Return what was last asked for of a channel parameter; NaN where nothing was."""
        found = self._asked.get(name)
        if found is None:
            found = self._asked[name] = slots.strided(self.arbiter.asked, "channel", name, self.n_channels)
        return found

    def moved(self, name: str, wish: NDArray[np.floating], dead_band: float | NDArray[np.floating]) -> list[int]:
        """Return the channels whose wish is further than ``dead_band`` from what was last asked for."""
        is_near = np.abs(wish - self.asked(name)) <= dead_band  # NaN is not near
        return [] if is_near.all() else np.flatnonzero(~is_near).tolist()


class Rule(Protocol):
    """One published law, turned into wishes each ``period_ticks``."""

    name: str
    period_ticks: int

    def propose(self, view: View) -> list[Proposal]:
        """Return what should move, with the reason."""
        ...
