"""A recording that somebody else wrote: known by its path, read when it is needed, a stretch at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

SAMPLE_RATE_HZ = 48000
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
DECODE_TIMEOUT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """One recording.

    Attributes
    ----------
    path
        A sound file, or a container.
    stream
        Number of the audio stream within a container such as ``.stem.mp4``; None for a plain sound file.
    """

    path: Path
    stream: int | None = None

    def duration_s(self) -> float:
        """Return its length."""
        if self.stream is None:
            import soundfile

            with _refusing(self.path):
                return float(soundfile.info(self.path).duration)
        return _probed_duration_s(self.path, self.stream)

    def read(self, begin_s: float = 0.0, seconds: float | None = None) -> NDArray[np.float32]:
        """Return a stretch at SAMPLE_RATE_HZ, ``(n_frames, 1 or 2)``; of more lanes the first two.

        Raises
        ------
        ModelError
            When it cannot be read.
        """
        if self.stream is not None:
            return _decoded(self.path, self.stream, begin_s, seconds)
        import soundfile
        import soxr

        with _refusing(self.path), soundfile.SoundFile(self.path) as file:
            rate_hz = file.samplerate
            file.seek(min(round(begin_s * rate_hz), file.frames))
            frames = -1 if seconds is None else round(seconds * rate_hz)
            x = file.read(frames, dtype="float32", always_2d=True)[:, :2]
        if rate_hz == SAMPLE_RATE_HZ or not len(x):
            return x
        return np.asarray(soxr.resample(x, rate_hz, SAMPLE_RATE_HZ), np.float32)


class _refusing:
    """Turns what a sound library says into one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        if not self._path.is_file():
            raise ModelError(f"{self._path}: is not there; is the data set complete?")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RuntimeError | OSError):
            raise ModelError(f"{self._path}: cannot be read as sound ({error}); download it again") from None


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ModelError(f"the command {name} is missing; containers such as .stem.mp4 need it: install ffmpeg")
    return found


def _output(command: list[str], path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"{path}: is not there; is the data set complete?")
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DECODE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{path}: decoding took over {DECODE_TIMEOUT_S:.0f} s; download it again") from None
    if done.returncode != 0:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"{path}: cannot be decoded ({reason}); download it again")
    return done.stdout


def _probed_duration_s(path: Path, stream: int) -> float:
    command = [_tool("ffprobe"), "-v", "error", "-select_streams", f"a:{stream}"]
    said = _output([*command, "-show_entries", "stream=duration:format=duration", "-of", "json", f"file:{path}"], path)
    told = json.loads(said or b"{}")
    if not told.get("streams"):
        raise ModelError(f"{path}: has no audio stream {stream}; is it a .stem.mp4 with five?")
    return float(told["streams"][0].get("duration") or told.get("format", {}).get("duration") or 0.0)


def _decoded(path: Path, stream: int, begin_s: float, seconds: float | None) -> NDArray[np.float32]:
    command = [_tool("ffmpeg"), "-v", "error", "-nostdin", "-i", f"file:{path}", "-map", f"0:a:{stream}"]
    command += ["-ss", f"{begin_s:.6f}"] + ([] if seconds is None else ["-t", f"{seconds:.6f}"])
    raw = _output([*command, "-ac", "2", "-ar", str(SAMPLE_RATE_HZ), "-f", "f32le", "-"], path)
    return np.frombuffer(raw, "<f4").reshape(-1, 2).astype(np.float32)
