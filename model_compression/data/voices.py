"""Voices: who there is, what they say, and their utterances taken apart and kept in a cache.

Engines speak a text; the engine ``recorded`` has people instead, and a text of theirs is the path of a recording.
"""

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
from scipy.ndimage import binary_dilation, uniform_filter1d
from scipy.signal import butter, sosfilt

from model_compression.data.ingredients import MissingIngredient
from model_compression.data.vocoder import VOICE_RATE_HZ, Analysis, analyse

POOL_SIZE = 24  # texts that each voice has; small enough that a whole data set reuses them
TIMEOUT_S = 60
RECORDED = "recorded"
SHARE_RECORDED = 0.5  # of those who talk and sing are people, where a split has people
SHARE_ESPEAK = 0.3  # of the others
FILES_PER_PERSON, WORDS_PER_PERSON, SENTENCES_PER_PERSON = 100, 28, 24  # so that the cache fills and stays small
WORD_S, SENTENCE_S, SHORT_SENTENCE_S = (0.15, 3.1), (1.3, 9.0), (0.6, 9.0)
FULL_BAND_HZ = 8000  # people with less were recorded by telephone: they are rare, and don't sing
TELEPHONE_ODDS = 0.3
FLOOR_DB, NOISE_MARGIN = 32, 2.5  # what lies deeper under the loud, or nearer to the noise, is no voice
RUMBLE_HZ = 70.0
PAUSE_TICKS = 12  # of 10 ms, that are left before and after it


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One voice of one engine; ``name`` is the family.

    Attributes
    ----------
    code
        What the engine calls it; of a person, the pattern of the files with that voice.
    odds
        How often it is drawn among those of its engine.
    bandwidth_hz
        Of a person: files that hold less are not used.
    """

    name: str
    engine: str
    code: str
    language: str
    split: str
    ingredient: str
    sings: bool
    speaks: bool = True
    odds: float = 1.0
    bandwidth_hz: int = VOICE_RATE_HZ // 2


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
    for source in table[RECORDED]:
        found += _people(source)
    return tuple(found)


def _people(source: dict[str, Any]) -> list[Voice]:
    is_full = source["bandwidth_hz"] >= FULL_BAND_HZ
    return [
        Voice(
            name=f"{RECORDED}.{source['name']}.{speaker}",
            engine=RECORDED,
            code=source["pattern"].replace("{speaker}", speaker),
            language="",
            split=split,
            ingredient=source["ingredient"].replace("{language}", speaker[:2]),
            sings=is_full,
            speaks=source["speaks"],
            odds=source["odds"] * (1.0 if is_full else TELEPHONE_ODDS),
            bandwidth_hz=source["bandwidth_hz"],
        )
        for split in ("train", "test")
        for speaker in source[split]
    ]


def choose(rng: np.random.Generator, split: str, *, sings: bool = False) -> Voice:
    """Draw a voice that talks, or one that sings: people as often as engines."""
    side = "test" if split == "test" else "train"
    fits = [v for v in voices() if v.split == side and (v.sings if sings else v.speaks)]
    if rng.random() < SHARE_RECORDED:
        pool = [v for v in fits if v.engine == RECORDED]
    elif rng.random() < SHARE_ESPEAK:
        pool = [v for v in fits if v.engine == "espeak"]
    else:
        pool = [v for v in fits if v.engine not in (RECORDED, "espeak")]
    odds = np.array([v.odds for v in pool])
    return pool[int(rng.choice(len(pool), p=odds / odds.sum()))]


def texts_of(voice: Voice, purpose: str) -> list[str]:
    """List what a voice can say: ``host``, ``guest`` or ``announcement`` sentences, or single ``words`` to sing."""
    if voice.engine == RECORDED:
        return list(_recordings(voice, is_word=purpose == "words"))
    table = _texts()[voice.language]
    if purpose == "words":
        return list(table["words"])
    rng = np.random.default_rng(zlib.crc32(f"{voice.name} {purpose}".encode()))
    n = POOL_SIZE // 3
    return [" ".join(_filled(rng, table, purpose) for _ in range(int(rng.integers(1, 3)))) for _ in range(n)]


@cache
def _recordings(voice: Voice, *, is_word: bool) -> tuple[str, ...]:
    """Draw the files of a person that are neither too long nor too short, the same ones every time."""
    fits: list[str] = []
    n_wanted = WORDS_PER_PERSON if is_word else SENTENCES_PER_PERSON
    for least_s, most_s in (WORD_S,) if is_word else (SENTENCE_S, SHORT_SENTENCE_S):
        fits = [p for p, seconds in _lengths_s(voice) if least_s <= seconds <= most_s][:n_wanted]
        if len(fits) >= n_wanted // 2:
            break
    if not fits:
        raise MissingIngredient(f"there is no recording {voice.code}; apt install {voice.ingredient}")
    return tuple(fits)


@cache
def _lengths_s(voice: Voice) -> tuple[tuple[str, float], ...]:
    paths = sorted(p for p in map(str, Path("/").glob(voice.code.lstrip("/"))) if not _is_no_voice(p))
    order = np.random.default_rng(zlib.crc32(voice.name.encode())).permutation(len(paths))
    known = [(paths[i], soundfile.info(paths[i])) for i in order[:FILES_PER_PERSON]]
    return tuple((path, about.duration) for path, about in known if about.samplerate >= 2 * voice.bandwidth_hz)


def _is_no_voice(path: str) -> bool:
    return any(part in path for part in ("/silence/", "beep", "/dir-", "tone"))


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


@lru_cache(maxsize=800)
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


def recording(voice: Voice, path: str, rate_hz: int) -> np.ndarray:
    """Read a file of a person: ``(n_frames,)`` float64, silence at both ends cut off, no long pause.

    Raises
    ------
    MissingIngredient
        Where the file isn't there or holds nothing.
    """
    try:
        audio, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise MissingIngredient(f"no recording {path}; apt install {voice.ingredient}") from error
    mono = sosfilt(butter(2, RUMBLE_HZ, "highpass", fs=rate, output="sos"), audio.mean(axis=1))
    hop = max(1, rate // 100)
    level = np.sqrt(np.mean(mono[: len(mono) // hop * hop].reshape(-1, hop) ** 2, axis=1))
    noise, full = np.percentile(level, (10, 98))
    loud = level > max(1e-4, 10 ** (-FLOOR_DB / 20) * full, min(NOISE_MARGIN * noise, full / 4))
    near = binary_dilation(loud, iterations=PAUSE_TICKS)
    if not loud.any():
        raise MissingIngredient(f"recording {path} is silent; apt install --reinstall {voice.ingredient}")
    kept = np.repeat(near, hop)
    fade = np.clip(2 * uniform_filter1d(kept.astype(float), 2 * hop, mode="constant") - 1, 0, 1)
    return soxr.resample((mono[: len(kept)] * fade)[kept], rate, rate_hz)


def _spoken(voice: Voice, text: str) -> np.ndarray:
    if voice.engine == RECORDED:
        return recording(voice, text, VOICE_RATE_HZ)
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
