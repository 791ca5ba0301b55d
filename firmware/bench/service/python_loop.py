"""The audio loop driven from Python: ``python -m firmware.bench.service.python_loop``.

All that a Python loop can be given it has: pyalsaaudio, the engine through cffi without a copy of its own, SCHED_FIFO,
locked memory. Analysis, meters and the segment, which the C loop serves too, are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import mmap
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

from dsp_kernels.native import aligned_bytes
from firmware import _engine  # type: ignore[attr-defined]  # compiled
from firmware.system.parent import end_with_parent

from .counts import bucket_of_us
from .load import start_beside_loop
from .strips import N_OUTPUTS, RATE_HZ, full_strips

N_BUFFER_PERIODS = 4  # as the C loop has
N_BUCKETS = 64
PERIODS, XRUNS, IS_REALTIME, WAKE, SERVICE = 0, 1, 2, 3, 3 + N_BUCKETS
N_SHARED = SERVICE + N_BUCKETS
MCL_CURRENT_AND_FUTURE = 3
CARD_TIMEOUT_MS = 500


def mixer(n_channels: int) -> tuple[Any, Any]:
    """Return an engine of full strips, and the arena it lives in."""
    ffi, lib = _engine.ffi, _engine.lib
    config = ffi.new("eh_engine_config *")
    config.sample_rate_hz, config.n_capture_lanes, config.n_channels = RATE_HZ, n_channels, n_channels
    arena = aligned_bytes(lib.eh_engine_size_bytes(config))
    handle = ffi.new("eh_engine **")
    if lib.eh_engine_init(handle, config, ffi.cast("void *", arena.ctypes.data)) != lib.EH_OK:
        raise SystemExit("error: the engine refuses the mixer")
    lib.eh_engine_publish(handle[0], ffi.from_buffer("eh_params *", full_strips()))
    return handle[0], arena


def play(pcm: str, n_channels: int, n_frames: int, n_periods: int, shared: Any) -> None:
    """Serve the card for ever; whatever it refuses is an xrun, after which both directions begin anew."""
    import alsaaudio  # type: ignore[import-not-found]  # optional: only this benchmark wants it

    settings: dict[str, Any] = {"mode": alsaaudio.PCM_NONBLOCK, "device": pcm, "rate": RATE_HZ, "periodsize": n_frames,
                                "format": alsaaudio.PCM_FORMAT_S32_LE, "periods": N_BUFFER_PERIODS}  # fmt: skip
    capture = alsaaudio.PCM(type=alsaaudio.PCM_CAPTURE, channels=n_channels, **settings)
    playback = alsaaudio.PCM(type=alsaaudio.PCM_PLAYBACK, channels=N_OUTPUTS, **settings)
    for opened in (capture.info(), playback.info()):
        if (opened["period_size"], opened["buffer_size"]) != (n_frames, N_BUFFER_PERIODS * n_frames):
            raise SystemExit(f"error: pyalsaaudio opened {pcm} with other periods than asked for: {opened}")
    ffi, lib = _engine.ffi, _engine.lib
    engine, _arena = mixer(n_channels)
    n_in, n_out = n_frames * n_channels, n_frames * N_OUTPUTS
    mixed_in, mixed_out = ffi.new("float[]", n_in), ffi.new("float[]", n_out)
    played = bytearray(4 * n_out)
    played_pointer, silence = ffi.from_buffer("int32_t[]", played), bytes(4 * n_out)
    clock_ns = time.monotonic_ns
    poller = select.poll()
    for descriptor, events in capture.polldescriptors():
        poller.register(descriptor, events)

    def start() -> None:  # the first write starts playback, the read that finds nothing starts capture
        capture.drop()
        playback.drop()
        for _ in range(n_periods):
            playback.write(silence)
        capture.read()

    def next_period() -> bytes | None:
        """Wait for it as the C loop does: a blocking read takes what is there at once and so comes later and later."""
        while (n_there := capture.avail()) < n_frames:
            ready = poller.poll(CARD_TIMEOUT_MS) if n_there >= 0 else []
            if not ready:
                return None
            capture.polldescriptors_revents(ready)  # or it stays ready, and the loop spins
        n_read, raw = capture.read()
        return raw if n_read == n_frames else None

    start()
    while True:
        raw = next_period()
        woke_ns = clock_ns()
        if raw is not None:
            late_us = capture.avail() * 1_000_000 // RATE_HZ
            lib.eh_convert_from_s32(ffi.from_buffer("int32_t[]", raw), mixed_in, n_in)
            lib.eh_engine_process(engine, mixed_in, mixed_out, ffi.NULL, n_frames)
            lib.eh_convert_to_s32(mixed_out, played_pointer, n_out)
            if late_us >= 0 and playback.write(played) == n_frames:
                shared[PERIODS] += 1
                shared[WAKE + bucket_of_us(late_us)] += 1
                shared[SERVICE + bucket_of_us(late_us + (clock_ns() - woke_ns) // 1000)] += 1
                continue
        shared[XRUNS] += 1
        start()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m firmware.bench.service.python_loop", description=__doc__)
    parser.add_argument("--pcm", required=True)
    parser.add_argument("--channels", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--periods", type=int, required=True, help="that playback runs ahead")
    parser.add_argument("--priority", type=int, required=True, help="of SCHED_FIFO")
    parser.add_argument("--counts", type=Path, required=True, help="file of N_SHARED numbers that is counted in")
    parser.add_argument("--is-loaded", action="store_true", help="garbage, chores and models run in this interpreter")
    parser.add_argument("--parent", type=int, required=True, help="end when this process is gone")
    options = parser.parse_args()
    end_with_parent(options.parent)
    with options.counts.open("r+b") as file:
        shared = memoryview(mmap.mmap(file.fileno(), 8 * N_SHARED)).cast("q")
    ctypes.CDLL(None).mlockall(MCL_CURRENT_AND_FUTURE)
    gc.freeze()  # what the imports made need not be looked at each time
    if options.is_loaded:
        start_beside_loop(has_models=True)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(options.priority))
        shared[IS_REALTIME] = 1
    except PermissionError:
        print("python loop: no right to real-time priority: an ordinary thread", file=sys.stderr)
    play(options.pcm, options.channels, options.frames, options.periods, shared)


if __name__ == "__main__":
    main()
