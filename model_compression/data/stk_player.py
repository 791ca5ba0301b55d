"""A player of physical models: it draws their knobs, tunes by ear, and plays notes, as musicians do.

A modelled wind or string sounds where its knobs put it, tens of cents from where it was asked to. So each pitch is
first tried under the same knobs and heard, and the request corrected; knobs under which it does not come in tune are
moved towards the middle of their spans.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from model_compression.data import stk_library
from model_compression.data.composer_song import Note
from model_compression.data.modelled_instruments import Modelled
from model_compression.data.performance import SAMPLE_RATE_HZ as SR
from model_compression.data.pitch_heard import pitch_heard_hz

Audio = NDArray[np.float32]
GOOD_CENTS, WORST_CENTS = 5.0, 25.0
TRIES = 5
NARROWED = (1.0, 0.5, 0.0)  # how far from the middle of their spans knobs are left, try by try
TRIAL_S = 0.2
LIKE_VELOCITY = 0.1
SPEAKS = 0.008  # a reed that is shut lets this much pass
LOWEST_HZ = 20.0
SLUR_S = 0.04
EXCITATION_S = 0.15
SHORTENED = {"staccato": 0.45, "muted": 0.3}
_NO_OFFSET = butter(1, 18.0, "highpass", fs=SR, output="sos")


@dataclass(frozen=True, kw_only=True)
class Player:
    """Somebody with an instrument whose knobs stand.

    Attributes
    ----------
    controls
        Number and position.
    size
        How much lower than its maker built it: all of it, resonances too, in semitones.
    excitation
        What a ``Course`` is plucked with.
    """

    one: Modelled
    controls: tuple[tuple[int, float], ...]
    size: float
    excitation: Audio
    seed: int

    @property
    def rate_hz(self) -> float:
        """Return how many frames the model makes in a second."""
        return float(SR * 2 ** (-self.size / 12))


def render(
    rng: np.random.Generator,
    one: Modelled,
    notes: tuple[Note, ...],
    n_frames: int,
    *,
    positions: dict[str, float] | None = None,
) -> Audio:
    """Play a part.

    Parameters
    ----------
    positions
        Where knobs stand, 0 to 1 of their spans; those that are not named are drawn.

    Returns
    -------
    ``(n_frames, 2)`` float32, at most 1 in magnitude.
    """
    out = np.zeros(n_frames + SR)
    player, bent_cents = ready(rng, one, notes, positions or {})
    n_players = int(rng.integers(one.n_players[0], one.n_players[1] + 1))
    for number in range(n_players):
        late_s = 0.0 if number == 0 else rng.uniform(0.0, 0.03)
        away_cents = rng.normal(0.0, 2.0 if n_players == 1 else 6.0)
        for phrase in _phrases(one, notes):
            begin = round((phrase[0].begin_s + late_s) * SR)
            if begin < n_frames:
                sound = _phrase(player, phrase, bent_cents, seed=player.seed + begin, away_cents=away_cents)
                sound = sound[: len(out) - begin]
                out[begin : begin + len(sound)] += sound
    out = sosfilt(_NO_OFFSET, out[:n_frames])
    peak = float(np.abs(out).max(initial=0.0))
    return np.repeat((out / max(1.0, peak)).astype(np.float32)[:, None], 2, axis=1)


def ready(
    rng: np.random.Generator, one: Modelled, notes: tuple[Note, ...], positions: dict[str, float]
) -> tuple[Player, dict[int, float]]:
    """Draw a player who is in tune, and by how many cents they bend each pitch."""
    shares = [positions.get(knob.name, float(rng.random())) for knob in one.knobs]
    size, seed = float(rng.uniform(*one.size)), int(rng.integers(1, 1 << 30))
    excitation = _excitation(rng, one)
    player, tuned = None, dict[int, float]()
    for keep in NARROWED:
        controls = tuple(
            (knob.control, float(knob.low + (knob.high - knob.low) * (0.5 + keep * (share - 0.5))))
            for knob, share in zip(one.knobs, shares, strict=True)
        )
        player = Player(one=one, controls=controls, size=size, excitation=excitation, seed=seed)
        tuned, is_good = tuning(player, notes, goes_on=keep == NARROWED[-1])
        if is_good:
            break
    assert player is not None
    return player, tuned


def tuning(player: Player, notes: tuple[Note, ...], *, goes_on: bool = False) -> tuple[dict[int, float], bool]:
    """Find by how many cents to bend each pitch so that it sounds, and whether all of them can be had.

    Parameters
    ----------
    goes_on
        Whether to make do with the nearest bend where a pitch can't be had; to stop there otherwise.
    """
    bent: dict[int, float] = {}
    if not player.one.is_tuned or not notes:
        return bent, True
    asked: dict[int, list[float]] = {}
    for note in notes:
        asked.setdefault(round(note.pitch), []).append(note.velocity)
    pitches = sorted(asked)
    is_good = True
    for pitch in [pitches[-1], *pitches[:-1]]:  # what can't be had is soonest the highest
        first = bent[min(bent, key=lambda known: abs(known - pitch))] if bent else 0.0
        velocities = sorted(asked[pitch])
        usual = velocities[len(velocities) // 2]
        others = [v for v in (velocities[0], velocities[-1]) if abs(v - usual) > LIKE_VELOCITY]
        found = _bent(player, pitch, usual, first)
        if found is None or not all(_is_good(_off_cents(player, pitch, found, v)) for v in others):
            is_good = False
            if not goes_on:
                break
        bent[pitch] = first if found is None else found
    return bent, is_good


def _is_good(off_cents: float | None) -> bool:
    return off_cents is not None and abs(off_cents) < WORST_CENTS


def _bent(player: Player, pitch: int, velocity: float, first_cents: float) -> float | None:
    bent, best = first_cents, (np.inf, 0.0)
    for _ in range(TRIES):
        off = _off_cents(player, pitch, bent, velocity)
        if off is None:
            break
        best = min(best, (abs(off), bent))
        if abs(off) < GOOD_CENTS:
            break
        bent -= off
    return best[1] if best[0] < WORST_CENTS else None


def _off_cents(player: Player, pitch: int, bent_cents: float, velocity: float) -> float | None:
    with _held(player, player.seed, is_trial=True) as played:
        gain = _begin(played, player, pitch, bent_cents, velocity, is_trial=True)
        settles_s = player.one.settles_s
        sound = played.render(int((settles_s + TRIAL_S) * player.rate_hz))[int(settles_s * player.rate_hz) :]
    if not gain * float(np.abs(sound).max()) > SPEAKS:
        return None
    heard_hz = pitch_heard_hz(_at_our_rate(sound, player.rate_hz), rate_hz=SR, near_hz=_hz(pitch))
    return None if heard_hz is None else float(1200 * np.log2(heard_hz / _hz(pitch)))


def _phrases(one: Modelled, notes: tuple[Note, ...]) -> list[list[Note]]:
    """Part notes into what one instrument plays from silence to silence."""
    phrases: list[list[Note]] = []
    for note in sorted(notes, key=lambda n: (n.begin_s, n.pitch)):
        last = phrases[-1][-1] if phrases else None
        if (
            one.has_slurs
            and last is not None
            and last.articulation not in SHORTENED
            and abs(note.begin_s - last.begin_s - last.length_s) < SLUR_S
        ):
            phrases[-1].append(note)
        else:
            phrases.append([note])
    return phrases


def _phrase(
    player: Player, phrase: list[Note], bent_cents: dict[int, float], *, seed: int, away_cents: float
) -> NDArray[np.float32]:
    one, rate_hz, sounds = player.one, player.rate_hz, []
    with _held(player, seed, is_trial=False) as played:
        for note, after in zip(phrase, [*phrase[1:], None], strict=True):
            length_s = after.begin_s - note.begin_s if after else note.length_s * SHORTENED.get(note.articulation, 1.0)
            cents = bent_cents.get(round(note.pitch), 0.0) + away_cents
            gain = _begin(played, player, note.pitch, cents, note.velocity, is_trial=False)
            sounds.append(played.render(max(1, round(length_s * rate_hz))) * np.float32(gain))
        played.note_off(0.5)
        n_tail = round(one.tail_s * rate_hz)
        fade = 0.5 + 0.5 * np.cos(np.pi * np.clip(np.linspace(-0.3, 1.0, n_tail), 0.0, 1.0))
        sounds.append(played.render(n_tail) * (gain * fade).astype(np.float32))
    sound = np.nan_to_num(np.concatenate(sounds), nan=0.0, posinf=0.0, neginf=0.0)
    return _at_our_rate(sound, rate_hz)


def _at_our_rate(sound: Audio, rate_hz: float) -> Audio:
    return sound if rate_hz == SR else np.asarray(soxr.resample(sound, rate_hz, SR, quality="MQ"), np.float32)


@contextmanager
def _held(player: Player, seed: int, *, is_trial: bool) -> Iterator[stk_library.Instrument]:
    with stk_library.instrument(player.one.model, lowest_hz=LOWEST_HZ, seed=seed, rate_hz=player.rate_hz) as played:
        _set(played, player, is_trial=is_trial)
        if len(player.excitation):
            played.excite(player.excitation)
        yield played


def _begin(
    played: stk_library.Instrument, player: Player, pitch: float, bent_cents: float, velocity: float, *, is_trial: bool
) -> float:
    """Begin a note and return the gain that it is heard with."""
    one = player.one
    reach = 2.0 ** (one.harder_per_octave * (pitch + player.size - one.reference_pitch) / 12)
    low, high = one.amplitude
    played.note_on(_hz(pitch + bent_cents / 100), (low + (high - low) * velocity) * reach)
    if one.is_set_late:
        _set(played, player, is_trial=is_trial)
    return (0.3 + 0.7 * velocity) / reach


def _set(played: stk_library.Instrument, player: Player, *, is_trial: bool) -> None:
    for control, value in player.controls:
        played.control(control, 0.0 if is_trial and control == player.one.vibrato else value)


def _excitation(rng: np.random.Generator, one: Modelled) -> Audio:
    """Draw what a course is plucked with: a pick, and the body that rings with it."""
    if one.model != "Course":
        return np.zeros(0, np.float32)
    t = np.arange(int(EXCITATION_S * SR)) / SR
    n_pick = int(rng.uniform(0.0006, 0.003) * SR)
    pick = np.zeros(len(t))
    pick[:n_pick] = rng.normal(size=n_pick) * np.hanning(n_pick)
    pick /= np.sqrt(np.sum(pick**2))
    if not one.body:
        return pick.astype(np.float32)
    low_hz, high_hz, share = one.body
    body = np.zeros(len(t))
    for hz in np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), 9)):
        ring_s = rng.uniform(2.0, 7.0) / hz
        body += rng.normal() * np.exp(-t / ring_s) * np.sin(2 * np.pi * hz * t)
    body /= np.sqrt(np.sum(body**2))
    return (pick + share * body * np.minimum(1.0, (t[-1] - t) / 0.02)).astype(np.float32)


def _hz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))
