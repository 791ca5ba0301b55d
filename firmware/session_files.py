"""One audio file of a session: what its header promises, whether the promise can be true, and its samples in order."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from .errors import EvenhandError
from .session_wav import PCM_SIZE_BYTES, PcmReader, WavData, find_data

SUFFIXES = (".wav", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3")
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG")  # as libsndfile calls them
MIN_RATE_HZ, MAX_RATE_HZ = 4000, 384000
N_FRAMES_UNKNOWN = 1 << 62  # libsndfile's answer for a stream whose header does not say


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """What a file holds, checked against its size."""

    path: Path
    sample_rate_hz: int
    n_channels: int
    n_frames: int
    is_float: bool
    pcm: tuple[int, int] | None = None  # offset and size in bytes of a WAV's samples that ``PcmReader`` can take

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
    refuse_special(path, path)
    try:
        if path.stat().st_size == 0:
            raise EvenhandError(f"{path}: is empty (0 bytes); copy or record it again")
        with path.open("rb") as file:
            wav = find_data(path, file)
        with _quiet_decoder(), soundfile.SoundFile(os.fsencode(path)) as audio:
            found = AudioFile(
                path=path,
                sample_rate_hz=audio.samplerate,
                n_channels=audio.channels,
                n_frames=audio.frames,
                is_float=audio.subtype in ("FLOAT", "DOUBLE"),
                pcm=_pcm(audio, wav),
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


def refuse_special(path: Path, place: Path | str) -> None:
    """Refuse a pipe, a device or a link that leads nowhere: opening a pipe waits for ever, a device has no end."""
    if path.is_file() or not (path.is_symlink() or path.exists()):
        return  # what is missing is told by whoever opens it
    if path.is_dir():
        what = "is a folder"
    elif path.exists():
        what = "is a pipe, a socket or a device"
    else:
        what = "is a link that leads nowhere"
    name = "" if place == path else f"{path.name} "
    raise EvenhandError(f"{place}: {name}{what}; put the file itself there, or take it out of the session")


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
            with _quiet_decoder():
                self._audio = _open(file)
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
            audio = self._audio.read(n_frames)
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


@contextmanager
def _quiet_decoder() -> Iterator[None]:
    """Hold the C library's own words: libmpg123 warns on standard error, where one line of ours is promised."""
    with ExitStack() as stack:
        with suppress(OSError):  # standard error may be closed; then there is nothing to hold
            told = os.dup(2)
            stack.callback(os.close, told)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, nowhere)
            os.dup2(nowhere, 2)
            stack.callback(os.dup2, told, 2)
        yield


class _Forward(soundfile.SoundFile):
    """A file read from front to back. soundfile seeks after every read; in MP3 that changes the samples."""

    def seekable(self) -> bool:
        return False


class _DecodedReader:
    """Whatever libsndfile decodes."""

    def __init__(self, path: Path) -> None:
        self._file = _Forward(os.fsencode(path))

    def close(self) -> None:
        self._file.close()

    def read(self, n_frames: int) -> NDArray[np.float32]:
        return self._file.read(n_frames, dtype="float32", always_2d=True)


def _open(file: AudioFile) -> _DecodedReader | PcmReader:
    if file.pcm is None:
        return _DecodedReader(file.path)
    offset_bytes, sample_size_bytes = file.pcm
    return PcmReader(file.path, offset_bytes, sample_size_bytes, file.n_channels)


def _pcm(audio: soundfile.SoundFile, wav: WavData | None) -> tuple[int, int] | None:
    """Return where the samples lie if they are plain and libsndfile counts as many as the header promises."""
    size_bytes = PCM_SIZE_BYTES.get(audio.subtype)
    if wav is None or wav.size_bytes is None or size_bytes is None or not wav.is_little_endian:
        return None
    if wav.size_bytes // (size_bytes * audio.channels) != audio.frames:
        return None
    return wav.offset_bytes, size_bytes


def _unreadable(path: Path, error: OSError) -> EvenhandError:
    hint = {
        errno.ENOENT: "it has vanished; list the folder again",
        errno.EACCES: "give this user the right to read it",
        errno.EISDIR: "it is a folder; name a file",
    }.get(error.errno or 0, "check the disk it lies on")
    return EvenhandError(f"{path}: cannot be read ({error.strerror or error}); {hint}")
