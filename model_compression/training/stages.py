"""The stages of a run in their order: teachers on labels, then each student on labels and its teacher's words.

The role student comes first, since its evidence is an input of the song and mix students; where the recipe has a
``role.stranger`` they learn from what is said of strangers instead (``strangers``). The song student is next. Mix and
song teachers see whole sessions, so their words are computed once and kept; a role teacher, where the recipe has one,
judges each augmented patch as it comes, which costs the same on two cores and copies what it would say of the very same
sound.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..errors import ModelError
from ..nets.mix import MixNet
from ..nets.role import RoleNet, RoleSize
from ..nets.song import SongNet, SongSize
from ..nets.teachers import MixTeacher, MixTeacherSize
from . import asking, students
from .batches import Batches, mix_batches, mix_teacher_batches, role_batches, seeded, song_batches
from .calibrate import context_share, mix_answers, role_temperature, sigma_scale, write_calibration
from .context import Context
from .deal import N_PARTS, Deal
from .files import read_arrays
from .fit import fit, settle
from .losses import MIX_TASKS, ROLE_TASKS, SONG_TASKS, Losses, mix_losses, role_losses, song_losses
from .recipe import Stage
from .run import Run
from .scores import mix_scores, role_scores, song_scores
from .sessions import Head, Session
from .strangers import outputs_on_strangers
from .students import Students
from .weights import set_weights


def train_teachers(run: Run) -> None:
    """Train the teachers on labels, and keep the words of those that see whole sessions."""
    settle(run.recipe.threads)
    stages, train, valid = run.recipe.stages, run.sessions("train"), run.sessions("valid")
    role, song, mix = _teachers(run)
    if role is not None:
        _fit_role(run, "role.teacher", role, None)
    stage = stages["song.teacher"]
    valid_batches = song_batches(valid, None, run.recipe, stage, is_training=False)
    fit(
        "song teacher",
        song,
        lambda batch: song_losses(song(batch["m"], batch["role_sum"], training=True), batch, 0.0),
        song_batches(train, None, run.recipe, stage),
        stage,
        run.folder / "song.teacher",
        tasks=SONG_TASKS,
        check=lambda: song_scores(song, valid_batches),
        is_quiet=run.is_quiet,
    )
    stage, nobody = stages["mix.teacher"], Context(run.context("train"), (), temperature=1.0)
    mix_valid = mix_teacher_batches(valid, nobody, run.recipe, stage, is_training=False)
    fit(
        "mix teacher",
        mix,
        lambda batch: mix_losses(_judged(mix, batch), batch, 0.0),
        mix_teacher_batches(train, nobody, run.recipe, stage),
        stage,
        run.folder / "mix.teacher",
        tasks=MIX_TASKS,
        check=lambda: mix_scores(*mix_answers(partial(_judged, mix), mix_valid)),
        is_quiet=run.is_quiet,
    )
    folder = run.context("train")
    asking.ask_each(train, folder, "song_teacher", lambda _, session: asking.song_teacher_words(song, session))
    asking.ask_each(train, folder, "mix_teacher", lambda _, session: asking.mix_teacher_words(mix, session))


def distil_students(run: Run, *, patch_teacher: Callable[[Any], Any] | None = None) -> Students:
    """Train the three students; leave ``student_weights.npz`` and ``calibration.toml``.

    Parameters
    ----------
    patch_teacher
        What to copy in place of the run's role teacher: from patches ``(n, 64, 72)`` to logits ``(n, 22)``.
    """
    settle(run.recipe.threads)
    stages = run.recipe.stages
    teacher = None if patch_teacher else _teachers(run)[0]
    if teacher is not None:
        path = run.folder / "role.teacher" / "weights.npz"
        set_weights(teacher, read_arrays(path), source=str(path))
        patch_teacher = teacher
    role, song, mix = (
        students.build(net, stages[f"{net}.student"].size, seeded(run.recipe.seed, net, "student"))
        for net in ("role", "song", "mix")
    )
    _fit_role(run, "role.student", role, patch_teacher)
    _stranger_words(run)
    temperature = _role_words(run, role)
    contexts = _contexts(run, ("role_sum", "song_teacher"), ("role_sum",), temperature)
    song_stage = stages["song.student"]
    song_train, song_valid = _both(song_batches, run, contexts, song_stage)
    fit(
        "song student",
        song,
        lambda batch: song_losses(song(batch["m"], batch["role_sum"], training=True), batch, song_stage.teacher_weight),
        song_train,
        song_stage,
        run.folder / "song.student",
        tasks=SONG_TASKS,
        check=lambda: song_scores(song, song_valid),
        is_quiet=run.is_quiet,
    )
    _song_words(run, song, contexts)
    contexts = _contexts(run, ("role_log_prob", "song", "mix_teacher"), ("role_log_prob", "song"), temperature)
    mix_stage = stages["mix.student"]
    mix_train = mix_batches(run.sessions("train"), contexts["train"], run.recipe, mix_stage)
    _fit_mix(run, mix, mix_train, contexts["valid"], "mix.student")
    scale = sigma_scale(*mix_answers(partial(_mixed, mix), _mix_valid(run, contexts["valid"], mix_stage)))
    trained = Students(
        role=role,
        song=song,
        mix=mix,
        temperature=temperature,
        context_share=context_share(mix, run.sessions("valid"), contexts["valid"]),
        sigma_scale=scale,
        recipe_text=run.recipe.text,
    )
    _keep(run, trained)
    return trained


def tune_mix(run: Run, start: Students) -> Students:
    """Adapt the mix student to other data; role and song stay.

    Each kernel gets a residual adapter of rank 4, merged when done, and nothing else moves: 1 in 8 of the numbers
    can change,
    so that an evening's sessions do not wipe out what thousands taught, and the network that ships keeps its shape.
    """
    settle(run.recipe.threads)
    temperature = start.temperature
    _words(run, "role_log_prob", lambda _n, s: {"role_log_prob": asking.role_log_prob(start.role, s)})
    contexts = {
        split: Context(run.context(split), ("role_log_prob",), temperature=temperature) for split in ("train", "valid")
    }
    _role_sums(run, contexts)
    contexts = _contexts(run, ("role_sum",), ("role_sum",), temperature)
    _song_words(run, start.song, contexts)
    contexts = _contexts(run, ("role_log_prob", "song"), ("role_log_prob", "song"), temperature)
    train = mix_batches(run.sessions("train"), contexts["train"], run.recipe, run.recipe.tune)
    rng = seeded(run.recipe.seed, "tune")
    adapters = [v for unit in start.mix.units() for v in unit.add_adapters(rng)]
    _fit_mix(run, start.mix, train, contexts["valid"], "mix.tune", variables=adapters)
    for unit in start.mix.units():
        unit.merge_adapters()
    scale = sigma_scale(*mix_answers(partial(_mixed, start.mix), _mix_valid(run, contexts["valid"], run.recipe.tune)))
    tuned = Students(
        role=start.role,
        song=start.song,
        mix=start.mix,
        temperature=temperature,
        context_share=start.context_share,
        sigma_scale=scale,
        recipe_text=start.recipe_text,
    )
    _keep(run, tuned)
    return tuned


def _teachers(run: Run) -> tuple[RoleNet | None, SongNet, MixTeacher]:
    sizes, seed = run.recipe.stages, run.recipe.seed
    role = sizes.get("role.teacher")
    try:
        return (
            RoleNet(RoleSize(**role.size), seeded(seed, "role", "teacher")) if role else None,
            SongNet(SongSize(**sizes["song.teacher"].size), seeded(seed, "song", "teacher")),
            MixTeacher(MixTeacherSize(**sizes["mix.teacher"].size), seeded(seed, "mix", "teacher")),
        )
    except TypeError as error:
        raise ModelError(f"recipe, size of a teacher: {error}") from None


def _fit_role(
    run: Run,
    name: str,
    net: RoleNet,
    teacher: Callable[[Any], Any] | None,
    *,
    stage: Stage | None = None,
    without: int | None = None,
) -> None:
    stage = stage or run.recipe.stages[name]
    valid = role_batches(run.sessions("valid"), run.recipe, stage, is_training=False)

    def losses(batch: dict[str, Any]) -> Losses:
        said = teacher(batch["patch"]) if teacher else None
        return role_losses(net(batch["patch"], training=True), batch, said, stage.teacher_weight)

    fit(
        name.replace(".", " "),
        net,
        losses,
        role_batches(run.sessions("train"), run.recipe, stage, without=without),
        stage,
        run.folder / name,
        tasks=ROLE_TASKS,
        check=lambda: role_scores(net, valid),
        is_quiet=run.is_quiet,
    )


def _judged(mix: MixTeacher, batch: dict[str, Any]) -> Any:
    return mix(batch["x"], batch["m"], batch["role"][:, 0], batch["mask"])


def _mixed(mix: MixNet, batch: dict[str, Any], *, training: bool = False) -> Any:
    return mix(batch["x"], batch["role_prob"], batch["song"], batch["mask"], training=training)


def _mix_valid(run: Run, context: Context, stage: Stage, *, is_named: bool = False) -> Batches:
    return mix_batches(run.sessions("valid"), context, run.recipe, stage, is_training=False, is_named=is_named)


def _fit_mix(
    run: Run, mix: MixNet, train: Batches, context: Context, name: str, variables: list[Any] | None = None
) -> None:
    stage = run.recipe.tune if variables else run.recipe.stages[name]
    unnamed, named = (_mix_valid(run, context, stage, is_named=is_named) for is_named in (False, True))

    def losses(batch: dict[str, Any]) -> Losses:
        return mix_losses(_mixed(mix, batch, training=True), batch, stage.teacher_weight)

    def check() -> dict[str, float]:
        with_names = mix_scores(*mix_answers(partial(_mixed, mix), named))
        return mix_scores(*mix_answers(partial(_mixed, mix), unnamed)) | {
            f"{key}_named": value for key, value in with_names.items()
        }

    fit(
        name.replace(".", " "),
        mix,
        losses,
        train,
        stage,
        run.folder / name,
        tasks=MIX_TASKS,
        variables=variables,
        check=check,
        is_quiet=run.is_quiet,
    )


def _stranger_words(run: Run) -> None:
    """Keep what networks that never met them say of all channels, if the recipe has such; nobody else is asked then."""
    stage = run.recipe.stages.get("role.stranger")
    if stage is None:
        return
    nets = []
    for part in range(N_PARTS):
        name = f"role.stranger_{part}"
        nets.append(students.build("role", stage.size, seeded(run.recipe.seed, name)))
        _fit_role(run, name, nets[-1], None, stage=stage, without=part)
    train = run.sessions("train")
    deal = Deal(train.heads, train.clips)
    for split in ("train", "valid"):
        heads = run.sessions(split).heads

        def ask(number: int, session: Session, heads: list[Head] = heads) -> dict[str, Any]:
            outputs = outputs_on_strangers(nets, session, deal.of_channels(heads[number]))
            return {"role_log_prob": asking.evidence_of(outputs, session)}

        asking.ask_each(run.sessions(split), run.context(split), "role_log_prob", ask)


def _role_words(run: Run, role: RoleNet) -> float:
    _words(run, "role_log_prob", lambda _n, session: {"role_log_prob": asking.role_log_prob(role, session)})
    context = Context(run.context("valid"), ("role_log_prob",), temperature=1.0)
    temperature = role_temperature(run.sessions("valid"), context)
    contexts = {
        split: Context(run.context(split), ("role_log_prob",), temperature=temperature) for split in ("train", "valid")
    }
    _role_sums(run, contexts)
    return temperature


def _role_sums(run: Run, contexts: dict[str, Context]) -> None:
    for split, context in contexts.items():
        asking.ask_each(
            run.sessions(split),
            run.context(split),
            "role_sum",
            lambda number, session, context=context: {"role_sum": asking.role_sums(context, number, session)},  # type: ignore[misc]
        )


def _song_words(run: Run, song: SongNet, contexts: dict[str, Context]) -> None:
    for split, context in contexts.items():
        asking.ask_each(
            run.sessions(split),
            run.context(split),
            "song",
            lambda number, session, context=context: asking.song_words(song, session, context.of(number)["role_sum"]),  # type: ignore[misc]
        )


def _words(run: Run, name: str, ask: Callable[[int, Any], dict[str, Any]]) -> None:
    for split in ("train", "valid"):
        asking.ask_each(run.sessions(split), run.context(split), name, ask)


def _contexts(run: Run, train: tuple[str, ...], valid: tuple[str, ...], temperature: float) -> dict[str, Context]:
    return {
        "train": Context(run.context("train"), train, temperature=temperature),
        "valid": Context(run.context("valid"), valid, temperature=temperature),
    }


def _both(make: Callable[..., Batches], run: Run, contexts: dict[str, Context], stage: Any) -> tuple[Batches, Batches]:
    return (
        make(run.sessions("train"), contexts["train"], run.recipe, stage),
        make(run.sessions("valid"), contexts["valid"], run.recipe, stage, is_training=False),
    )


def _keep(run: Run, trained: Students) -> None:
    students.save(trained, run.folder / students.FILE)
    scale = np.asarray(trained.sigma_scale)
    write_calibration(run.folder / "calibration.toml", trained.temperature, trained.context_share, scale)
