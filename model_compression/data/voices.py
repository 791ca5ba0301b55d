"""Synthetic voices: who there is, what they say, and their utterances taken apart and kept in a cache."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tempfile
import tomllib
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from model_compression.data.ingredients import MissingIngredient
from model_compression.data.vocoder import VOICE_RATE_HZ, Analysis, analyse

POOL_SIZE = 24  # texts that each voice has; small enough that a whole data set reuses them
TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One voice of one engine; ``name`` is the family."""

    name: str
    engine: str
    code: str
    language: str
    split: str
    ingredient: str
    sings: bool


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "talkers.toml").read_text())


@cache
def voices() -> tuple[Voice, ...]:
    """Every voice of every split."""
    table = tomllib.loads((Path(__file__).parent / "voices.toml").read_text())
    found = []
    for split in ("train", "test"):
        for engine in ("flite", "festival"):
            for entry in table[engine][split]:
                ingredient = entry.get("ingredient", table[engine].get("ingredient"))
                found.append(
                    Voice(
                        name=f"{engine}.{entry['name']}",
                        engine=engine,
                        code=entry["name"],
                        language=entry["language"],
                        split=split,
                        ingredient=ingredient,
                        sings=entry["sings"],
                    )
                )
        espeak = table["espeak"][split]
        for code, language in espeak["languages"].items():
            for variant in espeak["variants"]:
                sings = variant in espeak["singing"] and language in ("en", "it", "es", "de")
                found.append(
                    Voice(
                        name=f"espeak.{code}.{variant}",
                        engine="espeak",
                        code=f"{code}+{variant}",
                        language=language,
                        split=split,
                        ingredient="espeak-ng",
                        sings=sings,
                    )
                )
    return tuple(found)


def choose(rng: np.random.Generator, split: str, *, sings: bool = False) -> Voice:
    """Draw a voice: the few recorded voices as often as the many of espeak-ng together, or oftener."""
    side = "test" if split == "test" else "train"
    fits = [v for v in voices() if v.split == side and (v.sings or not sings)]
    recorded = [v for v in fits if v.engine != "espeak"]
    pool = recorded if rng.random() < 0.7 else [v for v in fits if v.engine == "espeak"]
    return pool[int(rng.integers(len(pool)))]


def texts_of(voice: Voice, purpose: str) -> list[str]:
    """List what a voice can say: ``host``, ``guest`` or ``announcement`` sentences, or single ``words`` to sing."""
    table = _texts()[voice.language]
    if purpose == "words":
        return list(table["words"])
    rng = np.random.default_rng(zlib.crc32(f"{voice.name} {purpose}".encode()))
    n = POOL_SIZE // 3
    return [" ".join(_filled(rng, table, purpose) for _ in range(int(rng.integers(1, 3)))) for _ in range(n)]


def _filled(rng: np.random.Generator, table: dict[str, Any], purpose: str) -> str:
    sentence = str(rng.choice(table[purpose]))
    for slot, choices in table["slots"].items():
        while f"{{{slot}}}" in sentence:
            sentence = sentence.replace(f"{{{slot}}}", str(rng.choice(choices)), 1)
    return sentence.replace("{number}", str(int(rng.integers(2, 60))))


def utterance(voice: Voice, text: str, cache_dir: Path | None) -> Analysis:
    """Speak a text and take it apart; read from ``cache_dir`` when it is there."""
    return _utterance(voice, text, None if cache_dir is None else str(cache_dir))


def forget() -> None:
    """Drop what is held in memory; the files of a cache stay."""
    _utterance.cache_clear()


@lru_cache(maxsize=2000)
def _utterance(voice: Voice, text: str, cache_dir: str | None) -> Analysis:
    if cache_dir is None:
        return _kept(analyse(_spoken(voice, text)))
    digest = hashlib.sha256(f"1 {voice.name} {text}".encode()).hexdigest()[:24]
    path = Path(cache_dir) / f"{digest}.npz"
    if not path.exists():
        made = _kept(analyse(_spoken(voice, text)))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            np.savez(
                part,
                f0_hz=made.f0_hz.astype(np.float32),
                envelope=made.envelope.astype(np.float32),
                breath=made.breath.astype(np.float32),
            )
        Path(part.name).replace(path)
    with np.load(path) as kept:
        return Analysis(**{name: kept[name].astype(np.float64) for name in ("f0_hz", "envelope", "breath")})


def _kept(made: Analysis) -> Analysis:
    """As the cache would give it back, so that a cache never changes a byte of what is made."""
    return Analysis(
        **{name: getattr(made, name).astype(np.float32).astype(np.float64) for name in ("f0_hz", "envelope", "breath")}
    )


def _spoken(voice: Voice, text: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        if voice.engine == "espeak":
            command, script = ["espeak-ng", "-v", voice.code, "-w", str(path), "--", text], None
        elif voice.engine == "flite":
            command, script = ["flite", "-voice", voice.code, "-o", str(path), "-t", text], None
        else:
            quoted = text.encode("latin-1", "replace").replace(b'"', b"").replace(b"\\", b"")
            command = ["festival", "--pipe"]
            script = (
                f'(voice_{voice.code})(utt.save.wave (SynthText "'.encode() + quoted + f'") "{path}" \'riff)'.encode()
            )
        try:
            done = subprocess.run(command, input=script, capture_output=True, timeout=TIMEOUT_S, check=False)
        except FileNotFoundError as missing:
            raise MissingIngredient(f"{command[0]} is not installed; apt install {voice.ingredient}") from missing
        if not path.exists() or path.stat().st_size < 1000:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise MissingIngredient(
                f"{command[0]} gave no sound for voice {voice.code} ({said[0]}); apt install {voice.ingredient}"
            )
        audio, rate = soundfile.read(io.BytesIO(path.read_bytes()), dtype="float64", always_2d=True)
    return soxr.resample(audio[:, 0], rate, VOICE_RATE_HZ)
