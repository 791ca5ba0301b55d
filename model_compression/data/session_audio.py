"""A recorded session as a folder: one FLAC a channel and truth.json, to listen to and to give to a box."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from dsp_kernels.contract.generated.contract import STYLES

from ..errors import ModelError
from .performance import SAMPLE_RATE_HZ
from .recording import RecordedSession
from .session_arrays import Arrays

TRUTH = "truth.json"


def write_session(folder: Path, session: RecordedSession, arrays: Arrays) -> None:
    """Write ``session`` to ``folder``, which appears when it is complete and replaces an older one."""
    import soundfile

    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for ch, audio in enumerate(session.channels):
            soundfile.write(part / channel_file(ch), audio, SAMPLE_RATE_HZ, subtype="PCM_24")
        (part / TRUTH).write_text(json.dumps(_truth(session, arrays), indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise ModelError(
            f"{folder}: cannot be written ({error.strerror}); free some space or name another folder"
        ) from None


def channel_file(ch: int) -> str:
    """Return a name that tells the box nothing about the role."""
    return f"channel_{ch + 1:02d}.flac"


def _truth(session: RecordedSession, arrays: Arrays) -> dict[str, Any]:
    performance = session.performance
    channels = []
    for ch, mic in enumerate(session.microphones):
        channels.append({
            "file": channel_file(ch),
            "role": mic.role,
            "is_stereo": mic.is_stereo,
            "is_dead": mic.is_dead,
            "gain_fault_db": round(float(session.gain_fault_db[ch]), 2),
            "eq_fault_db": np.round(session.eq_fault_db[ch], 2).tolist(),
            "active_share": round(float(session.is_active[:, ch].mean()), 3),
            "tone_db": np.round(arrays["tone_db"][ch].astype(float), 2).tolist(),
            "compressor": np.round(arrays["compressor"][ch].astype(float), 2).tolist(),
            "pan_abs": dict(zip(STYLES, np.round(arrays["pan_abs"][:, ch].astype(float), 3).tolist(), strict=True)),
            "offset_lu": dict(
                zip(STYLES, np.round(arrays["offset_lu"][:, :, ch].astype(float), 2).tolist(), strict=True)
            ),
        })  # fmt: skip
    return {
        "scene_kind": performance.scene_kind,
        "genre": performance.genre,
        "tempo_bpm": performance.tempo_bpm,
        "key": performance.key,
        "difficulty": session.difficulty,
        "sections": [[begin_s, word] for begin_s, word in performance.sections],
        "beats_s": np.round(performance.beats_s, 4).tolist(),
        "downbeats_s": np.round(performance.downbeats_s, 4).tolist(),
        "channels": channels,
    }
