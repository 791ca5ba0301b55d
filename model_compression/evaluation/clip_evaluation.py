"""Roles of recorded sources, alone and in songs, none of whose names says anything: by the box, and by a float student.

A clip is repeated or cut to what a mixer hears before it has to say something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

from . import box, plots
from .audio_evaluation import Heard
from .data_figures import role_interval
from .invariance import silent_rows
from .measures import classes
from .measures.framing import at_rate
from .model_child import in_order
from .real_audio import Clip
from .results import Results, Table, goal_figure
from .sessions import Session

if TYPE_CHECKING:
    from ..training.sessions import Session as TrainingSession

LEAST_S, MOST_S = 8.0, 16.0  # single hits are shorter, speeches longer than what is needed
ROLE_F1_GOAL = 0.70
BOX_RATES_HZ = (44100, 48000, 96000)
CLIPS, TRACKS, BOTH = "clips", "tracks of songs", "clips and tracks"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A clip as a session of one channel, or a song."""

    name: str
    stems: list[NDArray[np.float32]]
    roles: list[str]
    sample_rate_hz: int


def sounds_of(clips: Iterable[Clip]) -> list[Sound]:
    """Return the clips, each 8 to 16 s long."""
    found = []
    for clip in clips:
        audio, rate_hz = soundfile.read(clip.path, dtype="float32", always_2d=True)
        fitted = repeated(audio, rate_hz)[: int(MOST_S * rate_hz)]
        found.append(Sound(name=clip.path.name, stems=[fitted], roles=[clip.role], sample_rate_hz=rate_hz))
    return found


def songs_of(sessions: Iterable[Session]) -> list[Sound]:
    """Return the stems of songs."""
    return [Sound(name=s.name, stems=s.stems, roles=s.roles, sample_rate_hz=s.sample_rate_hz) for s in sessions]


def heard_by_box(
    sounds: Sequence[Sound],
    *,
    models: dict[str, str],
    keys: Sequence[Path] = (),
    command: Sequence[str] | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> list[Heard]:
    """Return what the box took each channel for; ``models`` are bundles, or ``none``, by label."""

    def one(task: tuple[Sound, str]) -> list[Heard]:
        sound, label = task
        names = [f"in {k}" for k in range(1, len(sound.stems) + 1)]
        with box.session_folder(sound.stems, names, sound.sample_rate_hz) as folder:
            rendered = box.render(folder, model=models[label], keys=keys, command=command, has_strips=False)
        return [
            Heard(truth=truth, guess=said["role"], confidence=float(said["role_confidence"]), label=label)
            for truth, said in zip(sound.roles, rendered.said["channels"], strict=True)
        ]

    tasks = [(sound, label) for sound in sounds for label in models]
    found: list[Heard] = []
    for (sound, label), heard in zip(tasks, in_order(one, tasks, jobs), strict=True):
        if len(heard) == 1:
            say(f"{sound.name}: {heard[0].truth}, heard by {label} as {heard[0].guess}")
        found += heard
    return found


def heard_by_student(run: Path, sounds: Sequence[Sound], label: str = "float student") -> list[Heard]:
    """Return what the float role network of a run makes of each channel at the end, without a box or a runtime."""
    from ..nets.evidence import log_softmax
    from ..training.asking import role_log_prob
    from ..training.students import load

    if not sounds:
        return []
    students = load(run)
    x = side_by_side([inputs_of(sound) for sound in sounds])  # the network hears each channel alone
    heard = SimpleNamespace(x=x, n_ticks=len(x), n_channels=x.shape[1])  # all that is asked of a session here
    kept = role_log_prob(students.role, cast("TrainingSession", heard))[-1].astype(np.float64)
    prob = np.exp(log_softmax(kept / students.temperature))
    return [
        Heard(truth=truth, guess=ROLES[int(row.argmax())], confidence=float(row.max()), label=label)
        for truth, row in zip([role for sound in sounds for role in sound.roles], prob, strict=True)
    ]


def side_by_side(parts: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    """Return inputs ``(n_ticks, n_channels, 104)`` as those of one session; who ends early is silent from then on."""
    n_ticks = max(len(part) for part in parts)
    fitted = [np.concatenate([part, silent_rows(n_ticks - len(part), part.shape[1], part.shape[2])]) for part in parts]
    return np.concatenate(fitted, axis=1)


def inputs_of(sound: Sound) -> NDArray[np.int8]:
    """Return the model inputs of a sound, as data sets hold them."""
    from dsp_kernels.offline_features import extract

    rate_hz = sound.sample_rate_hz
    stems = sound.stems
    if rate_hz not in BOX_RATES_HZ:
        stems, rate_hz = [at_rate(stem, rate_hz, BOX_RATES_HZ[1]).astype(np.float32) for stem in stems], BOX_RATES_HZ[1]
    x = extract(np.concatenate(stems, axis=1), rate_hz, [stem.shape[1] == 2 for stem in stems]).x
    return np.rint(127.0 * np.clip(x, -1.0, 1.0)).astype(np.int8)


def repeated(audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Return a clip played again and again for 8 s; a longer one as it is."""
    n = int(LEAST_S * rate_hz)
    return audio if len(audio) >= n else np.tile(audio, (-(-n // len(audio)), 1))[:n]


def report_all(clips: list[Heard], tracks: list[Heard], results: Results, folder: Path) -> None:
    """Report clips and tracks of songs, each alone and together, by who listened."""
    tracks = [replace(heard, label=heard.label.partition(",")[0]) for heard in tracks]
    together = [*clips, *tracks] if clips and tracks else []
    for what, heard in ((BOTH, together), (CLIPS, clips), (TRACKS, tracks)):
        report(heard, results, folder, what=what)


def report(heard: list[Heard], results: Results, folder: Path, *, what: str) -> None:
    """Add macro-F1, calibration, the table by class and the confusion matrix of each label."""
    for label in dict.fromkeys(h.label for h in heard):
        mine = [h for h in heard if h.label == label]
        truth, guess = (np.array([ROLES.index(getattr(h, field)) for h in mine]) for field in ("truth", "guess"))
        each = np.array([classes.confusion(t[None], g[None], len(ROLES)) for t, g in zip(truth, guess, strict=True)])
        counts = each.sum(axis=0)
        low, high = role_interval(each)
        confidence = np.array([h.confidence for h in mine])
        title = f"{what}: {label}"
        is_goal = what == BOTH
        results.figures += [
            goal_figure(f"roles macro-F1, {title}", classes.macro_f1(counts), "ratio", len(mine), low=low, high=high,
                        at_least=ROLE_F1_GOAL if is_goal else None, goal="G12" if is_goal else ""),
            goal_figure(f"roles accuracy, {title}", classes.accuracy(counts), "ratio", len(mine)),
            goal_figure(f"role confidence calibration error, {title}",
                        classes.calibration_error(confidence, truth == guess), "ratio", len(mine)),
        ]  # fmt: skip
        results.tables += [by_class(title, counts), confusion_table(title, counts)]
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


def confusion_table(title: str, counts: NDArray[np.integer]) -> Table:
    """Return the confusion matrix, rows truth, columns guess, without roles that occur in neither."""
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    words = [ROLES[k] for k in kept]
    rows = [(word, *(int(counts[k, j]) for j in kept)) for word, k in zip(words, kept, strict=True)]
    return Table(title=f"Confusion, {title}", columns=("truth \\ guess", *words), rows=rows)


def slug(title: str) -> str:
    """Return a title as part of a file name."""
    return "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")
