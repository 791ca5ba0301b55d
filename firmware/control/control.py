"""The core of the control process: observations in, snapshots out; the same in, the same out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import STYLES
from firmware.errors import EvenhandError
from firmware.inference.answer import Answer, Question
from firmware.observation import TICK_MS, ChannelSetup, Observation

from . import slots
from .arbiter import Arbiter, Move, Pending
from .channel_roles import ChannelRoles
from .decisions import PREAMP_UNITS, Decision, DecisionLog
from .learned import Learned
from .listening import Listening
from .mixer_state import MixerState, Mode
from .proposals import Proposal
from .responses import MixGain
from .rules.automix_groups import SHARE_MODES, AutomixGroups
from .rules.balance import Balance
from .rules.bleed_alignment import BleedAlignment
from .rules.corrective_eq import CorrectiveEq
from .rules.ducking import Ducking
from .rules.dynamics import Dynamics
from .rules.gain_staging import LEARNED_S, GainStaging
from .rules.hpf import HighPass
from .rules.pan import Pan
from .rules.refine import Refinement
from .rules.ride import Ride
from .rules.sends import Sends
from .rules.unmask import Unmask
from .scenes import Scene
from .slots import SectionKey
from .summary import ChannelSummary, summarise
from .view import Rule, View

TICK_S = TICK_MS * 1e-3
CLASSIFY_TICKS = 50
PREAMP_PAUSE_S = 0.5  # P: a preamp is turned while nobody plays; a breath is shorter
PREAMP_HEADROOM_DB = 12.0  # so far under full scale of the converter a preamp brings the highest peak: live-dsp 2.4
RECORD_LEFT, RECORD_RIGHT = 2, 3  # rows of the bus meters


class Control:
    """Decides for one mixer.

    Parameters
    ----------
    channels
        The strips in engine order; a ``role`` that is given stands, another is read from the name, then from the sound.
    target_lufs
        Integrated loudness that the ride holds on the record bus.
    automix
        Sharing mode asked for, or None for what the roles say.
    scene
        Stored state to begin with; its names and roles stand where the channels have none.
    amount_percent
        How much of its wishes automation does, 0 to 100.
    style
        ``natural``, ``upfront`` or ``spacious``: which of its mixes a model is asked for.
    log
        Text file for the decision log; None keeps it in memory.

    Raises
    ------
    EvenhandError
        For an unknown role or automix mode, too many channels, or a scene that does not fit.
    """

    def __init__(
        self,
        channels: Sequence[ChannelSetup],
        *,
        sample_rate_hz: float,
        target_lufs: float = -16.0,
        automix: str | None = None,
        scene: Scene | None = None,
        amount_percent: float = 100.0,
        style: str = "natural",
        log: TextIO | None = None,
    ) -> None:
        if not 1 <= len(channels) <= slots.COUNT["channel"]:
            raise EvenhandError(f"{len(channels)} channels; a mixer has 1 to {slots.COUNT['channel']}")
        if automix is not None and automix not in SHARE_MODES:
            near = slots.near_misses(automix, list(SHARE_MODES))
            raise EvenhandError(f'no automix mode "{automix}"{near}; there are {", ".join(SHARE_MODES)}')
        if not -60.0 <= target_lufs <= 0.0:
            raise EvenhandError(f"target_lufs = {target_lufs:g} is outside -60 to 0")
        if style not in STYLES:
            near = slots.near_misses(style, list(STYLES))
            raise EvenhandError(f'no style "{style}"{near}; there are {", ".join(STYLES)}')
        self.sample_rate_hz = sample_rate_hz
        self.channels = tuple(channels)
        self.state = MixerState(amount_percent)
        if scene is not None:
            scene.apply(self.state)
        self.decisions = DecisionLog(log)
        self.learned = Learned(len(channels), TICK_S, style)
        self._arbiter = Arbiter(self.state, self.decisions, self._name_of, self._why)
        self._listening = Listening(len(channels), TICK_S)
        names = [c.name for c in channels]
        is_stereo = np.array([c.is_stereo for c in channels])
        self._view = View(names, is_stereo, self.state, self._arbiter, self._listening, self.learned, TICK_S)
        self._mix_gain = MixGain(self.state, len(channels))
        self._roles = ChannelRoles(channels, scene, self._view)
        self._generation = np.zeros(len(channels), np.uint8)
        self._balance = Balance(self._mix_gain)
        rules: tuple[Rule, ...] = (
            GainStaging(), self._balance, HighPass(), CorrectiveEq(), Unmask(self._mix_gain), Dynamics(), Pan(),
            Sends(), AutomixGroups(automix), Ducking(), BleedAlignment(), Ride(target_lufs),
        )  # fmt: skip
        # Rules take turns, so that no tick is long; balance follows gain staging at once: it makes up for the trim.
        self._rules = rules
        self._due: list[tuple[int, Rule]] = [(0 if n < 2 else n, rule) for n, rule in enumerate(self._rules)]
        self._tick = 0
        self._time_s = 0.0
        self._published = -1
        self._prepare(scene)

    def _name_of(self, scope: str, index: int) -> str:
        if scope == "channel" and index < len(self.channels):
            return self.channels[index].name
        return scope if slots.COUNT[scope] == 1 else f"{scope} {index + 1}"

    # ------------------------------------------------------------------------------------------------ tick

    def _prepare(self, scene: Scene | None) -> None:
        """Set what names and roles say, before the first sound; sections that a scene speaks of begin as it says."""
        stored = {SectionKey(s, i, slots.section_of(name)) for s, i, name in scene.values} if scene else set()
        for rule in self._rules:
            wishes = rule.propose(self._view)
            fresh = [p for p in wishes if SectionKey(p.scope, p.index, slots.section_of(p.param)) not in stored]
            self._arbiter.offer(fresh, 0.0)
        for scope, index, name in scene.values if scene else ():
            slot = slots.slot(scope, index, name)
            self._arbiter.asked[slot] = self.state.values[slot]
        self._arbiter.settle(0.0)

    def question(self, observation: Observation) -> Question:
        """Return what a model is to be asked after this tick."""
        moves = self._arbiter.moved_by_model() if self.learned.is_on else []
        unexplained = {move.proposal.index for move in moves if not self._is_explained(move)}
        return Question(
            tick=self._tick, features=observation.features, mix_features=observation.mix_features,
            trim_db=self._view.value("input.trim_db"), roles_given=self._roles.told, generation=self._generation,
            style=self.learned.style, asks_about=self.learned.next_question(unexplained, self._tick),
        )  # fmt: skip

    def replace_source(self, ch: int) -> None:
        """Say that another source is on a channel from now on: a model begins anew with it."""
        self._generation[ch] += 1

    def set_style(self, style: str) -> None:
        """Ask a model for another of its mixes; the targets glide."""
        if style not in STYLES:
            raise EvenhandError(f'no style "{style}"{slots.near_misses(style, list(STYLES))}')
        self.learned.set_style(style)

    def _is_explained(self, move: Move) -> bool:
        began_tick = self._tick - (self._time_s - move.began_s) / TICK_S
        return self.learned.is_explained(move.proposal.index, began_tick)

    def _why(self, move: Move) -> str:
        """Return in brackets what made a model's part of a move, where the model was asked about it."""
        proposal = move.proposal
        if "sigma" not in proposal.evidence or proposal.scope != "channel" or not self._is_explained(move):
            return ""
        return f"({self.learned.why(proposal.index, _target_of(proposal.param))})"

    def tick(self, observation: Observation, answer: Answer | None = None) -> NDArray[np.void] | None:
        """Take one look, and a model's answer to an earlier one, and decide.

        Returns
        -------
        A new snapshot, shape ``()`` of ``PARAMS_DTYPE``, or None when nothing changed since the last.
        """
        view, time_s = self._view, observation.time_s
        self._time_s = view.time_s = time_s
        view.loudness = observation.loudness
        limiter_gain_db = observation.bus_meters["limiter_gain_db"]
        view.limiter_gain_db = float(min(limiter_gain_db[RECORD_LEFT], limiter_gain_db[RECORD_RIGHT]))
        self._listening.hear(observation, view.value("input.trim_db"))
        if answer is not None or self.learned.has_answers:
            was_alive = self.learned.is_alive
            self.learned.hear(answer, self._listening.active_s, view.leads())
            if was_alive and not self.learned.is_alive:
                self._arbiter.let_go_of_model(time_s)
        for offset, rule in self._due:
            if (self._tick + offset) % rule.period_ticks == 0:
                proposals = rule.propose(view)
                if proposals:
                    self._arbiter.offer(proposals, time_s)
        if (self._tick + 33) % CLASSIFY_TICKS == 0:
            self._roles.listen()
        self._arbiter.advance(time_s, TICK_S)
        self._tick += 1
        return self.snapshot()

    def snapshot(self) -> NDArray[np.void] | None:
        """Return the state as a snapshot when it changed since it was last returned, else None."""
        if self._published == self.state.n_changes:
            return None
        self._published = self.state.n_changes
        return self.state.snapshot()

    @property
    def refinement(self) -> Refinement:
        """How far the mix was from the balance that was asked for, and what was done about it."""
        return self._balance.refinement

    @property
    def listening(self) -> Listening:
        """What was heard on the channels: the evidence, for models and reports."""
        return self._listening

    def offer(self, proposals: Sequence[Proposal]) -> None:
        """Hear a model."""
        self._arbiter.offer(proposals, self._time_s)

    def finish(self) -> None:
        """Tell the moves that are still under way: the session is over."""
        self._arbiter.flush(self._time_s)

    # ---------------------------------------------------------------------------------- the engineer's hand

    def set_parameter(self, scope: str, index: int, name: str, value: float) -> Decision:
        """Set a parameter by hand: at once, and its section is manual from now on. ``index`` counts from 0."""
        slot = slots.slot(scope, index, name)
        value = self.state.clamped(slot, float(value))
        section = int(slots.SECTION[slot])
        mode_before, before = int(self.state.mode[section]), float(self.state.values[slot])
        self.state.set_base(slot, value)
        self.state.mode[section] = Mode.MANUAL
        self._arbiter.hold_section_still(section)
        return self._log_engineer(scope, index, name, before, "set by hand", mode_before)

    def _log_engineer(self, scope: str, index: int, name: str, before: float, cause: str, mode_before: int) -> Decision:
        slot = slots.slot(scope, index, name)
        return self.decisions.add(
            time_s=self._time_s, scope=scope, index=index, channel=self._name_of(scope, index), parameter=name,
            from_value=before, to_value=float(self.state.values[slot]), unit=slots.INFO[slot].entry.unit,
            cause=cause, evidence={}, confidence=1.0, source="engineer", rule="hand", mode_before=mode_before,
        )  # fmt: skip

    def undo(self, decision_id: int) -> Decision:
        """Take a logged move back.

        A move of automation: the value from before stands, and the section is manual, or it would be done again. A move
        by hand: value and mode from before.
        """
        decision = self.decisions.find(decision_id)
        if decision is None:
            raise EvenhandError(f"decision {decision_id} is not in the log; it keeps the last {len(self.decisions)}")
        if decision.parameter in PREAMP_UNITS:
            raise EvenhandError(f"decision {decision_id} is the preamp's; set the preamp itself")
        slot = slots.slot(decision.scope, decision.index, decision.parameter)
        section = int(slots.SECTION[slot])
        mode_before, before = int(self.state.mode[section]), float(self.state.values[slot])
        self.state.set_base(slot, decision.from_value)
        self.state.mode[section] = decision.mode_before if decision.source == "engineer" else Mode.MANUAL
        self._arbiter.hold_section_still(section)
        cause = f"takes back decision {decision_id}"
        return self._log_engineer(decision.scope, decision.index, decision.parameter, before, cause, mode_before)

    def set_mode(self, scope: str, index: int, section: str, mode: Mode) -> None:
        """Let automation move a section, ask first, or keep off."""
        self.state.set_mode(scope, index, section, mode)
        self._arbiter.hold_section_still(self.state.section(scope, index, section))

    def set_locked(self, scope: str, index: int, section: str, is_locked: bool) -> None:
        """Lock a section against everybody but the engineer."""
        self.state.set_locked(scope, index, section, is_locked)
        self._arbiter.hold_section_still(self.state.section(scope, index, section))

    def set_amount(self, scope: str, index: int, section: str, amount_percent: float) -> None:
        """Scale what automation does in a section."""
        self.state.set_amount(scope, index, section, amount_percent)
        self._arbiter.apply_amount(self.state.section(scope, index, section), self._time_s)

    @property
    def pending(self) -> tuple[Pending, ...]:
        """Proposals of sections in assist, waiting for a tap."""
        return self._arbiter.pending

    def accept(self, pending_id: int) -> bool:
        """Do what was proposed; False when it is gone."""
        return self._arbiter.accept(pending_id, self._time_s)

    def reject(self, pending_id: int) -> bool:
        """Drop what was proposed; False when it is gone."""
        return self._arbiter.reject(pending_id)

    @property
    def time_s(self) -> float:
        """When the last observation was made."""
        return self._time_s

    # ---------------------------------------------------------------------------------------------- preamps

    def follow_preamp(self, ch: int, gain_db: float) -> None:
        """Make up with the trim for a preamp that is not where it was: the sum stays."""
        gained_db = gain_db - float(self.state.preamp_gain_db[ch])
        self._arbiter.shift(slots.slot("channel", ch, "input.trim_db"), -gained_db)
        self._listening.shift(ch, gained_db)
        self.state.preamp_gain_db[ch] = gain_db

    def yield_to_preamp(self, ch: int, gain_db: float) -> None:
        """Let stand what somebody turned at a preamp; the input section is manual from now on."""
        self._listening.shift(ch, gain_db - float(self.state.preamp_gain_db[ch]))
        self.state.preamp_gain_db[ch] = gain_db
        self.set_mode("channel", ch, "input", Mode.MANUAL)

    def log_preamp(self, ch: int, parameter: str, before: float, after: float, cause: str, source: str) -> Decision:
        """Keep a line about a preamp; ``parameter`` is a key of ``PREAMP_UNITS``."""
        return self.decisions.add(
            time_s=self._time_s, scope="channel", index=ch, channel=self._name_of("channel", ch), parameter=parameter,
            from_value=before, to_value=after, unit=PREAMP_UNITS[parameter], cause=cause, evidence={}, confidence=1.0,
            source=source, rule="hand" if source == "engineer" else "preamps",
        )  # fmt: skip

    def trim_for_preamp_db(self, ch: int) -> float:
        """Return what a preamp may take over of the trim now: 0 while somebody else has it, it moves, or it sounds."""
        section, slot = self.state.section("channel", ch, "input"), slots.slot("channel", ch, "input.trim_db")
        heard = self._listening
        is_ours = self.state.mode[section] == Mode.AUTO and not self.state.is_locked[section]
        is_at_rest = self._arbiter.heading[slot] == self.state.values[slot]
        is_known = heard.active_s[ch] >= LEARNED_S and heard.quiet_s[ch] >= PREAMP_PAUSE_S and not heard.is_active[ch]
        if not (is_ours and is_at_rest and is_known):
            return 0.0
        room_db = -PREAMP_HEADROOM_DB - float(heard.source_peak_dbfs[ch])
        return min(float(self.state.values[slot]), max(room_db, 0.0))

    # --------------------------------------------------------------------------------------------- readings

    @property
    def roles(self) -> list[tuple[str, str, float]]:
        """Name, role and confidence of each channel."""
        view = self._view
        return [(n, r, float(c)) for n, r, c in zip(view.names, view.roles, view.role_confidence, strict=True)]

    @property
    def roles_given(self) -> dict[int, str]:
        """Roles that somebody chose, by channel: neither read from a name nor guessed."""
        return self._roles.chosen

    @property
    def scene_kind(self) -> str:
        """``speech``, ``music`` or ``mixed``."""
        return self._view.scene_kind

    def mix_gain_bark(self) -> NDArray[np.float64]:
        """Return the gain of each critical band of each channel into the mix, ``(n_channels, 24)`` linear.

        The array stays the same object until something moved.
        """
        return self._mix_gain.read()

    def channel_summaries(self) -> list[ChannelSummary]:
        """Return what a report says about each channel."""
        return summarise(self._view, self._arbiter)

    def scene(self, title: str = "") -> Scene:
        """Return the state as a scene."""
        names = {index: c.name for index, c in enumerate(self.channels)}
        roles = {index: role for index, (_, role, confidence) in enumerate(self.roles) if confidence > 0.0}
        return Scene.of(self.state, title=title, names=names, roles=roles)

    def as_record(self) -> dict[str, Any]:
        """Return counters for a status page."""
        return {"n_decisions": self.decisions.n_decisions, "n_refused": self._arbiter.n_refused,
                "state_hash": self.state.state_hash(), "scene_kind": self.scene_kind}  # fmt: skip


def _target_of(param: str) -> str:
    """Return which target of a model a parameter follows."""
    if param.startswith("eq."):
        return f"tone_db.{param.split('.')[1]}"
    found = {"fader.level_db": "offset_lu", "pan.position": "pan_abs", "fx_send.1.level_db": "send_db",
             "compressor.ratio": "ratio"}  # fmt: skip
    return found.get(param, "threshold_db")
