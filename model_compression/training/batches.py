"""Batches: a pure function of sessions, recipe and step number, so that a stopped training goes on as if it had not."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import SCENE_KINDS

from ..nets import mix, song
from ..nets.evidence import SongEvidence, role_sum
from ..nets.layout import N_PATCH_COLUMNS, N_PATCH_TICKS, N_ROLES, N_SONG_INPUT
from . import augment, curriculum, told
from .context import Context
from .deal import Deal
from .recipe import Recipe, Stage
from .sessions import INPUT_SCALE, Session, Sessions
from .targets import TICKS_A_SECOND, mix_targets, song_targets

Batch = dict[str, NDArray[Any]]
Batches = Callable[[int], Batch]

CLIP = -1  # in place of a channel
BUCKETS = (2, 4, 8, 16, 32, 48)
ROLE_BALANCE = 0.5  # 0 draws roles as often as they occur, 1 all alike
CLIP_SHARE = 0.5  # of the patches of a role that has both clips and channels of sessions
ACCOMPANIED_SHARE = 0.25  # of the patches that hear another one
SOUNDING_SHARE = 0.85  # of the patches that end while the channel itself sounds
TEMPO_RANGE = (0.85, 1.18)
UNPLUGGED_SESSIONS, UNPLUGGED_ROLES = 0.6, 0.4  # of windows, and in them of the roles that may go
LEAD = 255  # importance of who leads
MUSIC = SCENE_KINDS.index("music")


def seeded(seed: int, *words: object) -> np.random.Generator:
    """Return a generator for one purpose."""
    return np.random.default_rng([seed, *(zlib.crc32(str(word).encode()) for word in words)])


def role_batches(
    sessions: Sessions, recipe: Recipe, stage: Stage, *, is_training: bool = True, without: int | None = None
) -> Batches:
    """``patch (n, 64, 72)``, ``role``, ``weight`` (how far the patch holds the role's sound), ``activity``.

    ``without``: the part of the ``deal`` that is left out.
    """
    deal = Deal(sessions.heads, sessions.clips)
    clips: dict[int, list[tuple[int, int]]] = {}
    channels: dict[int, list[tuple[int, int]]] = {}
    for number, clip in enumerate(sessions.clips):
        if clip.active.any() and deal.of_clip(clip) != without:
            clips.setdefault(clip.role, []).append((number, CLIP))
    for number, head in enumerate(sessions.heads):
        for ch, (role, part) in enumerate(zip(head.role, deal.of_channels(head), strict=True)):
            if head.active[:, ch].any() and part != without:
                channels.setdefault(int(role), []).append((number, ch))
    roles = np.array(sorted(clips.keys() | channels.keys()))
    places = {r: [kind[r] for kind in (clips, channels) if r in kind] for r in roles.tolist()}
    counts = np.array([sum(map(len, places[r])) for r in roles.tolist()], float)
    prob = counts ** (1.0 - ROLE_BALANCE)
    prob /= prob.sum()

    def place(role: int, rng: np.random.Generator) -> tuple[int, int]:
        kinds = places[role]
        kind = kinds[-1 if rng.random() >= CLIP_SHARE else 0]
        return kind[int(rng.integers(len(kind)))]

    def batch(step: int) -> Batch:
        rng = seeded(recipe.seed, "role", is_training, step)
        patches = np.zeros((stage.batch, N_PATCH_TICKS, N_PATCH_COLUMNS), np.float32)
        role, weight, activity = np.zeros(stage.batch, np.int32), *np.zeros((2, stage.batch), np.float32)
        for i, r in enumerate(rng.choice(roles, stage.batch, p=prob)):
            number, ch = place(int(r), rng)
            clip = sessions.clips[number] if ch == CLIP else None
            active = clip.active if clip else sessions.heads[number].active[:, ch]
            end = int(
                rng.choice(np.flatnonzero(active)) if rng.random() < SOUNDING_SHARE else rng.integers(len(active))
            )
            ticks = augment.stretched_ticks(end, rng) if is_training else patch_ticks(end)
            x = clip.x if clip else sessions[number].x[:, ch]
            patches[i] = x[ticks, :N_PATCH_COLUMNS] * INPUT_SCALE
            role[i], activity[i] = r, active[end]
            weight[i] = np.clip(4.0 * active[ticks].mean(), 0.0, 1.0)
        if is_training:
            accompanied = np.flatnonzero(rng.random(stage.batch) < ACCOMPANIED_SHARE)
            patches[accompanied] = augment.accompanied(patches[accompanied], patches[accompanied - 1], rng)
            patches = _some(patches, augment.shifted, rng)
            patches = _some(patches, augment.coloured, rng)
            patches = _some(patches, augment.noisy, rng)
            patches = _some(patches, augment.masked, rng)
        return {"patch": patches, "role": role, "weight": weight, "activity": activity}

    return batch


def patch_ticks(end: int) -> NDArray[np.int64]:
    """Ticks of a patch that ends at ``end``; before the first tick it repeats it."""
    return np.maximum(np.arange(end - N_PATCH_TICKS + 1, end + 1), 0)


def song_batches(
    sessions: Sessions, context: Context | None, recipe: Recipe, stage: Stage, *, is_training: bool = True
) -> Batches:
    """``m``, ``role_sum`` (the truth where ``context`` is None: for the teacher), targets, perhaps ``teacher``."""

    def batch(step: int) -> Batch:
        rng = seeded(recipe.seed, "song", is_training, step)
        rows = []
        for number in rng.integers(len(sessions), size=stage.batch):
            session = sessions[int(number)]
            facts = context.of(int(number)) if context else {"role_sum": true_role_sum(session)}
            if is_training and rng.random() < told.NAMED_SESSIONS:
                facts = {**facts, "role_sum": true_role_sum(session)}
            factor = rng.uniform(*TEMPO_RANGE) if is_training and rng.random() < 0.5 else 1.0
            span = int(stage.n_ticks * factor) + 2
            first = int(rng.integers(max(1, session.n_ticks - span + 1)))
            at = np.minimum(first + factor * np.arange(stage.n_ticks), session.n_ticks - 1)
            ticks = np.rint(at).astype(np.int64)
            row: Batch = {
                "m": session.m[ticks] * np.float32(INPUT_SCALE),
                "role_sum": facts["role_sum"][ticks].astype(np.float32),
            }
            row |= {name: _sampled(values, at, name) for name, values in song_targets(session).items()}
            row["warm"] = ((np.arange(stage.n_ticks) >= song.N_WARM_TICKS) | (first == 0)).astype(np.float32)
            if "song_teacher" in facts:
                row["teacher"] = facts["song_teacher"][ticks].astype(np.float32)
            rows.append(augment.transposed(row, int(rng.integers(12))) if is_training else row)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    return batch


def mix_batches(
    sessions: Sessions,
    context: Context,
    recipe: Recipe,
    stage: Stage,
    *,
    is_training: bool = True,
    is_named: bool = False,
) -> Batches:
    """Return the mix inputs, ``warm``, ``group_weights``, targets of ``mix_targets``, ``teacher``.

    ``is_named``: every channel has its name; in training some have.
    """
    choose = _choosing(sessions, recipe, stage, is_training)

    def batch(step: int) -> Batch:
        rng, numbers, width = choose("mix", step)
        rows = []
        for number in numbers:
            session, facts = sessions[int(number)], context.of(int(number))
            first = int(rng.integers(max(1, session.n_ticks - stage.n_ticks + 1)))
            ticks = np.minimum(np.arange(first, first + stage.n_ticks), session.n_ticks - 1)
            x = session.x[ticks] * np.float32(INPUT_SCALE)
            if is_training and rng.random() < 0.5:
                x = augment.louder(x, rng)
            row: Batch = {"x": x, "role_prob": context.role_prob(int(number), ticks), "song": facts["song"][ticks]}
            if is_training and rng.random() < 0.1:  # a box that has only just been switched on knows neither
                row["role_prob"] = np.full_like(row["role_prob"], 1.0 / N_ROLES)
                row["song"] = np.tile(_unknown_song(), (stage.n_ticks, 1))
            has_names = np.full(session.n_channels, is_named)
            if is_training and rng.random() < told.NAMED_SESSIONS:
                has_names = rng.random(session.n_channels) < told.NAMED_CHANNELS
            row["role_prob"] = told.named(row["role_prob"], session.role, has_names)
            row |= mix_targets(session, ticks, np.arange(session.n_channels))
            if "mix_teacher" in facts:
                row["teacher"] = context.mix_teacher(int(number), ticks)
            if is_training and rng.random() < UNPLUGGED_SESSIONS:
                row = _without(row, spare(session, ticks, rng))
            if is_training:
                row["x"] = _as_of_others(row["x"], rng)
            row["warm"] = (np.arange(stage.n_ticks) >= mix.N_WARM_TICKS).astype(np.float32)
            rows.append(_padded(row, row["x"].shape[1], width))
        out = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        out["group_weights"] = curriculum.group_weights(step / stage.steps if is_training else 1.0)
        return out

    return batch


def mix_teacher_batches(
    sessions: Sessions, context: Context, recipe: Recipe, stage: Stage, *, is_training: bool = True
) -> Batches:
    """Like ``mix_batches``, at the teacher's steps: ``x (n, S, C, 208)``, ``m (n, S, 56)``, ``mask``, targets."""
    choose = _choosing(sessions, recipe, stage, is_training)
    stride = int(stage.size["stride_ticks"])

    def batch(step: int) -> Batch:
        rng, numbers, width = choose("mix.teacher", step)
        rows = []
        for number in numbers:
            session = sessions[int(number)]
            n_steps = session.n_ticks // stride
            first = int(rng.integers(max(1, n_steps - stage.n_ticks + 1)))
            steps = np.minimum(np.arange(first, first + stage.n_ticks), n_steps - 1)
            x, m = pooled(session, stride)
            row: Batch = {"x": x[steps], "m": m[steps]}
            row |= mix_targets(session, steps * stride + stride // 2, np.arange(session.n_channels))
            row["warm"] = np.ones(stage.n_ticks, np.float32)
            rows.append(_padded(row, session.n_channels, width))
        out = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        out["group_weights"] = curriculum.group_weights(step / stage.steps if is_training else 1.0)
        return out

    return batch


def pooled(session: Session, stride: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of the model inputs, mean of the mix inputs, over each ``stride`` ticks."""
    n_steps = session.n_ticks // stride
    x = session.x[: n_steps * stride].reshape(n_steps, stride, session.n_channels, -1) * np.float32(INPUT_SCALE)
    m = session.m[: n_steps * stride].reshape(n_steps, stride, -1) * np.float32(INPUT_SCALE)
    return np.concatenate([x.mean(axis=1), x.std(axis=1)], axis=-1), m.mean(axis=1)


def bucket(n_channels: int) -> int:
    """Return the narrowest width that holds so many channels."""
    return next((width for width in BUCKETS if width >= n_channels), n_channels)


def _choosing(sessions: Sessions, recipe: Recipe, stage: Stage, is_training: bool) -> Callable[..., Any]:
    """Sessions of about one size for a batch: one is drawn, the others fit its bucket."""
    difficulty = np.array([head.difficulty for head in sessions.heads])
    n_channels = np.array([head.n_channels for head in sessions.heads])

    def choose(purpose: str, step: int) -> tuple[np.random.Generator, NDArray[np.int64], int]:
        rng = seeded(recipe.seed, purpose, is_training, step)
        progress = step / stage.steps if is_training else 1.0
        fit = curriculum.allowed(difficulty, n_channels, progress, recipe.max_channels)
        widths = np.array([bucket(int(n)) for n in n_channels[fit]])
        width = int(widths[rng.integers(len(fit))])
        return rng, rng.choice(fit[widths == width], stage.batch), width

    return choose


def spare(session: Session, ticks: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return channels that may be unplugged without changing what is true of the others; at least two stay.

    Whole roles, since those of a role share its place and its loudness, and none of which anybody leads in the seconds
    that the targets look at. Where somebody talks, the loudest of the others decides for all: nobody goes.
    """
    gone = np.zeros(session.n_channels, bool)
    if int(session.scene_kind) != MUSIC:
        return gone
    around = slice(ticks[0] // TICKS_A_SECOND * TICKS_A_SECOND, (ticks[-1] // TICKS_A_SECOND + 1) * TICKS_A_SECOND)
    leads = (session.importance[around] == LEAD).any(axis=0)
    for role in np.unique(session.role):
        those = session.role == role
        if not leads[those].any() and rng.random() < UNPLUGGED_ROLES and (~(gone | those)).sum() >= 2:
            gone |= those
    return gone


def _without(row: Batch, gone: NDArray[np.bool_]) -> Batch:
    kept = {name: values if name == "song" else values[:, ~gone] for name, values in row.items()}
    return kept | {"x": augment.without(row["x"], gone)}


def _as_of_others(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return inputs ``(n_ticks, n_channels, 104)``, spectra of some channels moved, noisier or without some bands."""
    channels = np.ascontiguousarray(x.transpose(1, 0, 2))
    for change in (augment.shifted, augment.noisy, augment.without_bands):
        channels = _some(channels, change, rng)
    return channels.transpose(1, 0, 2)


def _padded(row: Batch, n_channels: int, width: int) -> Batch:
    """Channels up to ``width``, the added ones all zero, and ``mask``."""
    out: Batch = {}
    for name, values in row.items():
        if name in ("m", "song", "warm"):
            out[name] = values
            continue
        padding = [(0, 0)] * values.ndim
        padding[1] = (0, width - n_channels)
        out[name] = np.pad(values, padding)
    out["mask"] = (np.arange(width) < n_channels).astype(np.float32)
    return out


def _some(patches: NDArray[np.float32], change: Callable[..., NDArray[np.float32]], rng: np.random.Generator) -> Any:
    """Change about half of the patches."""
    chosen = np.flatnonzero(rng.random(len(patches)) < 0.5)
    if len(chosen):
        patches[chosen] = change(patches[chosen], rng)
    return patches


def _sampled(values: NDArray[Any], at: NDArray[np.float64], name: str) -> NDArray[Any]:
    """Labels at fractional ticks; a beat may not fall between two of them."""
    low = np.floor(at).astype(np.int64)
    if values.dtype.kind == "i":
        return values[low]
    high = np.minimum(low + 1, len(values) - 1)
    return np.maximum(values[low], values[high] * (at > low)) if name != "boundary" else values[low]


def _unknown_song() -> NDArray[np.float32]:
    unknown = SongEvidence().beliefs
    song_input = np.zeros(N_SONG_INPUT, np.float32)
    known = np.concatenate([unknown["genre"], unknown["section"], unknown["scene"]])
    song_input[: len(known)] = known
    return song_input


def true_role_sum(session: Session) -> NDArray[np.float32]:
    """Return what ``role_sum`` would be of a box that knows every role, ``(n_ticks, 21)``."""
    one_hot = np.eye(N_ROLES)[session.role]
    return role_sum(one_hot, session.x * np.float32(INPUT_SCALE)).astype(np.float32)
