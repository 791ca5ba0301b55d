"""What a model is shown: bounded, blind to the trim and to the channels' order, and the same as its float64 twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.build_ffi import SOURCE_DIR, build_library
from dsp_kernels.contract.layout import (
    FEATURES_DTYPE,
    MIX_FEATURES_DTYPE,
    MIX_INPUT_COLUMNS,
    MODEL_INPUT_COLUMNS,
    N_MIX_INPUT,
    N_MODEL_INPUT,
)
from dsp_kernels.model_input import ModelInput
from dsp_kernels.native import KernelError, Library, opened
from dsp_kernels.reference import model_input as reference

ABSOLUTE = ("loudness_vs_mean", "loudness_rank", "slow_loudness")
LEVELS = ("log_mel_db", "bark_dbfs", "rms_dbfs", "peak_dbfs", "noise_floor_dbfs", "loudness_momentary_lufs",
          "loudness_short_term_lufs", "strip_loudness_momentary_lufs", "strip_loudness_short_term_lufs")  # fmt: skip


def recording(n_ticks: int, n_channels: int, seed: int = 1) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return records, ``(n_ticks, n_channels)``, of channels that come and go, and what is heard of all."""
    rng = np.random.default_rng(seed)
    r = np.zeros((n_ticks, n_channels), FEATURES_DTYPE)
    shape_db = rng.normal(0, 8, (n_channels, 40)).cumsum(axis=1) * 0.5
    active = np.repeat(rng.random((n_ticks // 25 + 1, n_channels)) < 0.6, 25, axis=0)[:n_ticks]
    active[:10] = False
    level_db = rng.uniform(-50, -15, n_channels) + np.where(active, rng.normal(0, 3, active.shape), -35.0)
    r["log_mel_db"] = np.maximum(level_db[..., None] + shape_db - 15 + rng.normal(0, 2, (*active.shape, 40)), -90)
    r["bark_dbfs"] = np.maximum(
        level_db[..., None] + shape_db[:, :24] - 12 + rng.normal(0, 2, (*active.shape, 24)), -90
    )
    r["loudness_momentary_lufs"] = np.maximum(level_db - 2, -90)
    r["noise_floor_dbfs"] = level_db.min(axis=0) - 3
    r["is_active"] = active
    r["onset"] = rng.random(active.shape) < 0.08
    for name, low, high in (
        ("centroid_hz", 4, 9), ("rolloff_hz", 5, 9.5), ("flux", -6, 0.5), ("flatness", -9, -0.5), ("crest_db", 0.5, 3),
        ("attack_ms", 0.5, 5), ("decay_db_per_s", 2, 7), ("brightness", -8, 0), ("roughness", -5, 0),
        ("syllabic_modulation", -3, 0),
    ):  # fmt: skip
        r[name] = np.exp(rng.uniform(low, high, active.shape))
    r["bleed_coherence"] = rng.random(active.shape)
    r["bleed_delay_ms"] = rng.normal(0, 6, active.shape)
    r["bleed_source"] = rng.integers(-1, n_channels, active.shape)
    mix = np.zeros(n_ticks, MIX_FEATURES_DTYPE)
    chroma = rng.random((n_ticks // 25 + 1, 12)).repeat(25, axis=0)[:n_ticks]
    mix["chroma"] = chroma / chroma.max(axis=1, keepdims=True)
    return r, mix


def silent_records(n_ticks: int) -> NDArray[np.void]:
    r = np.zeros((n_ticks, 1), FEATURES_DTYPE)
    for name in LEVELS:
        r[name] = -100.0
    r["bleed_source"] = r["masked_by"] = -1.0
    return r


def show(
    library: Library, records: NDArray[np.void], mix: NDArray[np.void], trim_db: NDArray | None = None,
    is_stereo: tuple[bool, ...] = (), shown: ModelInput | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Return ``x`` and ``m`` of every tick."""
    n_channels = records.shape[1]
    shown = shown or ModelInput(library, n_channels, is_stereo)
    trim = np.zeros(n_channels) if trim_db is None else trim_db
    rows = [shown.process(r, m, trim) for r, m in zip(records, mix, strict=True)]
    return np.stack([x for x, _ in rows]), np.stack([m for _, m in rows])


def raised(records: NDArray[np.void], channel: int, gain_db: float) -> NDArray[np.void]:
    out = records.copy()
    for name in LEVELS:
        out[name][:, channel] += gain_db
    return out


def moved_columns(a: NDArray, b: NDArray, tolerance: float) -> set[str]:
    difference = np.abs(a - b).reshape(-1, a.shape[-1]).max(axis=0)
    columns = MODEL_INPUT_COLUMNS if a.shape[-1] == N_MODEL_INPUT else MIX_INPUT_COLUMNS
    return {name for name, at in columns.items() if difference[at].max() > tolerance}


def test_it_matches_its_reference(library: Library) -> None:
    records, mix = recording(1000, 5)
    trim_db = np.array([0.0, 6.0, -12.0, 20.0, 3.5])
    stereo = (False, True, False, False, True)
    x, m = show(library, records, mix, trim_db, stereo)
    expected_x, expected_m = reference.model_input(records, mix["chroma"], trim_db, stereo)
    for name, at in MODEL_INPUT_COLUMNS.items():
        assert np.abs(x[..., at] - expected_x[..., at]).max() < 2e-4, name
    for name, at in MIX_INPUT_COLUMNS.items():
        # A square root of a small difference: the last bits of float32 show.
        tolerance = 5e-3 if name.startswith("novelty") or "flux" in name else 2e-4
        assert np.abs(m[:, at] - expected_m[:, at]).max() < tolerance, name


def test_every_value_lies_within_1_and_is_used(library: Library) -> None:
    x, m = show(library, *recording(1500, 6))
    for values in (x, m):
        assert np.abs(values).max() <= 1
    still = [name for name, at in MODEL_INPUT_COLUMNS.items() if np.ptp(x[..., at], axis=(0, 1)).min() == 0]
    assert still == ["is_stereo"]
    assert (np.ptp(m, axis=0) > 0).all()


def test_a_louder_source_moves_only_the_columns_of_absolute_level(library: Library) -> None:
    records, mix = recording(400, 4)
    before, _ = show(library, records, mix)
    moved = set()
    for channel in range(4):
        after, _ = show(library, raised(records, channel, 12.0), mix)
        moved |= moved_columns(before[:, channel], after[:, channel], 1e-4)
        others = np.delete(before, channel, 1), np.delete(after, channel, 1)
        assert moved_columns(*others, 1e-4) <= {"loudness_vs_mean", "loudness_rank"}
    assert moved == set(ABSOLUTE)


@pytest.mark.parametrize("gain_db", [-10.0, 12.0, 40.0])
def test_the_trim_takes_itself_out(library: Library, gain_db: float) -> None:
    records, mix = recording(400, 4)
    x, m = show(library, records, mix)
    trimmed_x, trimmed_m = show(library, raised(records, 2, gain_db), mix, np.array([0.0, 0.0, gain_db, 0.0]))
    assert np.abs(x - trimmed_x).max() < 1e-4
    assert not moved_columns(m, trimmed_m, 2e-3)


def test_the_order_of_channels_does_not_change_a_bit(library: Library) -> None:
    records, mix = recording(400, 7)
    trim_db, stereo = np.linspace(-6, 12, 7), (True, False, False, True, False, False, True)
    x, m = show(library, records, mix, trim_db, stereo)
    order = np.random.default_rng(3).permutation(7)
    y, n = show(library, np.ascontiguousarray(records[:, order]), mix, trim_db[order], tuple(stereo[i] for i in order))
    assert np.array_equal(x[:, order], y)
    assert np.array_equal(m, n)


def test_a_channel_that_was_never_active_changes_nothing_for_others_and_reads_neutral(library: Library) -> None:
    records, mix = recording(400, 3)
    x, m = show(library, records, mix)
    wider = np.ascontiguousarray(np.concatenate([records, silent_records(400)], axis=1))
    y, n = show(library, wider, mix)
    assert np.array_equal(x, y[:, :3])
    assert np.array_equal(m, n)
    expected = np.zeros(N_MODEL_INPUT)
    expected[:60] = -1
    for name in ("is_active", "has_bleed_source", "is_stereo"):
        expected[MODEL_INPUT_COLUMNS[name]] = -1
    expected[MODEL_INPUT_COLUMNS["count"]] = x[-1, 0, MODEL_INPUT_COLUMNS["count"]]
    assert np.array_equal(y[-1, 3], expected.astype(np.float32))


def test_a_channel_counts_once_it_was_active_for_a_third_of_a_second(library: Library) -> None:
    records, mix = recording(400, 2)
    records["is_active"][:, 0], records["is_active"][:, 1] = 1, 0
    records["is_active"][100:120, 1] = 1
    count = show(library, records, mix)[0][:, 0, MODEL_INPUT_COLUMNS["count"]][:, 0]
    assert count[10] == -1
    assert (count[20:113] == 0).all()
    assert (count[117:] == np.float32(0.2)).all()


def test_silence_reads_the_same_for_ever(library: Library) -> None:
    records = silent_records(50)
    x, m = show(library, records, np.zeros(50, MIX_FEATURES_DTYPE))
    assert np.ptp(x, axis=0).max() == np.ptp(m, axis=0).max() == 0
    assert set(np.unique(m)) == {-1.0, 0.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, 1e-40])
def test_what_is_no_number_does_not_stay(library: Library, bad: float) -> None:
    records, mix = recording(1500, 3)
    hurt, hurt_mix, trim_db = records.copy(), mix.copy(), np.zeros(3)
    for name in FEATURES_DTYPE.names:
        hurt[name][60, 1] = bad
    hurt_mix["chroma"][60] = bad
    shown = ModelInput(library, 3)
    clean, _ = show(library, records, mix)
    first = show(library, hurt[:61], hurt_mix[:61], trim_db, shown=shown)
    x, m = show(library, hurt[61:], hurt_mix[61:], trim_db, shown=shown)
    for values in (*first, x, m):
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= 1
    assert np.array_equal(np.delete(x, 1, 1)[..., :96], np.delete(clean[61:], 1, 1)[..., :96]), "others are touched"
    assert np.abs(x[-1, 1] - clean[-1, 1])[:96].max() < 0.5, "one bad record is still there after half a minute"
    nan_trim, _ = show(library, records[:60], mix[:60], np.array([0.0, bad, 0.0]))
    assert np.abs(nan_trim - clean[:60]).max() < 1e-6, "a trim that is none counts as 0"


def test_reset_equals_fresh_for_all_and_for_one(library: Library) -> None:
    records, mix = recording(300, 3)
    stereo = (False, True, False)
    fresh = show(library, records, mix, is_stereo=stereo)
    shown = ModelInput(library, 3, stereo)
    show(library, records[::-1], mix, shown=shown)
    shown.reset()
    again = show(library, records, mix, shown=shown)
    assert np.array_equal(again[0], fresh[0])
    assert np.array_equal(again[1], fresh[1])
    shown.reset_channel(1)
    x, _ = show(library, records, mix, shown=shown)
    assert np.array_equal(x[:, 1, :96], fresh[0][:, 1, :96])
    assert not np.array_equal(x[:, 0, :96], fresh[0][:, 0, :96])


@pytest.mark.parametrize("n_channels", [0, 65])
def test_it_refuses_too_few_and_too_many_channels(library: Library, n_channels: int) -> None:
    with pytest.raises(KernelError):
        ModelInput(library, n_channels)


def test_64_channels_are_shown(library: Library) -> None:
    x, m = show(library, *recording(60, 64))
    assert x.shape == (60, 64, N_MODEL_INPUT)
    assert m.shape == (60, N_MIX_INPUT)
    assert x[-1, 0, MODEL_INPUT_COLUMNS["count"]] == 1  # log2(64) / 5, clipped


def test_gcc_and_clang_show_the_same_to_the_bit(tmp_path: Path) -> None:
    sources, shown = sorted(SOURCE_DIR.glob("model_input*.c")), []
    for compiler in ("gcc", "clang"):
        built = build_library(tmp_path / f"{compiler}.so", compiler=compiler, sources=sources)
        shown.append(show(opened(built), *recording(300, 5)))
    assert np.array_equal(shown[0][0], shown[1][0])
    assert np.array_equal(shown[0][1], shown[1][1])
