"""Whether stems and mix are aligned to the sample: the lag of each stem by phase-transform cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d

MAX_LAG_FRAMES = 4096
CLEAR_PEAK = 8.0  # times the median magnitude of the correlation: less is taken for no peak
SMOOTH_BINS = 1025


@dataclass(frozen=True, kw_only=True)
class Lag:
    """By how much the mix is late.

    Attributes
    ----------
    frames
        Positive where the stem is heard later in the mix.
    clearness
        Height of the peak over the median of the correlation. Unrelated noise gives 5 to 7; sounds of few and steady
        tones may give more without being related, so a lag counts only where most stems share it.
    """

    frames: int
    clearness: float

    @property
    def is_clear(self) -> bool:
        """Whether the peak stands out."""
        return self.clearness >= CLEAR_PEAK


def lag(stem: NDArray[np.floating], mix: NDArray[np.floating], max_frames: int = MAX_LAG_FRAMES) -> Lag:
    """Return how late the mono ``stem`` is in the mono ``mix``, both ``(n_frames,)``; silence is never clear."""
    n_fft = next_fast_len(max(len(stem), len(mix)) + max_frames, real=True)
    spectrum = rfft(mix, n_fft) * np.conj(rfft(stem, n_fft))
    magnitude = np.abs(spectrum)
    if not magnitude.any():
        return Lag(frames=0, clearness=0.0)
    # Dividing by the smooth spectrum whitens, yet bins of next to no energy stay soft.
    smooth = uniform_filter1d(magnitude, SMOOTH_BINS, mode="nearest")
    correlation = irfft(spectrum / np.maximum(smooth + magnitude, 1e-9 * magnitude.max()), n_fft)
    near = np.abs(np.concatenate([correlation[-max_frames:], correlation[: max_frames + 1]]))
    at = int(np.argmax(near))
    return Lag(frames=at - max_frames, clearness=float(near[at] / (np.median(near) + 1e-30)))


def common_lag(lags: list[Lag]) -> int | None:
    """Return the lag that most clear stems share, 0 when none is clear, None when they disagree."""
    clear = [one.frames for one in lags if one.is_clear]
    if not clear:
        return 0
    middle = int(np.median(clear))
    agree = sum(abs(frames - middle) <= 1 for frames in clear)
    return middle if 2 * agree > len(clear) else None
