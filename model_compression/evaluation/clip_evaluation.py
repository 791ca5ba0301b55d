"""Roles of recorded clips, each heard by the box as a session of its own whose channel name says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

from . import box, plots
from .audio_evaluation import Heard
from .measures import classes
from .real_audio import Clip
from .results import Results, Table, goal_figure

LOOP_S = 8.0  # single hits are shorter than what a mixer listens to before it says anything
NAME = "in 1"
REPEATED = "repeated to 8 s"
ROLE_F1_GOAL = 0.70


def hear(
    clips: Iterable[Clip], *, models: dict[str, str], keys: Sequence[Path] = (), command: Sequence[str] | None,
    say: Callable[[str], None],
) -> list[Heard]:  # fmt: skip
    """Return what the box took each clip for, as it is and repeated to 8 s; ``models`` are bundles by label."""
    found = []
    for clip in clips:
        audio, rate_hz = soundfile.read(clip.path, dtype="float32", always_2d=True)
        ways = {"as they are": audio, REPEATED: repeated(audio, rate_hz)}
        for way, stem in ways.items():
            for word, model in models.items():
                with box.session_folder([stem], [NAME], rate_hz) as folder:
                    rendered = box.render(folder, model=model, keys=keys, command=command, has_strips=False)
                said = rendered.said["channels"][0]
                found.append(
                    Heard(
                        truth=clip.role,
                        guess=said["role"],
                        confidence=float(said["role_confidence"]),
                        label=f"{word}, {way}",
                    )
                )
        say(f"{clip.path.name}: {clip.role}, heard as {', '.join(h.guess for h in found[-len(ways) * len(models) :])}")
    return found


def repeated(audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Return a clip played again and again for 8 s; a longer one as it is."""
    n = int(LOOP_S * rate_hz)
    return audio if len(audio) >= n else np.tile(audio, (-(-n // len(audio)), 1))[:n]


def together(tracks: Iterable[Heard], clips: Iterable[Heard]) -> list[Heard]:
    """Return tracks of songs without names and clips repeated to 8 s as one set, by who listened."""
    chosen = [*tracks, *(heard for heard in clips if heard.label.endswith(REPEATED))]
    return [replace(heard, label=heard.label.partition(",")[0]) for heard in chosen]


def report(heard: list[Heard], results: Results, folder: Path, *, what: str) -> None:
    """Add macro-F1, calibration, the table by class and the confusion matrix of each label."""
    for label in dict.fromkeys(h.label for h in heard):
        mine = [h for h in heard if h.label == label]
        truth, guess = (np.array([ROLES.index(getattr(h, field)) for h in mine]) for field in ("truth", "guess"))
        counts = classes.confusion(truth, guess, len(ROLES))
        confidence = np.array([h.confidence for h in mine])
        title = f"{what}: {label}"
        results.figures += [
            goal_figure(f"roles macro-F1, {title}", classes.macro_f1(counts), "ratio", len(mine),
                        at_least=ROLE_F1_GOAL, goal="G12"),
            goal_figure(f"roles accuracy, {title}", classes.accuracy(counts), "ratio", len(mine)),
            goal_figure(f"role confidence calibration error, {title}",
                        classes.calibration_error(confidence, truth == guess), "ratio", len(mine)),
        ]  # fmt: skip
        results.tables.append(by_class(title, counts))
        results.plots.append(plots.confusion_matrix(folder / f"confusion_{slug(title)}.png", counts, ROLES, title))


def by_class(title: str, counts: NDArray[np.integer]) -> Table:
    """Return F1 and the commonest mistakes of each class that the truth holds."""
    rows = []
    for k, f1 in enumerate(classes.f1_by_class(counts)):
        if not np.isfinite(f1):
            continue
        wrong = [(int(n), ROLES[j]) for j, n in enumerate(counts[k]) if j != k and n]
        said = ", ".join(f"{role} {n}" for n, role in sorted(wrong, reverse=True))
        rows.append((ROLES[k], int(counts[k].sum()), int(counts[k, k]), float(f1), said))
    return Table(title=f"Roles, {title}", columns=("role", "n", "right", "F1", "taken for"), rows=rows)


def slug(title: str) -> str:
    """Return a title as part of a file name."""
    return "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")
