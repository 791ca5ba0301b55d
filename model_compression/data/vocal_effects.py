"""What records do to a vocal beyond ``studio.py``: levelled hard, thinned, shifted, drowned, swelling, filtered, wide.

Each effect takes ``(n_frames, n_lanes)`` float32 and gives the same length; none of them makes sound out of silence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_compression.data import effects_chain as fx
from model_compression.data import studio
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.tone_colour import shaped

Audio = NDArray[np.float32]
SHARE_OF_STUDIO = 0.4  # of produced vocals go through the plain chain of studio.py
SIBILANCE_HZ = (5000.0, 10500.0)
HALL_RT60_S, HALL_TAIL_S = (1.8, 4.5), 2.2
SWELL_RT60_S, SWELL_TAIL_S = (0.8, 2.0), 1.0


def produced(rng: np.random.Generator, audio: Audio, split: str, *, is_backing: bool, tempo_bpm: float) -> Audio:
    """Produce a vocal of a split as often as ``studio.py`` does; the test split knows the chain of ``studio.py`` alone.

    Returns ``(n_frames, n_lanes)`` float32 with the peak as it came; backing of one lane may have got a second.
    """
    is_plain = split == "test" or rng.random() < SHARE_OF_STUDIO
    chain = studio.studio if is_plain else record_chain
    return studio.produced(rng, audio, is_backing=is_backing, tempo_bpm=tempo_bpm, chain=chain)


def record_chain(rng: np.random.Generator, audio: Audio, *, is_backing: bool, tempo_bpm: float) -> Audio:
    """Put a vocal of peak 1 through what is drawn, in the order of a desk; peak 1 again."""
    sound = fx.filtered(audio, "highpass", fx.log_uniform(rng, 100.0, 250.0), 2) if rng.random() < 0.7 else audio
    if rng.random() < 0.6:
        sound = levelled(rng, sound)
    if rng.random() < 0.35:
        sound = deessed(sound, amount_db=float(rng.uniform(3.0, 12.0)))
    if rng.random() < 0.3:
        sound = fx.driven(rng, sound, fx.log_uniform(rng, 1.2, 9.0))
    if rng.random() < 0.55:
        sound = airy(sound, shelf_db=float(rng.uniform(2.0, 10.0)), from_hz=float(rng.uniform(6000.0, 11000.0)))
    draw = rng.random()
    if draw < 0.07:
        sound = telephoned(rng, sound)
    elif draw < (0.22 if is_backing else 0.1):
        sound = fx.filtered(sound, "lowpass", fx.log_uniform(rng, 800.0, 5000.0), int(rng.integers(1, 3)))
    if rng.random() < (0.4 if is_backing else 0.25):
        sound = micro_shifted(rng, sound)
    if rng.random() < 0.2:
        sound = fx.chorused(rng, sound, float(rng.uniform(0.2, 0.8)))
    dry = sound
    if rng.random() < 0.35:
        sound = sound + studio.echoed(rng, dry, tempo_bpm)
    draw = rng.random()
    if draw < (0.4 if is_backing else 0.12):
        sound = drowned(rng, sound, wet_db=float(rng.uniform(-3.0, 9.0)))
    elif draw < 0.75:
        sound = sound + np.float32(10 ** (rng.uniform(-26, -9) / 20) * fx.peak_of(dry)) * studio.plate(rng, dry)
    if rng.random() < 0.08:
        sound = swelling(rng, sound)
    if is_backing and rng.random() < 0.45:
        sound = widened(rng, sound, amount=float(rng.uniform(0.3, 1.0)))
    return (sound / fx.peak_of(sound)).astype(np.float32)


def levelled(rng: np.random.Generator, audio: Audio) -> Audio:
    """Compress hard with an attack and a release of some ms, by around 10 dB, once or twice in a row."""
    sound = audio
    for _ in range(int(rng.integers(1, 3))):
        sound = studio.compressed(
            sound,
            ratio=float(rng.choice([4.0, 8.0, 12.0, 20.0])),
            under_peak_db=float(rng.uniform(9.0, 20.0)),
            hold_ms=int(rng.integers(2, 12)),
            smooth_ms=float(rng.uniform(1.0, 5.0)),
        )
    return sound


def deessed(audio: Audio, *, amount_db: float) -> Audio:
    """Take out of the band of sibilants what sticks out of it, ``amount_db`` at most."""
    band = fx.filtered(audio, "bandpass", SIBILANCE_HZ, 1)
    level = fx.envelope(band, 0.03)
    over = np.clip(level / (0.25 * fx.peak_of(band)) - 1.0, 0.0, 1.0)
    less = (over * (1 - 10 ** (-amount_db / 20))).astype(np.float32)
    return (audio - less[:, None] * band).astype(np.float32)


def airy(audio: Audio, *, shelf_db: float, from_hz: float) -> Audio:
    """Raise what lies above a frequency."""
    return shaped(audio, [(20.0, 0.0), (from_hz / 2, 0.0), (from_hz * 1.5, shelf_db), (22000.0, shelf_db)])


def telephoned(rng: np.random.Generator, audio: Audio) -> Audio:
    """Leave the band of a telephone, a small radio or a megaphone, and drive it."""
    band_hz = (float(rng.uniform(250.0, 600.0)), float(rng.uniform(2200.0, 4000.0)))
    sound = fx.filtered(audio, "bandpass", band_hz, int(rng.integers(2, 5)))
    return fx.driven(rng, sound, fx.log_uniform(rng, 0.8, 12.0)) if rng.random() < 0.6 else sound


def micro_shifted(rng: np.random.Generator, audio: Audio) -> Audio:
    """Add a copy some cents higher and one as much lower, each a little late; of two lanes each side has its own."""
    cents = float(rng.uniform(4.0, 14.0))
    level = np.float32(10 ** (rng.uniform(-9, -1) / 20))
    out = audio.copy()
    for side, sign in enumerate((-1.0, 1.0)):
        copy = studio.shifted(audio, sign * cents / 100)
        late = int(rng.uniform(0.007, 0.028) * SAMPLE_RATE_HZ)
        if audio.shape[1] == 2:
            out[late:, side] += level * copy[: len(audio) - late, side]
        else:
            out[late:] += level * copy[: len(audio) - late]
    return out


def drowned(rng: np.random.Generator, audio: Audio, *, wet_db: float) -> Audio:
    """Put the dry voice behind a long plate or hall: as many dB louder as told, by their RMS."""
    wet = studio.plate(rng, audio, rt60_s=HALL_RT60_S, longest_tail_s=HALL_TAIL_S)
    gain = 10 ** (wet_db / 20) * np.sqrt(np.mean(audio**2) / max(float(np.mean(wet**2)), 1e-12))
    return (audio + np.float32(gain) * wet).astype(np.float32)


def swelling(rng: np.random.Generator, audio: Audio) -> Audio:
    """Let reverberation run backwards into each phrase."""
    swell = studio.plate(rng, audio[::-1], rt60_s=SWELL_RT60_S, longest_tail_s=SWELL_TAIL_S)[::-1]
    return (audio + np.float32(rng.uniform(0.1, 0.5) * fx.peak_of(audio)) * swell).astype(np.float32)


def widened(rng: np.random.Generator, audio: Audio, *, amount: float) -> Audio:
    """Spread to ``(n_frames, 2)``: what one lane has goes late to the sides; two lanes are moved apart."""
    if audio.shape[1] == 2:
        middle, side = audio.mean(axis=1), (audio[:, 0] - audio[:, 1]) / 2
        side = side * np.float32(1 + amount)
    else:
        middle = audio[:, 0]
        late = int(rng.uniform(0.006, 0.022) * SAMPLE_RATE_HZ)
        dull = fx.filtered(audio, "bandpass", (250.0, 9000.0), 1)[:, 0]
        side = np.float32(0.7 * amount) * np.pad(dull, (late, 0))[: len(dull)]
    return np.stack([middle + side, middle - side], axis=1).astype(np.float32)
