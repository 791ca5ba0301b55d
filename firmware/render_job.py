"""A render as it is asked for, and whether it can be done: no input overwritten, no file written twice, room for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import EvenhandError
from .inference.choice import DEFAULT_MODEL, NONE, SHIPPED_WORD
from .session_files import SUFFIXES
from .sessions import Session
from .wav_writer import size_bytes


@dataclass(frozen=True, kw_only=True)
class RenderJob:
    """What to render, how, and where to."""

    session: Path
    out: Path
    scene: Path | None = None
    automix: str | None = None
    model: str = DEFAULT_MODEL  # a bundle, "shipped" or "none"
    model_keys: tuple[Path, ...] = ()
    style: str = "natural"
    target_lufs: float = -16.0
    amount_percent: float = 100.0
    channels_out: Path | None = None
    decisions: Path | None = None
    report: Path | None = None


def channel_file_name(index: int, name: str) -> str:
    """Return the file name of a strip: its number, and of its name what every file system takes."""
    plain = "".join(c if c.isalnum() or c in " -_+" else "_" for c in name).strip()[:48]
    return f"{index + 1:02d} {plain or 'channel'}.wav"


def refuse_outputs(job: RenderJob, session: Session) -> None:
    """Refuse what would overwrite an input, write one file twice, join the session, or not fit the disk."""
    if job.out.name in ("", ".."):
        raise EvenhandError(f"{job.out}: is a folder; name the file of the mix, for example mix.wav")
    if job.out.suffix.lower() not in (".wav", ".rf64"):
        raise EvenhandError(f"{job.out}: the mix is a WAV file; call it {job.out.with_suffix('.wav').name}")
    files = [p for p in (job.out, job.decisions, job.report) if p]
    if job.channels_out:
        files += [job.channels_out / channel_file_name(i, s.name) for i, s in enumerate(session.strips)]
    inputs = [*session.inputs, *([job.scene] if job.scene else []), *job.model_keys]
    if job.model not in (NONE, SHIPPED_WORD):
        inputs.append(Path(job.model))
    seen: set[Path] = set()
    for path in files:
        if any(_is_same(path, given) for given in inputs):
            raise EvenhandError(f"{path}: is read by this job and would be overwritten; name another file")
        try:
            place = path.resolve()
        except (OSError, RuntimeError):  # RuntimeError: a loop of symbolic links
            raise EvenhandError(f"{path}: is a link that leads nowhere; name another file") from None
        if place in seen:
            raise EvenhandError(f"{path}: is named for two outputs; give each its own file")
        seen.add(place)
        is_audio = path.suffix.lower() in SUFFIXES
        if is_audio and session.takes_any_file and place.parent == session.place.resolve():
            raise EvenhandError(
                f"{path}: lies in the session folder and would be a channel next time; name another folder"
            )
    n_files = 1 + (len(session.strips) if job.channels_out else 0)
    needed_bytes = n_files * size_bytes(session.n_frames, 2)
    _refuse_small_disk(job.out, needed_bytes)


def _is_same(path: Path, given: Path) -> bool:
    try:
        return path.resolve() == given.resolve() or path.samefile(given)
    except (OSError, RuntimeError):
        return False


def _refuse_small_disk(out: Path, needed_bytes: int) -> None:
    try:
        free_bytes = shutil.disk_usage(out.resolve().parent).free
    except OSError:
        return  # a missing folder is told when the file is staged
    if needed_bytes > free_bytes:
        raise EvenhandError(
            f"{out}: needs {needed_bytes / 1e6:.0f} MB and the disk has {free_bytes / 1e6:.0f} MB free; "
            "free some space or name another disk"
        )
