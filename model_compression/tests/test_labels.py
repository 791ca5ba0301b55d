"""Labels out of mixes: consoles that are known are found again; what a mix does not say is not made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from model_compression.__main__ import main
from model_compression.data.shards import read_items
from model_compression.labels import alignment, closed_form
from model_compression.labels.answer import answer
from model_compression.labels.fit import fit
from model_compression.tests import native_console as native
from model_compression.tests.native_console import RATE_HZ, music

Stems = list[NDArray[np.float32]]


def console(
    seed: int,
    n_channels: int,
    seconds: float,
    *,
    has_tone: bool,
    has_compressor: bool,
    n_bands: int = 4,
    threshold_dbfs: tuple[float, float] = (-28.0, -18.0),
) -> tuple:
    """Return stems, mix, processed channels and the console's settings."""
    rng = np.random.default_rng(seed)
    x = music(round(seconds * RATE_HZ), n_channels, seed)
    values = {
        "gain_db": rng.uniform(-12, 3, n_channels), "pan": rng.uniform(-0.9, 0.9, n_channels),
        "tone_db": rng.uniform(-6, 6, (n_channels, 4)), "ratio": rng.uniform(2, 6, n_channels),
        "attack_ms": np.exp(rng.uniform(np.log(3), np.log(40), n_channels)),
        "release_ms": np.exp(rng.uniform(np.log(40), np.log(500), n_channels)),
        "threshold_dbfs": rng.uniform(*threshold_dbfs, n_channels),
    }  # fmt: skip
    values["tone_db"][:, n_bands:] = 0.0
    channels = []
    for ch, y in enumerate(x):
        if has_tone:
            bells = zip((200.0, 570.0, 2800.0, 7400.0), values["tone_db"][ch], strict=True)
            y = native.equalised(y, [(native.BELL, freq_hz, float(db), 0.9) for freq_hz, db in bells])
        if has_compressor:
            names = ("threshold_dbfs", "ratio", "attack_ms", "release_ms")
            y = native.compressed(y, **{name: float(values[name][ch]) for name in names})
        channels.append(y)
    mix = native.panned(channels, list(values["gain_db"]), list(values["pan"]))
    return [one[:, None] for one in x], mix, channels, values


# ---------------------------------------------------------------------------------------------------- closed form


def test_a_weighted_sum_is_solved_exactly() -> None:
    stems, mix, _, wanted = console(1, 6, 1.0, has_tone=False, has_compressor=False)
    got = closed_form.balance(stems, mix)
    np.testing.assert_allclose(got.gain_db, wanted["gain_db"], atol=1e-3)
    np.testing.assert_allclose(got.pan, wanted["pan"], atol=1e-4)
    assert got.residual_db < -80
    assert got.confidence.min() > 0.9


def test_with_tone_and_compressor_the_loudness_gain_is_within_03_db_at_the_median() -> None:
    off_db = []
    for seed in range(3):
        stems, mix, channels, wanted = console(
            seed, 5, 2.0, has_tone=True, has_compressor=True, n_bands=2, threshold_dbfs=(-20.0, -12.0)
        )
        got = closed_form.balance(stems, mix)
        gain_db = closed_form.loudness_gain_db(stems, mix, RATE_HZ, got.side_gain_lin)
        effect_db = [loudness_db(y) - loudness_db(x[:, 0]) for x, y in zip(stems, channels, strict=True)]
        off_db += list(np.abs(gain_db - wanted["gain_db"] - effect_db))
        assert np.abs(got.pan - wanted["pan"]).max() < 0.05
    assert np.median(off_db) < 0.3


def loudness_db(x: NDArray[np.float32]) -> float:
    from dsp_kernels.reference.loudness import k_weighted

    return float(10 * np.log10(np.mean(k_weighted(x[:, None], RATE_HZ) ** 2)))


def test_a_stereo_stem_has_level_and_balance() -> None:
    stem = np.ascontiguousarray(music(48000, 2, seed=3).T)
    angle = (0.5 + 1) * np.pi / 4
    balance = np.minimum(np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)]), 1.0)
    got = closed_form.balance([stem], (0.5 * stem * balance).astype(np.float32))
    assert got.gain_db[0] == pytest.approx(-6.02, abs=0.01)
    assert got.pan[0] == pytest.approx(0.5, abs=0.01)


def test_stretches_follow_a_fader_and_lean_on_the_whole_where_a_channel_rests() -> None:
    x = music(96000, 2, seed=4)
    x[1, 48000:] = 0.0
    fader = np.repeat(np.array([1.0, 0.5], np.float32), 48000)
    mix = native.panned([x[0] * fader, x[1]], [0.0, -6.0], [0.0, 0.3])
    whole, (first, second) = closed_form.balances([one[:, None] for one in x], mix, [(0, 48000), (48000, 96000)])
    assert first.gain_db[0] - second.gain_db[0] == pytest.approx(6.0, abs=0.3)
    assert second.gain_db[1] == pytest.approx(whole.gain_db[1], abs=0.01)


def test_twins_and_strangers_earn_no_confidence() -> None:
    x = music(48000, 3, seed=5)
    twin = x[0] + 1e-4 * x[1]
    got = closed_form.balance([x[0][:, None], twin[:, None], x[2][:, None]], native.panned(list(x[:2]), [0, 0], [0, 0]))
    assert got.confidence[:2].max() < 0.2, "two stems alike cannot be told apart"
    assert got.confidence[2] < 0.2, "a stem that is not in the mix"


def test_silent_stems_are_off() -> None:
    x = music(24000, 2, seed=6)
    got = closed_form.balance([x[0][:, None], np.zeros((24000, 1), np.float32)], native.panned([x[0]], [0.0], [0.0]))
    assert got.gain_db[1] == closed_form.OFF_DB
    assert got.confidence[1] == 0


def test_lags_of_the_mix_are_found_and_disagreement_is_told() -> None:
    x = music(96000, 3, seed=7)
    mix = x.sum(axis=0)
    lags = [alignment.lag(one[1000:80000], mix[:79000]) for one in x]
    assert {one.frames for one in lags if one.is_clear} == {1000}
    assert alignment.common_lag(lags) == 1000
    apart = [alignment.Lag(frames=f, clearness=20.0) for f in (0, 500, 2000)]
    assert alignment.common_lag(apart) is None
    assert not alignment.lag(np.zeros(4800), mix[:4800]).is_clear


def test_a_late_mix_is_aligned_before_it_is_read() -> None:
    stems, mix, _, wanted = console(8, 3, 1.5, has_tone=False, has_compressor=False)
    late = np.concatenate([np.zeros((120, 2), np.float32), mix])[: len(mix)]
    hum = np.full_like(stems[0], 1e-6)  # as good as silent: it has no say
    told = answer([*stems, hum, hum, hum, hum], late)
    assert told.lag_frames == 120
    np.testing.assert_allclose(told.gain_db[:3], wanted["gain_db"], atol=0.1)


# ------------------------------------------------------------------------------------------------------------ fit


def test_fit_finds_the_console_that_made_the_mix() -> None:
    stems, mix, _, wanted = console(9, 3, 3.0, has_tone=True, has_compressor=True)
    got = fit(stems, mix, RATE_HZ, stages=("tone", "compressor"))
    assert got.residual_db < -60
    np.testing.assert_allclose(got.gain_db, wanted["gain_db"], atol=0.1)
    np.testing.assert_allclose(got.tone_db, wanted["tone_db"], atol=0.2)
    np.testing.assert_allclose(got.release_ms / wanted["release_ms"], 1.0, atol=0.05)
    np.testing.assert_allclose(got.attack_ms / wanted["attack_ms"], 1.0, atol=0.05)
    assert got.confidence[:, [0, *range(2, 10)]].min() > 0.9


def test_fit_finds_the_sends() -> None:
    stems, mix, channels, wanted = console(10, 2, 2.0, has_tone=False, has_compressor=False)
    send_db = np.array([-14.0, -20.0])
    send = sum(
        y * np.float32(10 ** ((g + s) / 20)) for y, g, s in zip(channels, wanted["gain_db"], send_db, strict=True)
    )
    got = fit(stems, mix + native.reverberated(send.astype(np.float32)), RATE_HZ, stages=("tone", "send"))
    np.testing.assert_allclose(got.send_db, send_db, atol=0.5)


def test_fit_of_a_compressor_that_does_nothing_is_not_trusted() -> None:
    stems, mix, _, _ = console(11, 2, 1.5, has_tone=False, has_compressor=False)
    rng = np.random.default_rng(0)
    mix = mix + np.float32(0.005 * mix.std()) * rng.standard_normal(mix.shape).astype(np.float32)
    got = fit(stems, mix, RATE_HZ, stages=("tone", "compressor"))
    assert np.abs(got.tone_db).max() < 0.5
    assert np.all((got.ratio < 1.1) | (got.confidence[:, 6] < 0.5))


# ---------------------------------------------------------------------------------------------------- the command


def folder_of_stems(root: Path) -> dict:
    stems, mix, _, wanted = console(12, 3, 4.0, has_tone=False, has_compressor=False)
    for name, stem in zip(("kick", "bass", "lead vox"), stems, strict=True):
        soundfile.write(root / f"{name}.wav", stem, int(RATE_HZ), subtype="FLOAT")
    soundfile.write(root / "mix.wav", mix, int(RATE_HZ), subtype="FLOAT")
    return wanted


def test_label_writes_shards_that_a_trainer_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song, out = tmp_path / "song", tmp_path / "out"
    song.mkdir()
    wanted = folder_of_stems(song)
    assert main(["label", "stems", str(song), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["is_complete"]
    assert said["is_non_commercial"]
    (entry,) = said["shards"]
    (item,) = read_items(out, entry["split"], "scenes")
    assert item["x"].dtype == np.int8
    assert item["x"].shape[:2] == item["active"].shape
    # Sorted by name: bass, kick, lead vox; the voice leads.
    assert item["offset_lu"].shape == (3, 4, 3)
    assert np.abs(item["offset_lu"][:, :, 2]).max() == 0
    assert item["pan_abs"][0] == pytest.approx(np.abs(wanted["pan"])[[1, 0, 2]], abs=0.02)
    assert item["weight"][0].min() > 0.9
    assert item["weight"][2].max() == 0, "nothing was fitted"
    assert item["gain_fault_db"].std() > 1, "stems at mix level would give the answer away"


def test_label_again_goes_on_and_refuses_what_is_not_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song, out = tmp_path / "song", tmp_path / "out"
    song.mkdir()
    folder_of_stems(song)
    command = ["label", "stems", str(song), "--out", str(out), "--seconds", "2"]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 0
    assert "is there already" in capsys.readouterr().err
    assert main([*command[:-1], "1"]) == 1
    assert "error:" in capsys.readouterr().err
    assert main(["label", "stems", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_label_wants_a_set_that_it_knows() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["label", "no_such_set", "."])
    assert refused.value.code == 2
