"""One audio file of a session: what its header promises, whether the promise can be true, and its samples in order."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from .errors import EvenhandError

SUFFIXES = (".wav", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3")
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG")  # as libsndfile calls them
MIN_RATE_HZ, MAX_RATE_HZ = 4000, 384000
N_FRAMES_UNKNOWN = 1 << 62  # libsndfile's answer for a stream whose header does not say
STREAMED_SIZE = 0xFFFFFFFF  # RIFF size of a file that came through a pipe; in RF64, "see ds64"
MAX_RIFF_CHUNKS = 1000


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """What a file holds, checked against its size."""

    path: Path
    sample_rate_hz: int
    n_channels: int
    n_frames: int
    is_float: bool

    def n_frames_at(self, sample_rate_hz: int) -> int:
        """Return its length at another rate, rounded to the nearest frame."""
        return (self.n_frames * sample_rate_hz + self.sample_rate_hz // 2) // self.sample_rate_hz


def probe(path: Path) -> AudioFile:
    """Read the header of ``path``.

    Raises
    ------
    EvenhandError
        When it is no audio, empty, truncated or of an impossible rate.
    """
    try:
        with path.open("rb") as file:
            _refuse_truncated_wav(path, file)
        with soundfile.SoundFile(os.fsencode(path)) as audio:
            found = AudioFile(
                path=path,
                sample_rate_hz=audio.samplerate,
                n_channels=audio.channels,
                n_frames=audio.frames,
                is_float=audio.subtype in ("FLOAT", "DOUBLE"),
            )
            file_format = audio.format
    except OSError as error:
        raise _unreadable(path, error) from None
    except soundfile.LibsndfileError as error:
        raise EvenhandError(
            f"{path}: is not audio that can be read ({error.error_string.strip().rstrip('.')}); "
            "the session takes WAV, FLAC, OGG and MP3"
        ) from None
    if file_format not in FORMATS:
        raise EvenhandError(f"{path}: is {file_format}; the session takes WAV, FLAC, OGG and MP3")
    if found.n_frames <= 0:
        raise EvenhandError(f"{path}: holds no audio (0 frames); record it again or take it out of the session")
    if found.n_frames >= N_FRAMES_UNKNOWN:
        raise EvenhandError(f"{path}: its header does not say how long it is; write it anew, for example with sox")
    if not MIN_RATE_HZ <= found.sample_rate_hz <= MAX_RATE_HZ:
        raise EvenhandError(
            f"{path}: claims a sample rate of {found.sample_rate_hz} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} can be read"
        )
    return found


class AudioReader:
    """Frames of one file at the rate of the session, in order; a context manager.

    ``n_scrubbed`` counts NaN and Inf samples replaced by zero before the resampler, which they would poison;
    without a resampler the engine scrubs and counts them itself.
    """

    def __init__(self, file: AudioFile, sample_rate_hz: int) -> None:
        self.file = file
        self.n_scrubbed = 0
        self._sample_rate_hz = sample_rate_hz
        self._n_promised = file.n_frames_at(sample_rate_hz)
        self._n_delivered = 0
        self._n_decoded = 0
        self._pending = np.zeros((0, file.n_channels), np.float32)
        self._is_drained = False
        self._resampler: Any = None
        if file.sample_rate_hz != sample_rate_hz:
            self._resampler = soxr.ResampleStream(
                file.sample_rate_hz, sample_rate_hz, file.n_channels, dtype="float32", quality="HQ"
            )
        try:
            self._audio = _Forward(os.fsencode(file.path))
        except (OSError, soundfile.LibsndfileError):
            raise self._changed() from None

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._audio.close()

    def read(self, n_frames: int) -> NDArray[np.float32]:
        """Return the next ``(n, n_channels) float32``; fewer than ``n_frames`` only at the end of the file."""
        n_frames = min(n_frames, self._n_promised - self._n_delivered)
        audio = self._decode(n_frames) if self._resampler is None else self._resampled(n_frames)
        self._n_delivered += n_frames
        return audio

    def _decode(self, n_frames: int) -> NDArray[np.float32]:
        n_frames = min(n_frames, self.file.n_frames - self._n_decoded)
        try:
            audio = self._audio.read(n_frames, dtype="float32", always_2d=True)
        except (OSError, soundfile.LibsndfileError):
            raise self._changed() from None
        self._n_decoded += len(audio)
        if len(audio) < n_frames:
            raise self._changed()
        return audio

    def _resampled(self, n_frames: int) -> NDArray[np.float32]:
        pieces, n_have = [self._pending], len(self._pending)
        while n_have < n_frames:
            piece = self._resample_more(n_frames - n_have)
            pieces.append(piece)
            n_have += len(piece)
        audio = np.concatenate(pieces)
        self._pending = audio[n_frames:].copy()
        return audio[:n_frames]

    def _resample_more(self, n_frames: int) -> NDArray[np.float32]:
        if self._is_drained:  # the resampler may round the length differently by a frame or two
            return np.zeros((n_frames, self.file.n_channels), np.float32)
        audio = self._decode(n_frames * self.file.sample_rate_hz // self._sample_rate_hz + 64)
        if self.file.is_float:
            is_bad = ~np.isfinite(audio)
            self.n_scrubbed += int(np.count_nonzero(is_bad))
            audio[is_bad] = 0.0
        self._is_drained = self._n_decoded == self.file.n_frames
        return self._resampler.resample_chunk(audio, last=self._is_drained)

    def _changed(self) -> EvenhandError:
        return EvenhandError(
            f"{self.file.path}: ends or breaks after {self._n_decoded} of {self.file.n_frames} frames; "
            "it is damaged or was changed while it was read: copy it again"
        )


class _Forward(soundfile.SoundFile):
    """A file read from front to back. soundfile seeks after every read; in MP3 that changes the samples."""

    def seekable(self) -> bool:
        return False


def _refuse_truncated_wav(path: Path, file: BinaryIO) -> None:
    """Compare the data size in a RIFF header with what is there: libsndfile would quietly give less."""
    header = file.read(12)
    order = {b"RIFF": "little", b"RF64": "little", b"RIFX": "big"}.get(header[:4])
    if order is None or header[8:12] != b"WAVE":
        return
    size_there_bytes = path.stat().st_size
    ds64_size_bytes = None
    for _ in range(MAX_RIFF_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < 8:
            raise EvenhandError(f"{path}: has a WAV header but no audio behind it; copy or record it again")
        name, size_bytes = chunk[:4], int.from_bytes(chunk[4:], order)  # type: ignore[arg-type]
        if name == b"ds64":
            ds64_size_bytes = int.from_bytes(file.read(16)[8:16], "little")
            file.seek(size_bytes - 16 + (size_bytes & 1), 1)
        elif name == b"data":
            break
        else:
            file.seek(size_bytes + (size_bytes & 1), 1)
    else:
        raise EvenhandError(f"{path}: has {MAX_RIFF_CHUNKS} chunks and no audio; write it anew, for example with sox")
    if size_bytes == STREAMED_SIZE:
        if ds64_size_bytes is None:
            return
        size_bytes = ds64_size_bytes
    available_bytes = size_there_bytes - file.tell()
    if size_bytes > available_bytes:
        raise EvenhandError(
            f"{path}: is truncated: its header promises {size_bytes} bytes of audio and {available_bytes} are there; "
            "copy it again"
        )
    if size_bytes == 0 and available_bytes > 0:
        raise EvenhandError(
            f"{path}: its header promises no audio and {available_bytes} bytes are there: the recording was not "
            "closed; repair the header, for example with sox --ignore-length"
        )


def _unreadable(path: Path, error: OSError) -> EvenhandError:
    hint = {
        errno.ENOENT: "it has vanished; list the folder again",
        errno.EACCES: "give this user the right to read it",
        errno.EISDIR: "it is a folder; name a file",
    }.get(error.errno or 0, "check the disk it lies on")
    return EvenhandError(f"{path}: cannot be read ({error.strerror or error}); {hint}")
