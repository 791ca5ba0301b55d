"""What each channel is: what somebody said, else what a model hears, else a plain guess from the sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsp_kernels.contract.generated.contract import ROLES
from firmware.observation import ChannelSetup

from .classify import Classifier
from .roles import role_from_name, role_or_refuse
from .scenes import Scene
from .view import View


class ChannelRoles:
    """Tells the view, and a model, the roles of ``channels``.

    Raises
    ------
    EvenhandError
        For an unknown role.
    """

    def __init__(self, channels: Sequence[ChannelSetup], scene: Scene | None, view: View) -> None:
        self._view, self._learned, self._listening = view, view.learned, view.listening
        self._classifier = Classifier(view.is_stereo)
        self._given = [_given(index, channel, scene) for index, channel in enumerate(channels)]
        view.is_role_given = view.learned.is_named = np.array([known is not None for known in self._given])
        # Index of a role that somebody said, -1 where nobody did: what a model is told.
        self.told = np.array([ROLES.index(known[0]) if known else -1 for known in self._given], np.int8)
        self._show()

    @property
    def chosen(self) -> dict[int, str]:
        """Roles that somebody chose, by channel: neither read from a name nor guessed."""
        return {ch: known[0] for ch, known in enumerate(self._given) if known is not None and known[1] == 1.0}

    def listen(self) -> None:
        """Let the model say what nobody named; where it has said nothing and none is there, the plain guess."""
        unknown = ~self._view.is_role_given
        if not unknown.any():
            return
        if self._learned.is_on:
            has_changed = self._learned.decide_roles(unknown)
        else:
            is_known = np.array([confidence > 0.0 for _, confidence in self._learned.roles])
            has_changed = self._classifier.listen(self._listening, unknown & ~is_known)
        if has_changed:
            self._show()

    def _show(self) -> None:
        heard = zip(self._learned.roles, self._classifier.roles, strict=True)
        guesses = [learned if learned[1] > 0.0 else plain for learned, plain in heard]
        chosen = [known or guess for known, guess in zip(self._given, guesses, strict=True)]
        self._view.set_roles([role for role, _ in chosen], np.array([confidence for _, confidence in chosen]))


def _given(index: int, channel: ChannelSetup, scene: Scene | None) -> tuple[str, float] | None:
    """Return role and confidence where somebody said: the set-up, a scene, or the name."""
    if channel.role is not None:
        return role_or_refuse(channel.role, channel.name), 1.0
    if scene is not None and index in scene.roles:
        return scene.roles[index], 1.0
    return role_from_name(channel.name)
