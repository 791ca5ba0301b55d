"""Makes ``demo/session``: a panel of four with music under it, then a band of nine, as a stage would deliver them.

``python demo/make_session.py`` needs the Debian packages that README.md names. Same packages, same files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import band
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from room import impulse_response
from scipy.signal import butter, fftconvolve, sosfilt

RATE_HZ = band.RATE_HZ
SESSION_DIR = Path(__file__).parent / "session"
MAX_SIZE_BYTES = 6_000_000
PANEL_S = 18.5
BAND_S = 18.0  # the first bar of the band

# Word length follows the signal: rounding noise stays `noise_below_db` under each block. FLAC stores no bits that are
# always zero.
BLOCK_FRAMES = 4096  # libFLAC's own block, so that each of its frames has one word length

ROOM_M = (7.5, 5.5, 2.9)
REFLECTION = 0.66
MOUTH_TO_MIC_M = 0.16
# Round a table, mouths and microphones; the loudspeaker for the music stands by the wall.
MICS_M = np.array([[3.0, 2.2, 1.15], [4.2, 2.2, 1.15], [4.5, 3.4, 1.15], [2.7, 3.5, 1.15]])
TABLE_M = MICS_M.mean(axis=0)
LOUDSPEAKER_M = np.array([0.4, 1.0, 2.1])

# Seconds, seat, words. The last two begin before the one before has ended.
TALK = [
    (1.6, 0, "Good evening. Four of us, four open microphones, and nobody at the desk."),
    (6.5, 1, "So who turns me down while she talks?"),
    (8.9, 2, "The box does. It shares the gain of one microphone among all of us."),
    (12.9, 3, "I am the quiet one. Can you hear me?"),
    (15.0, 1, "We can."),
    (15.5, 0, "Every word. And now, the band."),
]
VOICES = ("slt", "rms", "awb", "kal16")


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One file of the session; ``peak_dbfs`` is where the stage's preamp happens to stand."""

    file: str
    name: str
    peak_dbfs: float
    role: str = ""
    hum_dbfs: float = -140.0
    hiss_dbfs: float = -140.0
    start_s: float = 0.0
    noise_below_db: float = 38.0


CHANNELS = [
    Channel(file="01_host", name="Host", role="speech", peak_dbfs=-9, hum_dbfs=-78, noise_below_db=40),
    Channel(file="02_guest_1", name="Guest 1", peak_dbfs=-15, hum_dbfs=-78, noise_below_db=40),
    Channel(file="03_guest_2", name="Guest 2", peak_dbfs=-7, hum_dbfs=-62, noise_below_db=40),
    Channel(file="04_guest_3", name="Guest 3", peak_dbfs=-24, hum_dbfs=-93, noise_below_db=40),
    Channel(file="05_music", name="Music", role="playback", peak_dbfs=-10),
    Channel(file="06_kick", name="Kick", role="kick", peak_dbfs=-5, start_s=BAND_S),
    Channel(file="07_in_7", name="In 7", peak_dbfs=-8, start_s=BAND_S, noise_below_db=33),
    Channel(file="08_overhead", name="Overhead", role="cymbal", peak_dbfs=-16, start_s=BAND_S, noise_below_db=33),
    Channel(file="09_bass_di", name="Bass DI", role="bass", peak_dbfs=-11, start_s=BAND_S, noise_below_db=45),
    Channel(
        file="10_in_10", name="In 10", peak_dbfs=-9, hum_dbfs=-48, hiss_dbfs=-62, start_s=BAND_S, noise_below_db=33
    ),
    Channel(file="11_keys", name="Keys", peak_dbfs=-14, start_s=BAND_S, noise_below_db=45),
    Channel(file="12_acoustic", name="Acoustic", peak_dbfs=-10, start_s=BAND_S),
    Channel(file="13_lead", name="Lead", role="vocal_lead", peak_dbfs=-25, hum_dbfs=-84, start_s=BAND_S),
    Channel(file="14_in_14", name="In 14", peak_dbfs=-14, hum_dbfs=-80, start_s=BAND_S),
]


def speak(words: str, voice: str, folder: Path) -> NDArray[np.float64]:
    """Return the words as flite says them; all voices equally loud, -20 dBFS RMS."""
    sound = folder / "line.wav"
    subprocess.run(["flite", "-voice", voice, "-t", words, "-o", str(sound)], check=True, capture_output=True)
    x, rate_hz = sf.read(sound)
    return soxr.resample(0.1 * x / np.sqrt(np.mean(x**2)), rate_hz, RATE_HZ)


def panel(folder: Path, music: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the four microphones: each hears its own talker, the others, the music and the room."""
    n_frames = round(PANEL_S * RATE_HZ)
    talkers = np.zeros((4, n_frames))
    for start_s, seat, words in TALK:
        x = speak(words, VOICES[seat], folder)
        start = round(start_s * RATE_HZ)
        talkers[seat, start : start + len(x)] += x[: n_frames - start]
    out = [np.zeros(n_frames) for _ in MICS_M]
    away = MICS_M - TABLE_M
    mouths_m = MICS_M + MOUTH_TO_MIC_M * away / np.linalg.norm(away, axis=1, keepdims=True)
    sources = [*zip(mouths_m, talkers, strict=True), (LOUDSPEAKER_M, 0.12 * music.mean(axis=1)[:n_frames])]
    for i, mic_m in enumerate(MICS_M):
        for place_m, x in sources:
            h = impulse_response(
                place_m, mic_m, room_m=ROOM_M, reflection=REFLECTION, length_s=0.25, sample_rate_hz=RATE_HZ
            )
            out[i] += MOUTH_TO_MIC_M * fftconvolve(x, h)[:n_frames]
    return out


def bleed(x: NDArray[np.float64], gain_db: float, delay_ms: float) -> NDArray[np.float64]:
    """Return what a microphone further away hears of ``x``."""
    n = round(delay_ms / 1000 * RATE_HZ)
    return 10 ** (gain_db / 20) * np.concatenate([np.zeros(n), x[: len(x) - n]])


def band_inputs(parts: dict[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the band's nine inputs from its parts, each part at 0 dBFS peak: bleed, and a boomy acoustic guitar."""
    length = max(len(x) for x in parts.values())
    p = {n: np.pad(x / np.abs(x).max(), (0, length - len(x))) for n, x in parts.items()}
    kit = p["kick"] + 0.8 * p["snare"] + 0.35 * p["hat"]
    boom = sosfilt(butter(2, [90, 190], "bandpass", fs=RATE_HZ, output="sos"), p["acoustic"])
    return [
        p["kick"] + bleed(p["snare"], -24, 1.2) + bleed(p["electric"], -34, 6.0),
        p["snare"] + bleed(p["kick"], -22, 1.0) + bleed(p["hat"], -20, 0.9),
        bleed(kit, 0, 3.0) + 0.5 * p["hat"] + bleed(p["electric"], -28, 7.0),
        p["bass"],
        p["electric"] + bleed(kit, -30, 6.5),
        p["keys"],
        p["acoustic"] + 3.0 * boom,
        p["lead"] + bleed(kit, -26, 8.0) + bleed(p["electric"], -30, 5.0),
        p["backing"] + bleed(kit, -28, 7.0) + bleed(p["lead"], -22, 3.5),
    ]


def noise(n_frames: int, rng: np.random.Generator, channel: Channel) -> NDArray[np.float64]:
    """Return the room's rumble, mains hum and amplifier hiss of a channel that begins at ``start_s``."""
    t = np.arange(n_frames) / RATE_HZ
    hum = sum(a * np.sin(2 * np.pi * 50 * k * t + k) for k, a in ((1, 1.0), (2, 0.5), (3, 0.7), (5, 0.25)))
    shaped = sosfilt(butter(2, [30, 400], "bandpass", fs=RATE_HZ, output="sos"), rng.standard_normal(n_frames))
    hiss = sosfilt(butter(2, 4000, fs=RATE_HZ, output="sos"), rng.standard_normal(n_frames))
    hum_gain, hiss_gain = 10 ** (channel.hum_dbfs / 20), 10 ** (channel.hiss_dbfs / 20)
    rumble_gain = hum_gain if hum_gain < 1e-3 else 0.0  # microphones hear the room, a guitar amplifier does not
    return hum_gain * hum + rumble_gain * shaped / shaped.std() + hiss_gain * hiss / hiss.std()


def with_short_words(x: NDArray[np.float64], noise_below_db: float) -> NDArray[np.int16]:
    """Return 16-bit samples of ``(n_frames, n_channels)``, block by block with no more bits than its level deserves."""
    out = np.zeros(x.shape, np.int16)
    for start in range(0, len(x), BLOCK_FRAMES):
        for ch in range(x.shape[1]):
            block = x[start : start + BLOCK_FRAMES, ch] * 32767
            step = np.sqrt(np.mean(block**2)) * 10 ** (-noise_below_db / 20) * np.sqrt(12)
            unit = 2 ** int(np.clip(np.floor(np.log2(max(step, 1))), 0, 8))
            limit = 32767 // unit * unit
            out[start : start + BLOCK_FRAMES, ch] = np.clip(np.round(block / unit) * unit, -limit, limit)
    return out


def write_session(channels: list[tuple[Channel, NDArray[np.float64]]], folder: Path) -> int:
    """Write the files and session.toml; return their size in bytes."""
    folder.mkdir(exist_ok=True)
    lines = ["# Made by demo/make_session.py. Channels without a role are for the box to recognise.", ""]
    for channel, x in channels:
        words = with_short_words(x, channel.noise_below_db)
        sf.write(folder / f"{channel.file}.flac", words, RATE_HZ, subtype="PCM_16", compression_level=1.0)
        lines += ["[[channel]]", f'name = "{channel.name}"', f'file = "{channel.file}.flac"']
        lines += [f'role = "{channel.role}"'] if channel.role else []
        lines += [""]
    (folder / "session.toml").write_text("\n".join(lines))
    return sum(f.stat().st_size for f in folder.iterdir())


def main() -> int:
    """Make the session; 1 when it grew too large to commit."""
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        music = band.bed(folder, rng)
        music /= np.abs(music).max()
        n_music = round((PANEL_S + 0.5) * RATE_HZ)
        music = np.pad(music, ((round(0.3 * RATE_HZ), 0), (0, 0)))[:n_music]
        music[-RATE_HZ:] *= np.linspace(1, 0, RATE_HZ)[:, None] ** 2
        inputs = [*panel(folder, music), music, *band_inputs(band.parts(folder, rng))]
    channels = []
    for channel, raw in zip(CHANNELS, inputs, strict=True):
        x = (raw if raw.ndim == 2 else raw[:, None]) / np.abs(raw).max() * 10 ** (channel.peak_dbfs / 20)
        x = x + noise(len(x), rng, channel)[:, None]
        channels.append((channel, np.pad(x, ((round(channel.start_s * RATE_HZ), 0), (0, 0)))))
    size_bytes = write_session(channels, SESSION_DIR)
    print(f"{SESSION_DIR.name}: {len(channels)} channels, {size_bytes / 1e6:.2f} MB")
    if size_bytes > MAX_SIZE_BYTES:
        print(f"error: the session may have {MAX_SIZE_BYTES / 1e6:.0f} MB; shorten it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
