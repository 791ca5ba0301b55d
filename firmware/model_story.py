"""What a model took the music for while a mix ran: spans of scene, genre, section, key and tempo, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsp_kernels.contract.generated.contract import GENRES, KEYS, SCENE_KINDS, SECTIONS, STYLES

from .control.learned import Learned

MAX_SPANS = 500  # of one kind; a song has a dozen sections
SHORTEST_S = 1.0  # a shorter span is part of the one before
_WORDS = {"scene": SCENE_KINDS, "genre": GENRES, "section": SECTIONS, "key": KEYS}
KINDS = (*_WORDS, "tempo")
MAX_WORD, MAX_S = 20, 1e8
TEMPO_STEP_BPM = 1.0  # a tempo that drifts by more is another span


class ModelStory:
    """Spans of one word each; ``see`` once a tick."""

    def __init__(self) -> None:
        self._spans: dict[str, list[list[Any]]] = {kind: [] for kind in KINDS}  # word, from, to
        self._tempo_bpm = 0.0

    def see(self, time_s: float, learned: Learned) -> None:
        """Take in what the model says now."""
        for kind, words in _WORDS.items():
            index = getattr(learned, kind)
            if index >= 0:
                self._add(kind, words[index], time_s)
        if learned.tempo_bpm > 0.0:
            if abs(learned.tempo_bpm - self._tempo_bpm) > TEMPO_STEP_BPM:
                self._tempo_bpm = learned.tempo_bpm
            self._add("tempo", f"{self._tempo_bpm:.0f} BPM", time_s)

    def _add(self, kind: str, word: str, time_s: float) -> None:
        spans = self._spans[kind]
        if spans and spans[-1][0] == word:
            spans[-1][2] = time_s
        elif spans and spans[-1][2] - spans[-1][1] < SHORTEST_S:
            spans[-1] = [word, spans[-1][1], time_s]
        elif len(spans) < MAX_SPANS:
            spans.append([word, time_s, time_s])

    def as_record(self, learned: Learned) -> dict[str, Any]:
        """Return the spans of each kind, ``{word, from_s, to_s}``, and what stood at the end."""
        told = {
            kind: [{"word": w, "from_s": round(a, 2), "to_s": round(b, 2)} for w, a, b in spans]
            for kind, spans in self._spans.items()
        }
        return {"style": STYLES[learned.style], "trust": round(learned.trust, 2), "spans": told}


def placed(story: Any, place_s: Callable[[float], float | None]) -> dict[str, Any] | None:
    """Return a story read from a file with its times as ``place_s`` has them; None when it is none.

    ``place_s`` gives None for what lies before all that it knows; such spans are left out, and those that reach into
    it begin with it.
    """
    try:
        told = {kind: [_placed(span, place_s) for span in story["spans"][kind][:MAX_SPANS]] for kind in KINDS}
        style, trust = story["style"], float(story["trust"])
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    if style not in STYLES or not 0.0 <= trust <= 1.0:
        return None
    return {"style": style, "trust": trust, "spans": {k: [s for s in spans if s] for k, spans in told.items()}}


def _placed(span: Any, place_s: Callable[[float], float | None]) -> dict[str, Any] | None:
    word, from_s, to_s = span["word"], float(span["from_s"]), float(span["to_s"])
    if not (isinstance(word, str) and len(word) <= MAX_WORD and 0.0 <= from_s <= to_s < MAX_S):
        raise ValueError("no span")
    end_s = place_s(to_s)
    if end_s is None:
        return None
    return {"word": word, "from_s": max(place_s(from_s) or 0.0, 0.0), "to_s": end_s}
