"""Delays the nearer of two microphones that hear the same source, so that their sum has no comb."""

from __future__ import annotations

import numpy as np

from ..proposals import Proposal
from ..view import View

CAP_MS = 5.0  # live-dsp 2.8
COHERENCE = 0.6  # P: both carry mostly the same sound
LEAST_MS = 0.1  # P: a first null above 5 kHz is left alone
STEADY_MS, STEADY_S = 0.15, 4.0  # the reading stays so long within so much before it is believed (P)


class BleedAlignment:
    """``input.delay_ms``. Safe only: steady, coherent, short, one listener a source, and no talkers that share gain."""

    name = "bleed_alignment"
    period_ticks = 25

    def __init__(self) -> None:
        self._delay_ms = np.zeros(0)
        self._source = np.zeros(0)
        self._steady_s = np.zeros(0)

    def propose(self, view: View) -> list[Proposal]:
        """Delay sources whose sound arrives later in another microphone."""
        if self._delay_ms.size != view.n_channels:
            self._delay_ms, self._source = np.zeros(view.n_channels), np.full(view.n_channels, -1.0)
            self._steady_s = np.zeros(view.n_channels)
        heard = view.listening
        coherence, residual_ms = heard.feature("bleed_coherence"), heard.feature("bleed_delay_ms")
        source = heard.feature("bleed_source")
        is_good = (coherence >= COHERENCE) & (source >= 0) & (np.abs(residual_ms) <= CAP_MS)
        if not is_good.any():
            self._steady_s[:] = 0.0
            return []
        is_steady = is_good & (source == self._source) & (np.abs(residual_ms - self._delay_ms) <= STEADY_MS)
        self._steady_s = np.where(is_steady, self._steady_s + view.tick_s * self.period_ticks, 0.0)
        self._delay_ms, self._source = residual_ms.astype(float), source.astype(float)
        believed = self._steady_s >= STEADY_S
        believed &= np.abs(residual_ms) >= LEAST_MS
        believed &= view.value("automix.group") == 0  # gain sharing closes the other microphone anyway
        return [p for ch in np.flatnonzero(believed).tolist() if (p := self._align(view, ch, int(source[ch])))]

    def _align(self, view: View, ch: int, source: int) -> Proposal | None:
        listeners = np.flatnonzero(self._source == source)
        if source >= view.n_channels or listeners.size != 1 or self._source[source] >= 0:
            return None
        # Features are taken behind the input delay: what they show is what is still missing.
        delay_ms = view.value("input.delay_ms")
        missing_ms = float(self._delay_ms[ch])
        nearer, other = (source, ch) if missing_ms > 0.0 else (ch, source)
        want_ms = float(delay_ms[nearer]) + abs(missing_ms) - float(delay_ms[other])
        if not 0.0 <= want_ms <= CAP_MS or delay_ms[other] > 0.0:
            return None
        self._steady_s[ch] = 0.0
        cause = f"{view.names[other]} hears the same source {abs(missing_ms):.2f} ms later"
        evidence = {"delay_ms": abs(missing_ms), "coherence": float(view.listening.feature("bleed_coherence")[ch])}
        return Proposal("channel", nearer, "input.delay_ms", want_ms, cause, evidence, 0.8, "rules", self.name, 1e3)
