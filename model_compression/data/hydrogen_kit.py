"""Kits of the drum machine Hydrogen: a folder of recordings, in layers of loudness, and a list of what is what."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
Layers = tuple[tuple[Path, float, float], ...]  # file, softest and loudest velocity
MAX_HIT_S = 4.0
# Which instruments of a kit's own list may sound for a General MIDI key; tried in order.
NAMES: dict[int, tuple[str, ...]] = {
    36: (r"kick|bass ?drum|thump|djembe\d bass|dununba.*head hit",),
    38: (r"snare(?!.*roll)", r"slap"),
    37: (r"stick|rim|clave|wood", r"snare"),
    39: (r"clap|snap", r"slap"),
    42: (r"(closed|cl\b|chh|hat low).*", r"hat|hh"),
    46: (r"hat.*op|open|ohh", r"hat|hh"),
    44: (r"pedal|pd\b|foot|semi", r"closed|cl\b"),
    49: (r"crash|china|splash", r"cymbal|ride"),
    51: (r"ride(?!.*(bell|cup))", r"cymbal|crash"),
    50: (r"tom.*hi|tom ?1|tomhi|^tom$", r"tom|bongo hi|djembe\d tone"),
    47: (r"tom.*mid|tom ?2", r"tom|bongo lo|djembe\d tone"),
    43: (r"tom.*(low|floor)|floor", r"tom|bongo lo|sangban.*head"),
    70: (r"maraca|shak", r"bell mute|tamb"),
    54: (r"tamb", r"bell"),
    63: (r"bongo hi|conga.*1|djembe\d slap|cajon slap", r"conga|agogo high|bell"),
    64: (r"bongo lo|conga.*2|djembe\d tone|cajon thump", r"conga|agogo low|bell"),
    56: (r"cowbell|agogo", r"bell"),
    58: (r"vibra",),
    60: (r"bongo hi|bongo",),
    61: (r"bongo lo",),
    62: (r"conga.*mute|mute.*conga|conga",),
    65: (r"timbale",),
    67: (r"agogo",),
    75: (r"clave",),
    76: (r"wood ?block|block",),
    81: (r"triangle",),
    82: (r"shak|cabasa",),
    92: (r"snap",),
}


def has_instrument(folder: Path, key: int) -> bool:
    """Whether one of a kit's instruments may sound for a drum key."""
    return bool(_instruments_for(folder, key))


def recorded_hit(folder: Path, key: int, velocity: float, pick: int) -> Audio:
    """Return one hit of the layer for a velocity, ``(n_frames, 2)``; ``pick`` is which of several like instruments."""
    fits = _instruments_for(folder, key)
    if not fits:
        return np.zeros((1, 2), np.float32)
    layers = fits[pick % len(fits)]
    path = next((p for p, low, high in layers if low <= velocity <= high), layers[-1][0])
    return _file(path)


@lru_cache(maxsize=128)
def _file(path: Path) -> Audio:
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = audio[: int(MAX_HIT_S * rate), :2]
    if rate != SAMPLE_RATE_HZ:
        audio = soxr.resample(audio, rate, SAMPLE_RATE_HZ).astype(np.float32)
    return np.repeat(audio, 2, axis=1) if audio.shape[1] == 1 else audio


@cache
def _instruments_for(folder: Path, key: int) -> tuple[Layers, ...]:
    instruments = _instruments(folder)
    for pattern in NAMES.get(key, ()):
        fits = tuple(layers for name, layers in instruments if re.search(pattern, name.lower()))
        if fits:
            return fits
    return ()


@cache
def _instruments(folder: Path) -> tuple[tuple[str, Layers], ...]:
    """Names and velocity layers from ``drumkit.xml``, read by pattern: some of these files are not well-formed."""
    text = (folder / "drumkit.xml").read_text(encoding="utf-8", errors="replace")
    found: list[tuple[str, Layers]] = []
    for block in re.findall(r"<instrument>(.*?)</instrument>", text, re.DOTALL):
        name = _first(r"<name>(.*?)</name>", block) or ""
        layers: list[tuple[Path, float, float]] = []
        for layer in re.findall(r"<layer>(.*?)</layer>", block, re.DOTALL) or [block]:
            file = _first(r"<filename>(.*?)</filename>", layer)
            if file and (folder / file).exists() and "empty" not in file.lower():
                layers.append(
                    (
                        folder / file,
                        float(_first(r"<min>(.*?)</min>", layer) or 0),
                        float(_first(r"<max>(.*?)</max>", layer) or 1),
                    )
                )
        if layers:
            found.append((name, tuple(sorted(layers, key=lambda x: x[1]))))
    return tuple(found)


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.DOTALL)
    return match.group(1).replace("&quot;", '"').replace("&amp;", "&") if match else None
