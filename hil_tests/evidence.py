"""What a report shows of a failure: the sound as a picture and to listen to, and what the box said last."""

from __future__ import annotations

import base64
import io
import re
import wave
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from .board import Box
from .errors import HilError
from .tap import Tap

N_COLUMNS, ROW_PX, LABEL_PX = 900, 36, 96
N_LINES = 30
N_SERIAL_LINES = 1000  # a start, and the one before it
TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")  # its sequences, and bytes that are no text
SERVICES = ("engine", "control", "agent", "recorder")
SILENT_LIN = 1e-5  # -100 dBFS: no row of its own


def evidence_of(box: Box) -> list[dict[str, str]]:
    """Return what there is to show, each piece ``{"title": ..., "svg" or "wav" or "text": ...}``."""
    pieces: list[dict[str, str]] = []
    port = box.audio if "audio_loopback" in box.rig.has else None
    if isinstance(port, Tap):
        played, heard = port.last()
        rate_hz = port.sample_rate_hz
        inputs = [f"input {channel + 1}" for channel in range(played.shape[1])]
        for title, sound, names in (("played", played, inputs), ("heard", heard, port.output_names)):
            pieces += _sound(title, sound, names, rate_hz)
    if "serial" in box.rig.has:  # before the services are asked, which goes over it
        pieces += _words("the serial line", box.serial.said, N_SERIAL_LINES)
    for service in SERVICES:
        with suppress(HilError):
            pieces += _words(f"{service} said", box.log(service), N_LINES)
    return pieces


def _words(title: str, said: str, n_lines: int) -> list[dict[str, str]]:
    """Return the end of what was said, without what only a terminal heeds; nothing where it was nothing."""
    lines = TERMINAL.sub("", said).strip().splitlines()[-n_lines:]
    return [{"title": title, "text": "\n".join(lines)}] if lines else []


def _sound(title: str, sound: NDArray[np.float32], names: Sequence[str], rate_hz: int) -> list[dict[str, str]]:
    is_loud = [ch for ch in range(sound.shape[1]) if len(sound) and np.abs(sound[:, ch]).max() > SILENT_LIN]
    if not is_loud:
        return [{"title": title, "text": f"silence, {len(sound) / rate_hz:.2f} s"}]
    pair = sound[:, is_loud[:2]]
    heading = f"{title}, the last {len(sound) / rate_hz:.2f} s"
    return [
        {"title": heading, "svg": waveform_svg(sound[:, is_loud], [names[ch] for ch in is_loud])},
        {"title": f"{title}: {' and '.join(names[ch] for ch in is_loud[:2])}", "wav": wav_base64(pair, rate_hz)},
    ]


def waveform_svg(sound: NDArray[np.float32], names: Sequence[str]) -> str:
    """Return a picture of every channel of ``sound`` (n_frames, n_channels), each to its own peak."""
    edges = np.unique(np.linspace(0, len(sound), min(N_COLUMNS, len(sound)) + 1).astype(int))[:-1]
    rows = []
    for row, name in enumerate(names):
        channel = sound[:, row]
        high, low = np.maximum.reduceat(channel, edges), np.minimum.reduceat(channel, edges)
        peak = float(np.abs(channel).max())
        middle, scale = (row + 0.5) * ROW_PX, 0.45 * ROW_PX / max(peak, SILENT_LIN)
        strokes = "".join(
            f"M{LABEL_PX + x} {middle - top * scale:.1f}V{middle - bottom * scale + 0.5:.1f}"
            for x, (top, bottom) in enumerate(zip(high.tolist(), low.tolist(), strict=True))
        )
        label = f"{name} {20 * np.log10(max(peak, SILENT_LIN)):.1f} dBFS"
        rows.append(f'<text x="0" y="{middle + 3:.0f}">{label}</text><path d="{strokes}"/>')
    height = ROW_PX * len(names)
    return f'<svg viewBox="0 0 {LABEL_PX + N_COLUMNS} {height}" role="img">{"".join(rows)}</svg>'


def wav_base64(sound: NDArray[np.float32], rate_hz: int) -> str:
    """Return ``sound`` (n_frames, 1 or 2) as a 16-bit WAV file, for a page to hold."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(sound.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes((np.clip(sound, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()
