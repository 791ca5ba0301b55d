"""Gain before feedback in a simulated room: from a loudspeaker through the air to a microphone, the box in between.

A simulation: the box's measured response closes a loop with a made-up room. It says how a box and its settings compare,
not what a venue will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from .errors import ProbeError

SPEED_OF_SOUND_M_S = 343.0
TREBLE_HZ = 4000.0  # air, seats and loudspeaker take what is diffuse above by 6 dB an octave
MIN_HZ = 50.0  # a loudspeaker and a microphone in a room give no loop below
_OVERSAMPLING = 4  # of the spectrum: crossings of the real axis are not missed


@dataclass(frozen=True, kw_only=True)
class Room:
    """A shoebox of statistics: direct sound, then noise that decays. Level 0 dB is that at 1 m from the loudspeaker."""

    distance_m: float = 4.0
    reverberation_s: float = 0.8  # until -60 dB
    critical_distance_m: float = 2.5  # where direct and diffuse sound are alike
    rejection_db: float = 6.0  # a cardioid hears less of what comes from behind
    seed: int = 1

    def response(self, sample_rate_hz: float) -> NDArray[np.float64]:
        """Return the impulse response from the loudspeaker to the microphone."""
        n = round(self.reverberation_s * sample_rate_hz)
        at = round(self.distance_m / SPEED_OF_SOUND_M_S * sample_rate_hz)
        time = np.arange(n) / sample_rate_hz
        tail = np.random.default_rng(self.seed).standard_normal(n) * np.exp(-6.91 * time / self.reverberation_s)
        tail = lfilter([1.0 - (pole := np.exp(-2 * np.pi * TREBLE_HZ / sample_rate_hz))], [1.0, -pole], tail)
        frames = np.zeros(at + n)
        frames[at:] = tail * np.sqrt(1.0 / np.sum(np.square(tail))) / self.critical_distance_m
        frames[at] += 1.0 / self.distance_m * 10.0 ** (-self.rejection_db / 20.0)
        return frames


@dataclass(frozen=True, kw_only=True)
class FeedbackMargin:
    """How far the loop may be turned up in the simulated room before it rings."""

    NAME: ClassVar[str] = "feedback"

    where: str
    max_gain_db: float
    ringing_hz: float

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        return {"max_gain_db": self.max_gain_db, "ringing_hz": self.ringing_hz}

    def line(self) -> str:
        """Return it in one line."""
        return f"{self.where}: simulated room rings at {self.max_gain_db:+z.1f} dB, first at {self.ringing_hz:.0f} Hz"


def feedback_margin(
    box_response: NDArray[np.float64],
    room_response: NDArray[np.float64],
    sample_rate_hz: float,
    *,
    where: str = "loop",
) -> FeedbackMargin:
    """Return the gain at which the closed loop stops being stable.

    From gain 0 on, poles leave the unit circle where the loop first passes through 1 (Nyquist, Bell Syst. Tech. J. 11,
    1932): at the largest positive real value that its frequency response takes.

    Parameters
    ----------
    box_response, room_response
        Impulse responses; that of the box with its latency. Their product must not be without delay.

    Raises
    ------
    ProbeError
        When the loop is open.
    """
    n_fft = int(2 ** np.ceil(np.log2(_OVERSAMPLING * (len(box_response) + len(room_response)))))
    loop = np.fft.rfft(box_response, n_fft) * np.fft.rfft(room_response, n_fft)
    loop = loop[int(MIN_HZ * n_fft / sample_rate_hz) :]
    crossing = np.flatnonzero(np.signbit(loop.imag[:-1]) != np.signbit(loop.imag[1:]))
    rise = loop.imag[crossing + 1] - loop.imag[crossing]
    share = np.where(rise != 0, -loop.imag[crossing] / np.where(rise == 0, 1.0, rise), 0.0)
    real = loop.real[crossing] + share * (loop.real[crossing + 1] - loop.real[crossing])
    if not len(real) or (most := float(np.max(real))) <= 0.0:
        raise ProbeError(f"{where}: the loop is open; nothing of the loudspeaker comes back through the box")
    at = int(np.argmax(real))
    bin_hz = sample_rate_hz / n_fft
    return FeedbackMargin(
        where=where,
        max_gain_db=float(-20.0 * np.log10(most)),
        ringing_hz=float(MIN_HZ + (crossing[at] + share[at]) * bin_hz),
    )
