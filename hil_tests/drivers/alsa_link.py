"""Sound through a real interface of this machine, by ``aplay`` and ``arecord``, aligned over a cable past the box.

Both programs start at their own moment. So one output of the interface goes by a cable straight into one of its inputs;
a click there, each half second, says which recorded frame is which played one, and that none was lost on the way.
"""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil_tests.board import Heard
from hil_tests.errors import HilError

CLICK_FRAMES = 24000  # from one click of the reference to the next
CLICK_LIN = 0.5
FOUND_LIN = 0.02  # a click that came over any usable cable is louder, noise is not
SMEAR_FRAMES = 64  # a converter's filters spread a click over less
LEAD_FRAMES = 4800  # silence before the first click: what switches on does not sound like one
TAIL_FRAMES = 48000  # played behind the last block: more than any interface keeps on its way
UNALIGNED_FRAMES = 240_000  # without a click: there is no cable
SILENT_S = 30.0  # without a recorded frame
FULL_SCALE = 2.0**31


@dataclass(frozen=True, kw_only=True)
class InterfaceWiring:
    """What is plugged where; channels of the interface count from 1.

    ``to_box``: output of the interface for each input of the box. ``from_box``: input of the interface for each output
    of the box. ``reference``: output and input that the cable past the box joins.
    """

    interface: str  # ALSA name
    n_playback: int
    n_capture: int
    to_box: tuple[int, ...]
    from_box: Mapping[str, int]
    reference: tuple[int, int]


class AlsaLink:
    """An ``AudioPort`` of ``hil_tests.board``."""

    def __init__(self, wiring: InterfaceWiring, sample_rate_hz: int) -> None:
        self._wiring, self.sample_rate_hz = wiring, sample_rate_hz
        self.n_inputs = len(wiring.to_box)
        self.output_names = tuple(wiring.from_box)
        self._n_played = 0

    def stream(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Heard]:
        """Play ``blocks`` and yield what was heard in the very same frames.

        Raises
        ------
        HilError
            When the interface is not there, the reference does not come back, or frames were lost on the way to it.
        """
        recorder = self._start("arecord", self._wiring.n_capture)
        recording = _Recording(recorder, self._wiring, self.output_names)
        player = None
        try:
            recording.wait_until_it_runs()
            player = self._start("aplay", self._wiring.n_playback)
            at = 0
            lengths: list[int] = []
            self._play(player, np.zeros((LEAD_FRAMES, self.n_inputs), np.float32), -LEAD_FRAMES)
            for block in blocks:
                if block.ndim != 2 or block.shape[1] != self.n_inputs:
                    raise HilError(f"a block of shape {block.shape}; this rig plays (n_frames, {self.n_inputs})")
                self._play(player, block, at)
                at += len(block)
                lengths.append(len(block))
                while lengths and (sound := recording.take(lengths[0], is_last=False)) is not None:
                    yield self._heard(sound, lengths.pop(0))
            self._play(player, np.zeros((TAIL_FRAMES, self.n_inputs), np.float32), at)
            assert player.stdin is not None
            player.stdin.close()
            for length in lengths:
                last = recording.take(length, is_last=True)
                assert last is not None
                yield self._heard(last, length)
        finally:
            for process in (player, recorder):
                if process is not None:
                    process.kill()
                    process.wait()
            recording.close()
            for stream in (s for p in (player, recorder) if p is not None for s in (p.stdin, p.stdout, p.stderr)):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()

    def _heard(self, sound: NDArray[np.float32], n_frames: int) -> Heard:
        self._n_played += n_frames
        return Heard(first_frame=self._n_played - n_frames, sound=sound)

    def _play(self, player: subprocess.Popen[bytes], block: NDArray[np.float32], at: int) -> None:
        """Write a block; frame 0 and each ``CLICK_FRAMES`` of the reference are a click."""
        frames = np.zeros((len(block), self._wiring.n_playback))
        frames[:, [channel - 1 for channel in self._wiring.to_box]] = block
        first = -at % CLICK_FRAMES if at >= 0 else len(block)
        frames[first::CLICK_FRAMES, self._wiring.reference[0] - 1] = CLICK_LIN
        samples = np.clip(frames * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1).astype("<i4")
        assert player.stdin is not None
        try:
            player.stdin.write(samples.tobytes())
            player.stdin.flush()
        except OSError:
            raise HilError(f"{self._wiring.interface}: aplay ended: {_words(player)}") from None

    def _start(self, program: str, n_channels: int) -> subprocess.Popen[bytes]:
        words = ["-q", "-D", self._wiring.interface, "-t", "raw", "-f", "S32_LE", "-r", str(self.sample_rate_hz), "-c",
                 str(n_channels)]  # fmt: skip
        try:
            return subprocess.Popen(
                [program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise HilError(f"{program}: {error.strerror}; install alsa-utils") from None


class _Recording:
    """What arecord gives, in the frames of what was played."""

    def __init__(self, process: subprocess.Popen[bytes], wiring: InterfaceWiring, names: tuple[str, ...]) -> None:
        self._process, self._wiring = process, wiring
        self._columns = [wiring.from_box[name] - 1 for name in names]
        self._blocks: queue.Queue[bytes] = queue.Queue()
        self._frames = np.zeros((0, wiring.n_capture), np.float32)
        self._rest = b""
        self._is_aligned = False
        self._to_click = 0  # frames of ``_frames`` before the next click
        self._thread = threading.Thread(target=self._read, name="arecord", daemon=True)
        self._thread.start()

    def wait_until_it_runs(self) -> None:
        """Wait for the first frames: from then on nothing that is played is missed."""
        while not len(self._frames):
            self._collect(is_waiting=True)

    def take(self, n_frames: int, *, is_last: bool) -> NDArray[np.float32] | None:
        """Return the next ``n_frames``, None while they are not there; wait for them when ``is_last``."""
        while not self._align() or len(self._frames) < n_frames + SMEAR_FRAMES:
            if not self._collect(is_waiting=is_last) and not is_last:
                return None
        taken, self._frames = self._frames[:n_frames], self._frames[n_frames:]
        self._check(taken)
        return taken[:, self._columns]

    def close(self) -> None:
        """Wait for the reader; the program has ended."""
        self._thread.join()

    def _align(self) -> bool:
        """Let frame 0 of ``_frames`` be the first click."""
        if self._is_aligned:
            return True
        loud = np.flatnonzero(np.abs(self._reference(self._frames)) > FOUND_LIN)
        if not len(loud) or len(self._frames) < loud[0] + SMEAR_FRAMES:
            return False
        first = int(loud[0])
        first += int(np.argmax(np.abs(self._reference(self._frames)[first : first + SMEAR_FRAMES])))
        self._frames = self._frames[first:]
        self._is_aligned = True
        return True

    def _check(self, taken: NDArray[np.float32]) -> None:
        """Hold every click to its frame."""
        reference = np.abs(self._reference(np.concatenate([taken, self._frames[:SMEAR_FRAMES]])))
        while self._to_click < len(taken):
            near = max(0, self._to_click - SMEAR_FRAMES)
            window = reference[near : self._to_click + SMEAR_FRAMES]
            found = near + int(np.argmax(window))
            if window.max() < FOUND_LIN or found != self._to_click:
                out, back = self._wiring.reference
                raise HilError(
                    f"{self._wiring.interface}: a click of the reference is not where it was played; the interface "
                    f"lost frames, or the cable from output {out} to input {back} is loose"
                )
            self._to_click += CLICK_FRAMES
        self._to_click -= len(taken)

    def _reference(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        return frames[:, self._wiring.reference[1] - 1]

    def _collect(self, *, is_waiting: bool) -> bool:
        """Take over what was recorded; return whether there was anything."""
        try:
            got = self._blocks.get(timeout=SILENT_S) if is_waiting else self._blocks.get_nowait()
        except queue.Empty:
            if is_waiting:
                raise HilError(f"{self._wiring.interface}: nothing was recorded for {SILENT_S:.0f} s") from None
            return False
        if not got:
            raise HilError(f"{self._wiring.interface}: arecord ended: {_words(self._process)}")
        frame_bytes = 4 * self._wiring.n_capture
        whole = self._rest + got
        n_bytes = len(whole) // frame_bytes * frame_bytes
        self._rest = whole[n_bytes:]
        samples = np.frombuffer(whole[:n_bytes], "<i4").reshape(-1, self._wiring.n_capture)
        self._frames = np.concatenate([self._frames, (samples / FULL_SCALE).astype(np.float32)])
        if not self._is_aligned and len(self._frames) > UNALIGNED_FRAMES:
            out, back = self._wiring.reference
            raise HilError(
                f"{self._wiring.interface}: no click of the reference came back; is there a cable from its output "
                f"{out} to its input {back}, and is the gain up?"
            )
        return True

    def _read(self) -> None:
        assert self._process.stdout is not None
        while block := self._process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            self._blocks.put(block)
        self._blocks.put(b"")


def _words(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    assert process.stderr is not None
    lines = process.stderr.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
