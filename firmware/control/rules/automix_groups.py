"""Which microphones share gain: talkers in group 1 by power, backing singers in group 2 in music mode."""

from __future__ import annotations

import numpy as np

from ..proposals import Proposal
from ..view import DRUMS, View

SHARE_MODES = ("off", "speech", "music", "gated")
SPEECH_GROUP, CHOIR_GROUP = 1, 2
CHOIR_DEPTH_DB = 8.0  # P: singers breathe, they do not vanish
WEIGHT_LIMIT_DB = 15.0
WEIGHT_DEAD_BAND_DB = 1.0
WEIGHT_SLEW_DB_PER_S = 40.0  # as fast as gain staging brings a new talker up
# What never shares gain, even when asked: it is no open microphone waiting for its turn.
_NEVER = (*DRUMS, "bass", "elec_guitar", "ac_guitar", "piano", "synth", "strings", "brass", "woodwind", "playback",
          "ambience")  # fmt: skip


class AutomixGroups:
    """``automix.group`` of channels and ``share.mode`` of groups.

    Parameters
    ----------
    asked_mode
        What the command line asks for: one of ``SHARE_MODES``, or None for what the roles say.
    """

    name = "automix_groups"
    period_ticks = 10

    def __init__(self, asked_mode: str | None) -> None:
        self._asked_mode = asked_mode
        self._roles_version = -1

    def propose(self, view: View) -> list[Proposal]:
        """Assign groups when roles change; weigh talkers as faders and trims move."""
        if self._roles_version == view.roles_version:
            return self._weights(view)
        self._roles_version = view.roles_version
        group, mode = self._plan(view)
        view.listening.turns.set_members(view.is_talker())
        proposals = [self._assign(view, ch, int(group[ch])) for ch in view.moved("automix.group", group, 0.0)]
        for number, share_mode in mode.items():
            cause = f"group {number} holds {int((group == number).sum())} microphones"
            proposals.append(
                Proposal("group", number - 1, "share.mode", float(SHARE_MODES.index(share_mode)), cause, {},
                         rule=self.name)
            )  # fmt: skip
            if number == CHOIR_GROUP:
                proposals.append(
                    Proposal("group", number - 1, "share.depth_db", CHOIR_DEPTH_DB, "singers breathe", {},
                             rule=self.name, is_companion=True)
                )  # fmt: skip
        return proposals

    def _weights(self, view: View) -> list[Proposal]:
        """Take each talker's gain out of the detector again, so that the table is judged as it sounds in the room.

        What brings a quiet talker up brings up the others in his microphone as well: judged behind the gain, it would
        win while they speak. With its noise taken out too, idle microphones share evenly, and a pause has the mean of
        their noise, as the talk has.
        """
        group, turns = view.value("automix.group"), view.listening.turns
        members = turns.takes_turns & (group == SPEECH_GROUP)
        if members.sum() < 2:
            return []
        gain_db = view.heading("input.trim_db") + view.heading("fader.level_db")
        weight_db = -(gain_db + turns.even_noise_dbfs)
        lowest, highest = float(weight_db[members].min()), float(weight_db[members].max())
        weight_db = np.clip(weight_db - 0.5 * (lowest + highest), -WEIGHT_LIMIT_DB, WEIGHT_LIMIT_DB)
        weight_db = np.where(members, weight_db, np.nan)
        return [
            Proposal("channel", ch, "automix.weight_db", float(weight_db[ch]),
                     "judged as loud as in the room, noise and gain taken out",
                     {"gain_db": float(gain_db[ch]), "noise_dbfs": float(turns.noise_dbfs[ch])}, rule=self.name,
                     slew_per_s=WEIGHT_SLEW_DB_PER_S)
            for ch in view.moved("automix.weight_db", weight_db, WEIGHT_DEAD_BAND_DB) if members[ch]
        ]  # fmt: skip

    def _plan(self, view: View) -> tuple[np.ndarray, dict[int, str]]:
        group = np.zeros(view.n_channels)
        if self._asked_mode == "off":
            return group, {}
        speech = view.is_talker()
        if self._asked_mode is not None:
            members = speech if speech.any() else ~view.is_role(*_NEVER)
            group[members] = SPEECH_GROUP
            return group, {SPEECH_GROUP: self._asked_mode}
        modes = {}
        if speech.sum() > 1:
            group[speech] = SPEECH_GROUP
            modes[SPEECH_GROUP] = "speech"
        choir = view.is_role("vocal_backing") & ~view.is_stereo
        if choir.sum() > 1:
            group[choir] = CHOIR_GROUP
            modes[CHOIR_GROUP] = "music"
        return group, modes

    def _assign(self, view: View, ch: int, group: int) -> Proposal:
        role = view.roles[ch].replace("_", " ")
        if group == 0:
            cause = f"{role} does not share gain"
        elif self._asked_mode is not None:
            cause = f"asked for: {self._asked_mode} mode"
        else:
            cause = "talkers take turns" if group == SPEECH_GROUP else "backing singers: closed while they pause"
        return Proposal("channel", ch, "automix.group", float(group), cause, {}, rule=self.name)
