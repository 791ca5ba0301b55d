"""The real box as a black box: ``evenhand-box render`` over a folder, its mix, its channels and what it says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..errors import ModelError

TIMEOUT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What came out.

    Attributes
    ----------
    strips
        Each channel behind fader and pan, ``(n_frames, 2)``; empty when not asked for.
    said
        The JSON object that the box printed.
    decisions
        Lines of its decision log.
    """

    mix: NDArray[np.float32]
    sample_rate_hz: int
    strips: list[NDArray[np.float32]]
    said: dict[str, Any]
    decisions: list[dict[str, Any]]


def box_command() -> list[str]:
    """Return how to start the box: the command beside this interpreter, or the one on PATH."""
    beside = Path(sys.executable).parent / "evenhand-box"
    found = str(beside) if beside.exists() else shutil.which("evenhand-box")
    if found is None:
        raise ModelError("evenhand-box is not installed; run `make build` and call evenhand-model from .venv/bin")
    return [found]


@contextmanager
def session_folder(stems: Sequence[NDArray[np.floating]], names: Sequence[str], sample_rate_hz: int) -> Iterator[Path]:
    """Write stems ``(n_frames, 1 or 2)`` as a session whose channels bear ``names``, in that order."""
    with tempfile.TemporaryDirectory(prefix="evenhand-evaluate-") as place:
        folder = Path(place) / "session"
        folder.mkdir()
        lines = [f"sample_rate_hz = {sample_rate_hz}"] if sample_rate_hz in (44100, 48000, 96000) else []
        for k, (stem, name) in enumerate(zip(stems, names, strict=True), start=1):
            file = f"{k:02d}.wav"
            soundfile.write(folder / file, np.asarray(stem, np.float32), sample_rate_hz, subtype="FLOAT")
            lines += ["", "[[channel]]", f"name = {json.dumps(name)}", f'file = "{file}"']
        (folder / "session.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield folder


def render(
    folder: Path, *, model: str, keys: Sequence[Path] = (), command: Sequence[str] | None = None,
    has_strips: bool = True,
) -> Rendered:  # fmt: skip
    """Render a session folder with a bundle, whose signer is one of ``keys`` or of the box's own, or with ``none``.

    Raises
    ------
    ModelError
        When the box refuses; with the line it said.
    """
    with tempfile.TemporaryDirectory(prefix="evenhand-evaluate-") as place:
        out = Path(place)
        line = [*(command or box_command()), "render", str(folder), "--out", str(out / "mix.wav"), "--json"]
        line += ["--model", model, "--decisions", str(out / "decisions.jsonl")]
        line += [word for key in keys for word in ("--model-key", str(key))]
        line += ["--channels-out", str(out / "channels")] if has_strips else []
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ModelError(f"{line[0]}: did not render {folder} ({error})") from None
        if done.returncode != 0:
            raise ModelError(f"{line[0]}: refused {folder}: {done.stderr.strip().splitlines()[-1:] or ['no reason']}")
        mix, rate_hz = soundfile.read(out / "mix.wav", dtype="float32", always_2d=True)
        files = sorted((out / "channels").glob("*.wav")) if has_strips else []
        return Rendered(
            mix=mix,
            sample_rate_hz=rate_hz,
            strips=[soundfile.read(file, dtype="float32", always_2d=True)[0] for file in files],
            said=json.loads(done.stdout),
            decisions=[json.loads(text) for text in (out / "decisions.jsonl").read_text().splitlines()],
        )
