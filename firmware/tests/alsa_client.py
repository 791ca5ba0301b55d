"""A small ALSA program for tests: alsa-lib itself through ctypes, errors as negative numbers, nothing hidden."""

from __future__ import annotations

import ctypes
import select
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

CAPTURE, PLAYBACK = 1, 0  # as in alsa-lib, the other way round than on the card
NONBLOCK = 1
RW_INTERLEAVED = 3
FORMATS = {"S16_LE": (2, 2), "S24_3LE": (32, 3), "S32_LE": (10, 4)}  # number in alsa-lib, bytes a sample
STATES = ("OPEN", "SETUP", "PREPARED", "RUNNING", "XRUN", "DRAINING", "PAUSED", "SUSPENDED", "DISCONNECTED")

_lib = ctypes.CDLL("libasound.so.2")
for _name in ("writei", "readi", "avail", "avail_update"):
    getattr(_lib, f"snd_pcm_{_name}").restype = ctypes.c_long


class AlsaRefusal(Exception):
    """An ALSA call failed while a stream was set up; ``code`` is the negative errno."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: {code}")
        self.code = code


def _ok(call: str, *arguments: Any) -> int:
    code = int(getattr(_lib, call)(*arguments))
    if code < 0:
        raise AlsaRefusal(call, code)
    return code


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class Pcm:
    """One direction of an ALSA card with exact parameters, or :class:`AlsaRefusal`."""

    def __init__(
        self,
        name: str,
        stream: int,
        *,
        n_channels: int,
        period_frames: int = 64,
        buffer_frames: int = 256,
        format_name: str = "S32_LE",
        sample_rate_hz: int = 48000,
        is_blocking: bool = False,
        start_frames: int | None = None,
        stop_frames: int | None = None,
    ) -> None:
        self.n_channels, self.format_name = n_channels, format_name
        self.handle = ctypes.c_void_p()
        _ok("snd_pcm_open", ctypes.byref(self.handle), name.encode(), stream, 0 if is_blocking else NONBLOCK)
        try:
            self._set_hardware(period_frames, buffer_frames, sample_rate_hz)
            self._set_software(start_frames, stop_frames)
        except AlsaRefusal:
            self.close()
            raise

    def _set_hardware(self, period_frames: int, buffer_frames: int, sample_rate_hz: int) -> None:
        params = ctypes.create_string_buffer(_lib.snd_pcm_hw_params_sizeof())
        _ok("snd_pcm_hw_params_any", self.handle, params)
        _ok("snd_pcm_hw_params_set_access", self.handle, params, RW_INTERLEAVED)
        _ok("snd_pcm_hw_params_set_format", self.handle, params, FORMATS[self.format_name][0])
        _ok("snd_pcm_hw_params_set_channels", self.handle, params, self.n_channels)
        _ok("snd_pcm_hw_params_set_rate", self.handle, params, sample_rate_hz, 0)
        _ok("snd_pcm_hw_params_set_period_size", self.handle, params, ctypes.c_ulong(period_frames), 0)
        _ok("snd_pcm_hw_params_set_buffer_size", self.handle, params, ctypes.c_ulong(buffer_frames))
        _ok("snd_pcm_hw_params", self.handle, params)

    def _set_software(self, start_frames: int | None, stop_frames: int | None) -> None:
        params = ctypes.create_string_buffer(_lib.snd_pcm_sw_params_sizeof())
        _ok("snd_pcm_sw_params_current", self.handle, params)
        boundary = ctypes.c_ulong()
        _ok("snd_pcm_sw_params_get_boundary", params, ctypes.byref(boundary))
        start = boundary.value if start_frames is None else start_frames
        _ok("snd_pcm_sw_params_set_start_threshold", self.handle, params, ctypes.c_ulong(start))
        if stop_frames is not None:
            stop = min(stop_frames, boundary.value)
            _ok("snd_pcm_sw_params_set_stop_threshold", self.handle, params, ctypes.c_ulong(stop))
        _ok("snd_pcm_sw_params", self.handle, params)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.handle:
            _lib.snd_pcm_close(self.handle)
            self.handle = ctypes.c_void_p()

    @property
    def state(self) -> str:
        return STATES[_lib.snd_pcm_state(self.handle)]

    def call(self, name: str, *arguments: Any) -> int:
        """Call ``snd_pcm_NAME`` and return what it returns, errors too."""
        return int(getattr(_lib, f"snd_pcm_{name}")(self.handle, *arguments))

    def delay(self) -> int:
        frames = ctypes.c_long()
        code = self.call("delay", ctypes.byref(frames))
        return code if code < 0 else frames.value

    def fetch_descriptors(self) -> None:
        """Ask for what to poll, once and before the start, as programs with a poll loop of their own do."""
        n_fds = self.call("poll_descriptors_count")
        self._fds = (_PollFd * n_fds)()
        assert self.call("poll_descriptors", self._fds, n_fds) == n_fds

    def poll(self, timeout_ms: int) -> int | None:
        """Poll what was fetched; return the events alsa-lib makes of it, None if nothing woke."""
        poller = select.poll()
        for fd in self._fds:
            poller.register(fd.fd, fd.events)
        woken = dict(poller.poll(timeout_ms))
        if not woken:
            return None
        for fd in self._fds:
            fd.revents = woken.get(fd.fd, 0)
        events = ctypes.c_ushort()
        code = self.call("poll_descriptors_revents", self._fds, len(self._fds), ctypes.byref(events))
        return code if code < 0 else events.value

    def read_bytes(self, n_frames: int) -> tuple[int, bytes]:
        """Return alsa-lib's answer and the bytes of the frames it gave."""
        n_bytes = self.n_channels * FORMATS[self.format_name][1]
        buffer = ctypes.create_string_buffer(n_frames * n_bytes)
        got = self.call("readi", buffer, ctypes.c_ulong(n_frames))
        return got, buffer.raw[: max(got, 0) * n_bytes]

    def write_bytes(self, frames: bytes) -> int:
        n_bytes = self.n_channels * FORMATS[self.format_name][1]
        return self.call("writei", frames, ctypes.c_ulong(len(frames) // n_bytes))

    def read(self, n_frames: int) -> tuple[int, NDArray[np.int32]]:
        """Return alsa-lib's answer and the frames as int32 at full scale."""
        got, raw = self.read_bytes(n_frames)
        return got, unpacked(raw, self.n_channels, self.format_name)

    def write(self, frames: NDArray[np.int32]) -> int:
        return self.write_bytes(packed(frames, self.format_name))


def packed(frames: NDArray[np.int32], format_name: str) -> bytes:
    """Return int32 frames as the bytes of a format, the lowest bits cut off."""
    n_bytes = FORMATS[format_name][1]
    return np.ascontiguousarray(frames, "<i4").view(np.uint8).reshape(-1, 4)[:, 4 - n_bytes :].tobytes()


def unpacked(raw: bytes, n_channels: int, format_name: str) -> NDArray[np.int32]:
    """Return the bytes of a format as (n_frames, n_channels) int32 at full scale."""
    n_bytes = FORMATS[format_name][1]
    whole = np.zeros((len(raw) // n_bytes, 4), np.uint8)
    whole[:, 4 - n_bytes :] = np.frombuffer(raw, np.uint8).reshape(-1, n_bytes)
    return whole.view("<i4").reshape(-1, n_channels).astype(np.int32)


def forget_configuration() -> None:
    """Let alsa-lib read ``ALSA_CONFIG_PATH`` again."""
    _lib.snd_config_update_free_global()
