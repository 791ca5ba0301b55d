"""What a record's effects promise: the same length, finite, silence out of silence, and each what its name says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from model_compression.data import effects_chain as fx
from model_compression.data import studio, vocal_effects
from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
Effect = Callable[[np.random.Generator, Audio], Audio]
EFFECTS: dict[str, Effect] = {
    "levelled": vocal_effects.levelled,
    "deessed": lambda _, a: vocal_effects.deessed(a, amount_db=8.0),
    "airy": lambda _, a: vocal_effects.airy(a, shelf_db=6.0, from_hz=8000.0),
    "telephoned": vocal_effects.telephoned,
    "micro shifted": vocal_effects.micro_shifted,
    "drowned": lambda rng, a: vocal_effects.drowned(rng, a, wet_db=6.0),
    "swelling": vocal_effects.swelling,
    "widened": lambda rng, a: vocal_effects.widened(rng, a, amount=0.8),
}


@pytest.fixture(scope="module")
def vocal() -> Audio:
    """Return two phrases of a harmonic tone, the second soft, ``(n_frames, 1)``, peak 1."""
    t = np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = sum(np.sin(2 * np.pi * 220 * k * t) / k**1.5 for k in range(1, 30))
    loud = np.where((t > 0.4) & (t < 1.2), 1.0, np.where((t > 1.6) & (t < 2.6), 0.2, 0.0))
    sound = (tone * loud).astype(np.float32)[:, None]
    return sound / np.abs(sound).max()


def _rms(audio: Audio, begin_s: float, end_s: float) -> float:
    return float(np.sqrt(np.mean(audio[int(begin_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)] ** 2)))


def _band_db(audio: Audio, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(audio[:, 0])) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE_HZ)
    return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].sum() / power.sum() + 1e-12))


@pytest.mark.parametrize("name", list(EFFECTS))
@pytest.mark.parametrize("n_lanes", [1, 2])
def test_an_effect_keeps_the_length_is_finite_and_seeded(name: str, n_lanes: int, vocal: Audio) -> None:
    sound = np.concatenate([vocal, 0.6 * vocal[::-1]], axis=1)[:, :n_lanes]
    first, again = (EFFECTS[name](np.random.default_rng(5), sound.copy()) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert len(first) == len(sound)
    assert first.shape[1] == (2 if name == "widened" else n_lanes)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.abs(first).max() > 0.05


@pytest.mark.parametrize("name", list(EFFECTS))
def test_an_effect_leaves_silence_silent(name: str) -> None:
    for seed in range(3):
        assert not EFFECTS[name](np.random.default_rng(seed), np.zeros((24000, 1), np.float32)).any()


def test_levelling_brings_loud_and_soft_together(vocal: Audio) -> None:
    before = _rms(vocal, 0.6, 1.1) / _rms(vocal, 1.8, 2.5)
    for seed in range(4):
        made = vocal_effects.levelled(np.random.default_rng(seed), vocal)
        assert _rms(made, 0.6, 1.1) / _rms(made, 1.8, 2.5) < 0.6 * before


def test_a_deesser_takes_from_sibilants_and_leaves_the_rest(vocal: Audio) -> None:
    noise = np.random.default_rng(0).normal(0, 0.6, vocal.shape).astype(np.float32)
    hiss = fx.filtered(noise, "bandpass", (6000.0, 9000.0))
    t = np.arange(len(hiss)) / SAMPLE_RATE_HZ
    hiss[(t < 1.2) | (t > 1.3)] = 0
    made = vocal_effects.deessed(vocal + hiss, amount_db=10.0)
    there, elsewhere = (1.21, 1.29), (1.8, 2.5)
    assert _rms(made, *there) < 0.6 * _rms(vocal + hiss, *there)
    assert _rms(made, *elsewhere) == pytest.approx(_rms(vocal + hiss, *elsewhere), rel=0.02)


def test_a_telephone_has_no_bass_and_no_air_and_a_shelf_has_more(vocal: Audio) -> None:
    bright = vocal_effects.airy(vocal, shelf_db=8.0, from_hz=5000.0)
    assert _band_db(bright, 8000, 20000) > _band_db(vocal, 8000, 20000) + 4
    for seed in range(4):
        made = vocal_effects.telephoned(np.random.default_rng(seed), vocal)
        assert _band_db(made, 0, 230) < _band_db(vocal, 0, 230) - 1


def test_a_drowned_voice_rings_on_and_a_swell_runs_ahead(vocal: Audio) -> None:
    wet = vocal_effects.drowned(np.random.default_rng(1), vocal, wet_db=6.0)
    assert _rms(wet, 1.25, 1.5) > 0.1 * _rms(wet, 0.6, 1.1)
    ahead = vocal_effects.swelling(np.random.default_rng(1), vocal)
    assert _rms(ahead, 0.25, 0.38) > 3 * _rms(ahead, 0.0, 0.02)
    assert _rms(ahead, 0.25, 0.38) > 0.01


def test_a_wide_voice_folds_down_to_what_it_was(vocal: Audio) -> None:
    wide = vocal_effects.widened(np.random.default_rng(2), vocal, amount=1.0)
    assert np.abs(wide.mean(axis=1) - vocal[:, 0]).max() < 1e-5
    assert np.corrcoef(wide.T)[0, 1] < 0.9


@pytest.mark.parametrize("is_backing", [False, True])
def test_a_record_s_chain_is_bounded_and_leads_keep_their_lanes(is_backing: bool, vocal: Audio) -> None:
    n_lanes = set()
    for seed in range(16):
        made = vocal_effects.record_chain(np.random.default_rng(seed), vocal, is_backing=is_backing, tempo_bpm=100.0)
        assert np.isfinite(made).all()
        assert len(made) == len(vocal)
        assert np.abs(made).max() == pytest.approx(1.0, abs=1e-4)
        n_lanes.add(made.shape[1])
    assert n_lanes == ({1, 2} if is_backing else {1})


def test_the_test_split_goes_through_the_plain_studio_alone(vocal: Audio) -> None:
    clip = vocal[: 24000 * 2]
    others = []
    for seed in range(12):
        plain = studio.produced(np.random.default_rng(seed), clip, is_backing=True, tempo_bpm=100.0)
        test, train = (
            vocal_effects.produced(np.random.default_rng(seed), clip, split, is_backing=True, tempo_bpm=100.0)
            for split in ("test", "train")
        )
        assert test.tobytes() == plain.tobytes()
        others.append(train.tobytes() != plain.tobytes())
    assert sum(others) > 4


def test_as_many_vocals_stay_dry_as_before() -> None:
    rng = np.random.default_rng(3)
    blip = np.zeros((4800, 1), np.float32)
    blip[1000:2000] = 0.5
    dry = [vocal_effects.produced(rng, blip, "train", is_backing=False, tempo_bpm=100.0) is blip for _ in range(150)]
    assert np.mean(dry) == pytest.approx(1 - studio.SHARE_PRODUCED, abs=0.12)
