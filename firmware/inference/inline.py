"""A model in the process that renders: the same brain, and an answer as late as live, one tick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from firmware.errors import EvenhandError

from .answer import Answer, Question
from .brain import Brain, brain_of
from .bundle import SHIPPED, read_bundle
from .choice import NONE, SHIPPED_WORD
from .keys import trusted_keys
from .trial import chosen


class Inline:
    """Answers in the tick after the question."""

    def __init__(self, brain: Brain) -> None:
        self.brain = brain
        self._answer: Answer | None = None

    @property
    def model(self) -> str:
        """Name and version."""
        return self.brain.bundle.title

    def take(self) -> Answer | None:
        """Return the answer to the question before, once."""
        answer, self._answer = self._answer, None
        return answer

    def ask(self, question: Question) -> None:
        """Think about a tick."""
        self._answer = self.brain.think(question)

    def swap(self, brain: Brain) -> None:
        """Think with another brain from the next question on."""
        self.brain = brain


def bundle_path(model: str) -> Path | None:
    """Return the bundle that ``--model`` means: a file, none, or the shipped one where there is one."""
    if model == NONE:
        return None
    if model == SHIPPED_WORD:
        return SHIPPED if SHIPPED.exists() else None
    return Path(model)


def inline_of(model: str, keys: Sequence[Path], is_stereo: Sequence[bool]) -> tuple[Inline | None, str]:
    """Return a model for a render, and a note where the shipped one cannot be had.

    The choice among runtimes does not depend on time, so that a render repeats to the bit.

    Raises
    ------
    EvenhandError
        When the model that was asked for by name is refused.
    """
    path = bundle_path(model)
    if path is None:
        return None, ""
    try:
        bundle = read_bundle(path, trusted_keys(keys))
        candidate = chosen(bundle, path, keys, n_channels=len(is_stereo), is_timed=False)
        return Inline(brain_of(path, bundle, candidate, is_stereo)), ""
    except EvenhandError as error:
        if model != SHIPPED_WORD:
            raise
        return None, f"no model: {error}; the rules decided alone"
