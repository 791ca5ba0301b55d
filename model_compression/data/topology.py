"""Who plays in real sessions: genres and line-ups from MedleyDB's metadata, to draw generated ones from.

Reads the metadata only (MIT; Bittner et al., ISMIR 2014): a folder with ``medleydb_tracks.json``, or one of the data
set's own ``*_METADATA.yaml`` files.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError
from .performance import Performance

SUMMARY = "medleydb_tracks.json"
_GENRES = {
    "rock": "rock", "pop": "pop", "singer/songwriter": "folk", "jazz": "jazz", "classical": "classical",
    "musical theatre": "pop", "world/folk": "folk", "fusion": "funk", "rap": "hiphop",
    "electronic/fusion": "electronic", "electronic": "electronic", "funk": "funk", "soul": "funk",
}  # fmt: skip
# Words of MedleyDB's instrument names, most telling first.
_ROLES = (
    ("vocalists", "vocal_backing"), ("choir", "vocal_backing"), ("singer", "vocal_lead"), ("vocal", "vocal_lead"),
    ("rapper", "vocal_lead"), ("beatboxing", "percussion"), ("speaker", "speech"), ("kick", "kick"),
    ("bass drum", "kick"), ("snare", "snare"), ("high hat", "hihat"),
    ("hi-hat", "hihat"), ("toms", "tom"), ("cymbal", "cymbal"),
    ("overhead", "cymbal"), ("drum", "drums"), ("bass clarinet", "woodwind"), ("bass", "bass"),
    ("electric guitar", "elec_guitar"), ("lap steel", "elec_guitar"), ("guitar", "ac_guitar"), ("banjo", "ac_guitar"),
    ("mandolin", "ac_guitar"), ("ukulele", "ac_guitar"), ("oud", "ac_guitar"), ("electric piano", "piano"),
    ("piano", "piano"), ("synth", "synth"), ("organ", "synth"), ("sampler", "synth"), ("scratches", "other"),
    ("violin", "strings"), ("viola", "strings"), ("cello", "strings"), ("string", "strings"), ("erhu", "strings"),
    ("trumpet", "brass"), ("trombone", "brass"), ("horn", "brass"), ("tuba", "brass"), ("brass", "brass"),
    ("sax", "woodwind"), ("flute", "woodwind"), ("clarinet", "woodwind"), ("oboe", "woodwind"), ("bassoon", "woodwind"),
    ("piccolo", "woodwind"), ("harmonica", "woodwind"), ("dizi", "woodwind"), ("tabla", "percussion"),
    ("percussion", "percussion"), ("tambourine", "percussion"), ("shaker", "percussion"), ("conga", "percussion"),
    ("bongo", "percussion"), ("claps", "percussion"), ("gong", "percussion"), ("timpani", "percussion"),
    ("vibraphone", "percussion"), ("glockenspiel", "percussion"), ("fx", "other"),
)  # fmt: skip
_KIT = ("kick", "snare", "hihat", "tom", "cymbal")


@dataclass(frozen=True, kw_only=True)
class LineUp:
    """One song's genre and how many channels each role has."""

    genre: str
    roles: tuple[tuple[str, int], ...]


def read_line_ups(folder: Path) -> tuple[LineUp, ...]:
    """Return the line-ups of a folder of MedleyDB metadata, in the order of song names.

    Raises
    ------
    ModelError
        When there is nothing to read in it.
    """
    songs = _summary(folder / SUMMARY) if (folder / SUMMARY).is_file() else _yaml_files(folder)
    line_ups = [_line_up(songs[title]) for title in sorted(songs)]
    known = tuple(line_up for line_up in line_ups if line_up is not None)
    if not known:
        raise ModelError(f"{folder}: no song of MedleyDB in it; it should hold {SUMMARY} or *_METADATA.yaml files")
    return known


def _summary(path: Path) -> dict[str, Any]:
    try:
        songs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
    if not isinstance(songs, dict):
        raise ModelError(f"{path}: is no table of songs")
    return songs


def _yaml_files(folder: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]  # only here: the summary needs none

    songs = {}
    for path in sorted(folder.rglob("*_METADATA.yaml")):
        try:
            songs[path.name.removesuffix("_METADATA.yaml")] = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ModelError(f"{path}: cannot be read ({error})") from None
    return songs


def _line_up(song: Any) -> LineUp | None:
    if not isinstance(song, dict) or not isinstance(song.get("stems"), dict):
        return None
    genre = _GENRES.get(str(song.get("genre")).lower())
    roles: Counter[str] = Counter()
    for stem in song["stems"].values():
        raw = stem.get("raw_instruments") or [r.get("instrument") for r in (stem.get("raw") or {}).values()]
        for instrument in raw or [stem.get("instrument")]:
            role = role_of(str(instrument))
            if role == "vocal_lead" and stem.get("component") != "melody" and roles["vocal_lead"]:
                role = "vocal_backing"
            roles[role] += 1
    return None if genre is None or not roles else LineUp(genre=genre, roles=tuple(sorted(roles.items())))


def role_of(instrument: str) -> str:
    """Return the role of one of MedleyDB's instrument names."""
    name = instrument.lower()
    return next((role for word, role in _ROLES if word in name), "other")


def draw(rng: np.random.Generator, line_ups: tuple[LineUp, ...], genre: str | None = None) -> LineUp:
    """Return one of the line-ups; of ``genre`` where there are any."""
    fitting = [line_up for line_up in line_ups if line_up.genre == genre] or list(line_ups)
    return fitting[int(rng.integers(len(fitting)))]


def thinned(rng: np.random.Generator, performance: Performance, line_up: LineUp) -> Performance:
    """Return ``performance`` with at most as many stems of each role as the line-up has; never less than two stems.

    A line-up that says ``drums`` alone has a kit in it: all kit pieces stay. Who leads stays.
    """
    room = Counter(dict(line_up.roles))
    if room["drums"]:
        room.update(dict.fromkeys(_KIT, 8))
    stays = []
    for number in rng.permutation(len(performance.stems)).tolist():
        stem = performance.stems[number]
        if stem.lead_spans_s or room[stem.role] > 0 or stem.role == "speech":
            room[stem.role] -= 1
            stays.append(number)
    if len(stays) < 2:
        return performance
    return replace(performance, stems=tuple(performance.stems[k] for k in sorted(stays)))
