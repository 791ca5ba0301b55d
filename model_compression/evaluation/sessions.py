"""What an evaluation mixes: stems with the truth about them, however that is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

LEADS = ("vocal_lead", "speech")
ROLE_OF_WORD = {"keys": "piano", "noise": "ambience"}  # words of data sets that are not roles of ours


@dataclass(frozen=True, kw_only=True)
class Session:
    """A raw session.

    Attributes
    ----------
    stems
        ``(n_frames, 1 or 2)`` float32 each, equally long: what comes into the mixer.
    roles, names
        True role and given name of each.
    reference, reference_strips
        The mix to come near, ``(n_frames, 2)``, and its channels where they are known exactly.
    others
        Further mixes of the same song by name, as audio.
    truth
        Settings that make the good mix, where they are known: ``offset_lu``, ``pan``, ``tone_db``, ``send_db``.
    """

    name: str
    sample_rate_hz: int
    stems: list[NDArray[np.float32]]
    roles: list[str]
    names: list[str]
    reference: NDArray[np.float32] | None = None
    reference_name: str = ""
    reference_strips: list[NDArray[np.float32]] | None = None
    others: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def is_lead(self) -> list[bool]:
        """Which channels lead."""
        return [role in LEADS for role in self.roles]


def role_of(word: str) -> str:
    """Return our role for a word of a data set."""
    if word in ROLES:
        return word
    return ROLE_OF_WORD.get(word, "other")
