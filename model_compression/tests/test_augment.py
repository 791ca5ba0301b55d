"""Augmentation and targets: exact where they claim to be, bounded everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from model_compression.nets.layout import (
    CHROMA,
    COUNT,
    HEARD,
    LOUDNESS_RANK,
    LOUDNESS_VS_MEAN,
    MEL_NOW,
    MEL_SLOW,
    N_MIX_INPUT,
    N_MODEL_INPUT,
    SLOW_LOUDNESS,
    SONG_HEADS,
)
from model_compression.training import augment, curriculum
from model_compression.training.targets import _widened

RNG_SEED = 4


def scene_at(levels_lufs: np.ndarray) -> np.ndarray:
    """Two ticks of channels whose loudness columns follow from their levels as the front end computes them."""
    x = np.zeros((2, len(levels_lufs), N_MODEL_INPUT), np.float32)
    x[..., HEARD] = 0.5
    x[..., SLOW_LOUDNESS] = (levels_lufs + 30.0) / 40.0
    x[..., LOUDNESS_VS_MEAN] = (levels_lufs - levels_lufs.mean()) / 30.0
    x[..., LOUDNESS_RANK] = 2.0 * np.argsort(np.argsort(levels_lufs)) / (len(levels_lufs) - 1) - 1.0
    return x


def test_louder_gives_what_the_front_end_would_have_said() -> None:
    levels = np.array([-40.0, -25.0, -31.0, -18.0])
    shift = np.random.default_rng(RNG_SEED).uniform(-augment.MAX_LEVEL_DB, augment.MAX_LEVEL_DB, 4)
    changed = augment.louder(scene_at(levels), np.random.default_rng(RNG_SEED))
    np.testing.assert_allclose(changed, scene_at(levels + shift), atol=1e-6)


def test_what_is_unplugged_is_missing_in_count_mean_and_rank() -> None:
    levels, gone = np.array([-40.0, -25.0, -31.0, -18.0]), np.array([False, True, False, False])
    changed = augment.without(scene_at(levels), gone)
    expected = scene_at(levels[~gone])
    expected[..., COUNT] = np.log2(3) / 5.0
    np.testing.assert_allclose(changed, expected, atol=1e-6)


def test_louder_leaves_channels_alone_that_were_never_heard() -> None:
    x = scene_at(np.array([-40.0, -25.0]))
    x[:, 1] = -1.0
    changed = augment.louder(x, np.random.default_rng(RNG_SEED))
    np.testing.assert_array_equal(changed[:, 1], x[:, 1])


@pytest.mark.parametrize(
    "change", [augment.coloured, augment.shifted, augment.noisy, augment.masked, augment.without_bands]
)
def test_patches_stay_in_range_and_only_their_spectra_change(change: object) -> None:
    patches = np.random.default_rng(RNG_SEED).uniform(-0.9, 0.9, (8, 64, 72)).astype(np.float32)
    changed = change(patches, np.random.default_rng(RNG_SEED))  # type: ignore[operator]
    assert np.abs(changed).max() <= 1.0
    assert np.abs(changed - patches).max() > 0.05
    np.testing.assert_array_equal(changed[..., MEL_SLOW.stop :], patches[..., MEL_SLOW.stop :])


def test_a_shifted_patch_is_the_spectrum_of_a_source_of_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    bands = np.arange(40, dtype=np.float32)
    patches = np.zeros((1, 64, 72), np.float32)
    patches[:, :, MEL_NOW] = np.exp(-0.5 * ((bands - 20.0) / 4.0) ** 2)
    patches[:, :, MEL_SLOW] = np.exp(-0.5 * ((bands[::2] - 20.0) / 4.0) ** 2)
    rng = np.random.default_rng(RNG_SEED)
    shift = np.random.default_rng(RNG_SEED).uniform(-augment.MAX_SHIFT_BANDS, augment.MAX_SHIFT_BANDS)
    changed = augment.shifted(patches, rng)[0, 0]
    assert abs(shift) > 0.2
    for columns, step in ((MEL_NOW, 1.0), (MEL_SLOW, 2.0)):
        weights = changed[columns]
        centre = step * float((np.arange(len(weights)) * weights).sum() / weights.sum())
        assert centre - 20.0 == pytest.approx(shift, abs=0.1)


def test_a_coloured_patch_keeps_its_slow_total_at_zero_db() -> None:
    slow_db = np.random.default_rng(RNG_SEED).uniform(-40.0, -5.0, (4, 64, 20))
    slow_db -= 10.0 * np.log10((10.0 ** (slow_db / 10.0)).sum(axis=2, keepdims=True))
    patches = np.zeros((4, 64, 72), np.float32)
    patches[..., MEL_NOW], patches[..., MEL_SLOW] = -0.2, (slow_db + 30.0) / 30.0
    coloured = augment.coloured(patches, np.random.default_rng(RNG_SEED))
    total = (10.0 ** ((30.0 * coloured[..., MEL_SLOW] - 30.0) / 10.0)).sum(axis=2)
    np.testing.assert_allclose(10.0 * np.log10(total), 0.0, atol=0.05)  # some bands rest at the lower clip


def test_two_sources_in_one_microphone_add_their_powers_and_keep_their_total_at_zero_db(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(augment, "OTHER_DB", (-10.0, -10.0))
    patches = np.zeros((2, 64, 72), np.float32)
    patches[..., : MEL_SLOW.stop] = -0.9
    patches[0, :, MEL_NOW.start + 5], patches[1, :, MEL_NOW.start + 9] = 0.2, 0.4
    patches[0, :, MEL_SLOW.start + 2], patches[1, :, MEL_SLOW.start + 4] = 0.9, 0.9
    changed = augment.accompanied(patches[:1], patches[1:], np.random.default_rng(RNG_SEED))[0, 0]
    total_db = 10.0 * np.log10(1.1)
    assert 50.0 * changed[5] - 30.0 == pytest.approx(50.0 * 0.2 - 30.0 - total_db, abs=0.01)
    assert 50.0 * changed[9] - 30.0 == pytest.approx(50.0 * 0.4 - 30.0 - 10.0 - total_db, abs=0.01)
    assert 30.0 * changed[MEL_SLOW.start + 4] - 30.0 == pytest.approx(-3.0 - 10.0 - total_db, abs=0.01)
    np.testing.assert_array_equal(changed[MEL_SLOW.stop :], patches[0, 0, MEL_SLOW.stop :])


def test_who_was_never_heard_accompanies_nobody() -> None:
    heard = np.full((1, 64, 72), -0.3, np.float32)
    never = heard.copy()
    never[..., : MEL_SLOW.stop] = -1.0
    for patches, others in ((heard, never), (never, heard)):
        np.testing.assert_array_equal(augment.accompanied(patches, others, np.random.default_rng(RNG_SEED)), patches)


def test_a_patch_never_heard_stays_never_heard() -> None:
    patches = np.zeros((2, 64, 72), np.float32)
    patches[..., : MEL_SLOW.stop] = -1.0
    for change in (augment.coloured, augment.noisy):
        np.testing.assert_array_equal(change(patches, np.random.default_rng(RNG_SEED)), patches)


def test_a_beat_is_widened_by_one_tick_at_half_weight() -> None:
    beat = np.zeros(9, np.float32)
    beat[4] = 1.0
    np.testing.assert_array_equal(_widened(beat, 1, 0.5)[3:6], [0.5, 1.0, 0.5])


def test_the_curriculum_brings_in_parameters_channels_and_difficulty_in_turn() -> None:
    start, end = curriculum.group_weights(0.0), curriculum.group_weights(1.0)
    assert start[1:].max() < 0.01
    assert end.min() == 1.0
    sizes, difficulty = np.array([2, 4, 8, 16, 16, 4]), np.arange(6.0)
    assert curriculum.allowed(difficulty, sizes, 0.0, 16).tolist() == [0, 1]
    assert curriculum.allowed(difficulty, sizes, 1.0, 16).tolist() == list(range(6))
    assert curriculum.allowed(difficulty, np.full(6, 12), 0.0, 16).tolist() == [0, 1, 2]


def test_a_song_moved_up_by_a_fifth_is_in_the_key_a_fifth_above() -> None:
    rng = np.random.default_rng(RNG_SEED)
    c_major, a_minor = 0, 21
    row = {
        "m": rng.uniform(-1, 1, (3, N_MIX_INPUT)).astype(np.float32),
        "key": np.array([c_major, a_minor, -1], np.int32),
        "teacher": rng.standard_normal((3, 44)).astype(np.float32),
    }
    moved = augment.transposed(row, 7)
    g_major, e_minor = 7, 16
    assert moved["key"].tolist() == [g_major, e_minor, -1]
    c, g, note_g = SONG_HEADS["key"].first, SONG_HEADS["key"].first + 7, CHROMA.start + 7
    assert np.array_equal(moved["m"][:, note_g], row["m"][:, CHROMA.start])
    assert np.array_equal(moved["m"][:, CHROMA.stop :], row["m"][:, CHROMA.stop :])
    assert np.array_equal(moved["teacher"][:, g], row["teacher"][:, c])
    assert np.array_equal(moved["teacher"][:, 0:c], row["teacher"][:, 0:c])
