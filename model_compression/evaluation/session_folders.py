"""Sessions as folders: stems as audio files beside a ``truth.json`` or the mix that somebody made of them.

The reference is a file called ``mix``, ``human`` or ``reference`` in the folder or in ``refs``; other files in ``refs``
are further mixes. ``truth.json`` holds ``channels``, one a stem, each with ``file`` and what is known of ``role``,
``offset_lu`` (relative to the lead; a number, a list over time, or either by style), ``pan`` or ``pan_abs``,
``tone_db``. Without a mix, the truth's own settings make the reference: static ones, levels as means over time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import STYLES

from ..errors import ModelError
from .baselines import levels
from .console import render
from .measures.framing import at_rate
from .sessions import Session, role_of

AUDIO = (".wav", ".flac", ".ogg", ".mp3")
TRUTH = "truth.json"
REFERENCES = ("mix", "human", "reference")


def sessions(folder: Path) -> Iterator[Session]:
    """Yield the folder itself if it is a session, else its sub-folders that are.

    Raises
    ------
    ModelError
        When there is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: is no folder; name a folder of sessions, or a manifest.json")
    places = (
        [folder]
        if _files(folder)
        else [place for place in sorted(folder.iterdir()) if place.is_dir() and _files(place)]
    )
    if not places:
        raise ModelError(f"{folder}: holds no audio files and no folders with some; put a folder a session in it")
    for place in places:
        yield _session(place)


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.suffix.lower() in AUDIO]


def _session(folder: Path) -> Session:
    files = _files(folder)
    inside = _files(folder / "refs") if (folder / "refs").is_dir() else []
    mixes = [file for file in files if file.stem in REFERENCES] + inside
    stems = [file for file in files if file.stem not in REFERENCES]
    known = _truth(folder / TRUTH)
    rows = {row["file"]: row for row in known if "file" in row}
    if known and set(rows) != {file.name for file in stems}:
        raise ModelError(f"{folder / TRUTH}: does not name the stems beside it, file by file")
    loaded = [_read(file) for file in stems]
    rate_hz = max(rate for _, rate in loaded)
    n_frames = max(round(len(audio) * rate_hz / rate) for audio, rate in loaded)
    audio = [_fitted(sound, rate, rate_hz, n_frames) for sound, rate in loaded]
    others = {file.stem: _fitted(*_read(file), rate_hz, n_frames) for file in mixes}
    reference_name = next((name for name in REFERENCES if name in others), "")
    told = [rows.get(file.name, {}) for file in stems]
    session = Session(
        name=folder.name, sample_rate_hz=rate_hz, stems=audio, names=[file.stem for file in stems],
        roles=[role_of(str(row.get("role", "other"))) for row in told],
        reference=others.pop(reference_name, None), reference_name=reference_name, others=others,
        truth=_settings(told),
    )  # fmt: skip
    return session if session.reference is not None or not session.truth else _with_own_reference(session)


def _settings(told: list[dict[str, Any]]) -> dict[str, Any]:
    if not told or not all("offset_lu" in row for row in told):
        return {}
    return {
        "offset_lu": [float(np.mean(_natural(row["offset_lu"]))) for row in told],
        "pan": _signed([float(_natural(row.get("pan_abs", abs(row.get("pan", 0.0))))) for row in told], told),
        "tone_db": [row.get("tone_db", [0.0] * 4) for row in told],
    }


def _natural(value: Any) -> Any:
    return value[STYLES[0]] if isinstance(value, dict) else value


def _signed(pans: list[float], told: list[dict[str, Any]]) -> list[float]:
    """Return positions: as told, or left and right in turn where only the distance from the middle is known."""
    found, side = [], -1.0
    for pan, row in zip(pans, told, strict=True):
        if "pan" in row:
            found.append(float(row["pan"]))
            continue
        found.append(side * pan)
        side = -side if pan else side
    return found


def _with_own_reference(session: Session) -> Session:
    made = render(session.stems, levels.oracle(session), session.sample_rate_hz)
    return Session(
        name=session.name, sample_rate_hz=session.sample_rate_hz, stems=session.stems, names=session.names,
        roles=session.roles, reference=made.mix, reference_name="the truth's settings", reference_strips=made.strips,
        others=session.others, truth=session.truth,
    )  # fmt: skip


def _truth(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        channels = json.loads(path.read_text(encoding="utf-8"))["channels"]
        if not all(isinstance(row, dict) for row in channels):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: is no JSON object with a list of channels") from None
    return list(channels)


def _fitted(audio: NDArray[np.float32], from_hz: int, rate_hz: int, n_frames: int) -> NDArray[np.float32]:
    resampled = at_rate(audio, from_hz, rate_hz).astype(np.float32)[:n_frames]
    return np.pad(resampled, ((0, n_frames - len(resampled)), (0, 0)))


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    try:
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ModelError(f"{path}: cannot be read as audio ({error}); take it out of the session") from None
    return audio, int(rate_hz)
