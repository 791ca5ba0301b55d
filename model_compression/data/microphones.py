"""Who stands where, which microphone hears what: from places in a room to paths between sources and channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .faults import one_pole_response
from .rooms import N_TAILS, Room, early_paths

MAX_CHANNELS = 32
BLEED_CEILING_DB, BLEED_FLOOR_DB = -8.0, -42.0  # louder is another source's microphone, quieter nobody hears
TAIL_CEILING_DB = -12.0  # of the loudest source's tail under the own one: else a microphone would be moved

# Acoustic level beside the others of a band, dB, and distance of the usual microphone, m. Orders of size from usual
# practice: a snare and brass drown an acoustic guitar; voices are sung into the grille, overheads hang a metre away.
_LEVEL_DB = {
    "speech": 0.0, "vocal_lead": -2.0, "vocal_backing": -4.0, "kick": 0.0, "snare": 3.0, "hihat": -6.0, "tom": 1.0,
    "cymbal": 0.0, "drums": 5.0, "percussion": -4.0, "bass": -1.0, "elec_guitar": 0.0, "ac_guitar": -9.0,
    "piano": -4.0, "synth": -3.0, "strings": -7.0, "brass": 3.0, "woodwind": -5.0, "playback": -2.0,
    "ambience": -10.0, "other": -4.0,
}  # fmt: skip
_DISTANCE_M = {
    "speech": (0.1, 0.5), "vocal_lead": (0.03, 0.15), "vocal_backing": (0.03, 0.2), "kick": (0.08, 0.3),
    "snare": (0.05, 0.12), "hihat": (0.08, 0.2), "tom": (0.05, 0.12), "cymbal": (0.4, 1.0), "drums": (0.8, 2.0),
    "percussion": (0.15, 0.6), "bass": (0.05, 0.3), "elec_guitar": (0.03, 0.2), "ac_guitar": (0.15, 0.45),
    "piano": (0.2, 0.7), "strings": (0.2, 0.9), "brass": (0.15, 0.6), "woodwind": (0.15, 0.6),
}  # fmt: skip
_USUAL_DISTANCE_M = (0.1, 0.5)
# How often a source comes over a cable instead of a microphone.
_LINE_SHARE = {"synth": 1.0, "playback": 1.0, "bass": 0.7, "piano": 0.5, "elec_guitar": 0.2, "ac_guitar": 0.35,
               "ambience": 1.0, "other": 0.5}  # fmt: skip
_MACHINES = ("kick", "snare", "hihat", "tom", "cymbal", "drums", "percussion")
_MACHINE_SHARE = {"electronic": 0.85, "hiphop": 0.7, "pop": 0.25}
# Where on the kit a microphone hangs, m from its middle; overheads look down from above.
_ON_KIT_M = {"kick": (0.0, 0.0, 0.4), "snare": (0.35, -0.3, 0.7), "hihat": (0.75, -0.2, 1.0), "tom": (-0.3, -0.1, 0.9),
             "cymbal": (0.0, 0.1, 1.2), "drums": (0.0, 0.0, 0.9)}  # fmt: skip
_DOUBLED_SHARE = {"kick": 0.15, "snare": 0.1, "bass": 0.08, "elec_guitar": 0.1, "piano": 0.1, "ac_guitar": 0.08}


@dataclass(frozen=True, kw_only=True)
class Microphone:
    """One channel and what it is pointed at.

    Attributes
    ----------
    stem
        Number of its own source; None for a channel without one.
    role
        A word of ``ROLES``; ``ambience`` for a room microphone, ``other`` for a channel without source.
    is_line
        Comes over a cable and hears nothing else.
    is_dead
        Delivers noise alone.
    place_m
        In the room.
    """

    stem: int | None
    role: str
    is_line: bool
    place_m: NDArray[np.float64]
    is_stereo: bool = False
    is_dead: bool = False


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A room with sources, microphones and what each source gives to each.

    Attributes
    ----------
    source_m
        ``(n_stems, 3)``.
    level_db
        ``(n_stems,)`` acoustic level beside each other.
    """

    room: Room
    source_m: NDArray[np.float64]
    level_db: NDArray[np.float64]
    microphones: tuple[Microphone, ...]


def sample_setup(
    rng: np.random.Generator,
    roles: list[str],
    are_stereo: list[bool],
    room: Room,
    *,
    genre: str | None,
    is_isolated: bool,
    doubled_share: float | None = None,
) -> Setup:
    """Place sources and hang microphones.

    Parameters
    ----------
    roles, are_stereo
        Of the stems.
    is_isolated
        Every source was recorded for itself: all channels are lines.
    doubled_share
        Of the sources in mono, that have a second microphone; None for the usual share of each role.
    """
    places = _places(rng, roles, room)
    level_db = np.array([_LEVEL_DB[role] for role in roles]) + rng.normal(0.0, 2.0, len(roles))
    is_machine = genre is not None and rng.random() < _MACHINE_SHARE.get(genre, 0.0)
    microphones: list[Microphone] = []
    seconds = microphones if doubled_share is None else []  # where many are asked for, nobody is left without a first
    for stem, role in enumerate(roles):
        is_line = is_isolated or rng.random() < _LINE_SHARE.get(role, 0.0) or (is_machine and role in _MACHINES)
        doubled = _DOUBLED_SHARE.get(role, 0.0) if doubled_share is None else doubled_share
        own = _hung(rng, places[stem], role, room)
        mic = Microphone(stem=stem, role=role, is_line=is_line, place_m=own, is_stereo=are_stereo[stem])
        microphones.append(mic)
        if not is_isolated and not are_stereo[stem] and rng.random() < doubled:
            seconds.append(replace(mic, is_line=False, place_m=_hung(rng, places[stem], role, room)))
    if seconds is not microphones:
        microphones += seconds
    if not is_isolated:
        microphones += _extras(rng, places, room, is_music=genre is not None)
    kept = microphones[:MAX_CHANNELS]
    order = rng.permutation(len(kept))
    return Setup(room=room, source_m=places, level_db=level_db, microphones=tuple(kept[k] for k in order))


def _extras(rng: np.random.Generator, places: NDArray[np.float64], room: Room, *, is_music: bool) -> list[Microphone]:
    extras = []
    middle = room.size_m / 2.0
    if is_music and rng.random() < 0.2:
        far = np.clip(middle + rng.normal(0.0, 1.0, 3) * room.size_m / 5.0, 0.3, room.size_m - 0.3)
        extras.append(
            Microphone(stem=None, role="ambience", is_line=False, place_m=far, is_stereo=bool(rng.random() < 0.5))
        )
    if rng.random() < 0.15:  # open, and nobody at it
        beside = np.clip(places[rng.integers(len(places))] + rng.uniform(-1.5, 1.5, 3), 0.3, room.size_m - 0.3)
        extras.append(Microphone(stem=None, role="other", is_line=False, place_m=beside))
    if rng.random() < 0.1:
        extras.append(Microphone(stem=None, role="other", is_line=True, is_dead=True, place_m=middle))
    return extras


def _places(rng: np.random.Generator, roles: list[str], room: Room) -> NDArray[np.float64]:
    width, depth, height = room.size_m
    kit = np.array([width * rng.uniform(0.4, 0.6), depth * rng.uniform(0.6, 0.75), 0.0])
    places = np.empty((len(roles), 3))
    table_m = rng.uniform(0.7, 1.3)
    for k, role in enumerate(roles):
        if role in _ON_KIT_M:
            spot = kit + np.array(_ON_KIT_M[role]) + rng.normal(0.0, 0.08, 3)
        elif role == "speech":
            angle = 2.0 * np.pi * (k / max(len(roles), 1) + rng.uniform(-0.05, 0.05))
            spot = np.array([width / 2, depth / 2, 1.2]) + table_m * np.array([np.cos(angle), np.sin(angle), 0.0])
        else:
            tries = rng.uniform([0.6, 0.6, 0.6], [width - 0.6, depth - 0.6, min(1.6, height - 0.5)], (8, 3))
            others = np.concatenate([places[:k], kit[None]])
            gap = np.linalg.norm(tries[:, None] - others[None], axis=2).min(axis=1)
            spot = tries[int(np.argmax(gap))]
        places[k] = np.clip(spot, 0.3, room.size_m - 0.3)
    return places


def _hung(rng: np.random.Generator, source_m: NDArray[np.float64], role: str, room: Room) -> NDArray[np.float64]:
    away = rng.normal(0.0, 1.0, 3)
    if role in ("cymbal", "drums"):
        away[2] = 2.0 + abs(away[2])  # from above
    away /= np.linalg.norm(away)
    place = source_m + away * rng.uniform(*_DISTANCE_M.get(role, _USUAL_DISTANCE_M))
    return np.clip(place, 0.1, room.size_m - 0.1)


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Everything linear between stems and microphones.

    Attributes
    ----------
    taps
        ``(n_stems, n_mics, N_TAPS)`` float32: direct sound and first reflections; own direct path has amplitude 1.
    corner_hz
        ``(n_stems, n_mics)``: low-pass of a path; sound from behind a microphone is duller.
    tail_lin
        ``(N_TAILS, n_mics)``: what of each diffuse field a microphone hears.
    """

    taps: NDArray[np.float32]
    corner_hz: NDArray[np.float64]
    tail_lin: NDArray[np.float64]


def paths(rng: np.random.Generator, setup: Setup) -> Paths:
    """Work out who hears whom: distance, a cardioid that looks at its own source, acoustic levels."""
    mics = setup.microphones
    mic_m = np.array([mic.place_m for mic in mics])
    to_source = setup.source_m[:, None, :] - mic_m[None, :, :]
    distance_m = np.maximum(np.linalg.norm(to_source, axis=2), 0.02)
    own = np.array([-1 if mic.stem is None else mic.stem for mic in mics])
    has_own, columns = own >= 0, np.arange(len(mics))
    own_m = np.where(has_own, distance_m[own, columns], 1.0)
    own_level_db = np.where(has_own, setup.level_db[own], 0.0)
    facing = np.where(has_own[:, None], to_source[own, columns], [0.0, 1.0, 0.0])
    cosine = np.einsum("smx,mx->sm", to_source, facing) / distance_m / np.linalg.norm(facing, axis=1)
    directivity = np.maximum((1.0 + cosine) / 2.0, 0.2)
    directivity[:, ~has_own] = 1.0  # room microphones are omnidirectional
    gain_db = setup.level_db[:, None] - own_level_db + 20.0 * np.log10(own_m / distance_m * directivity)
    gain_lin = np.where(gain_db > BLEED_FLOOR_DB, 10.0 ** (gain_db / 20.0), 0.0)
    gain_lin *= ~np.array([mic.is_line for mic in mics])
    gain_lin[own[has_own], columns[has_own]] = 1.0
    corner_hz = 1500.0 * 8.0 ** ((1.0 + cosine) / 2.0) * rng.uniform(0.7, 1.4, cosine.shape)
    corner_hz[:, ~has_own] = 9000.0
    corner_hz[own[has_own], columns[has_own]] = np.inf
    taps = early_paths(setup.room, setup.source_m, mic_m) * gain_lin[..., None].astype(np.float32)
    is_bleed = has_own & (own != np.arange(len(setup.source_m))[:, None])
    ceiling_lin = 10.0 ** ((BLEED_CEILING_DB - rng.uniform(0.0, 3.0, gain_db.shape)) / 20.0)
    energy_lin = np.maximum(np.linalg.norm(taps, axis=2), 1e-9)
    taps *= np.where(is_bleed, np.minimum(1.0, ceiling_lin / energy_lin), 1.0)[..., None].astype(np.float32)
    for ch, mic in enumerate(mics):
        if mic.is_line and mic.stem is not None:
            taps[mic.stem, ch] = 0.0
            taps[mic.stem, ch, 0] = 1.0
    tail_gain = 10.0 ** (-own_level_db / 20.0) * own_m / setup.room.critical_distance_m
    tail_gain *= np.where(has_own, 0.58, 1.0)  # a cardioid hears a third of a diffuse field's power
    most_lin = 10.0 ** ((TAIL_CEILING_DB - float(setup.level_db.max())) / 20.0)
    tail_gain = np.where(has_own, np.minimum(tail_gain, most_lin), tail_gain)
    tail_gain *= ~np.array([mic.is_line for mic in mics])
    mixture = rng.standard_normal((N_TAILS, len(mics)))
    mixture *= tail_gain / np.linalg.norm(mixture, axis=0)
    return Paths(taps=taps, corner_hz=corner_hz, tail_lin=mixture)


def path_spectra(p: Paths, z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the low-passes of all paths at the unit-circle points ``z``: ``(n_stems, n_mics, n_bins)``."""
    spectra = np.ones((*p.corner_hz.shape, len(z)), np.complex128)
    for s, m in zip(*np.nonzero(np.isfinite(p.corner_hz) & p.taps.any(axis=2)), strict=True):
        spectra[s, m] = one_pole_response(z, float(p.corner_hz[s, m]))
    return spectra
