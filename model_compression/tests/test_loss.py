"""Loudness and loss of the differentiable console: right by the meter, fair to quiet items, finite on silence."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest

from dsp_kernels.native import Kernel, installed
from model_compression.tests.native_console import RATE_HZ, music

tf = pytest.importorskip("tensorflow", reason="training is an extra: pip install evenhand[train]")

from model_compression.console import loss, loudness, strip  # noqa: E402
from model_compression.console.mix import summed  # noqa: E402

N_FRAMES = 96000


def stereo(seed: int, n_frames: int = N_FRAMES) -> np.ndarray:
    """Return music whose second half is 20 dB softer, so that the relative gate has something to do."""
    x = music(n_frames, 2, seed)
    x[:, n_frames // 2 :] *= 0.1
    return x


def kernel_lufs(x: np.ndarray) -> float:
    kernel = Kernel(installed(), "loudness", RATE_HZ, size_arguments=(RATE_HZ,))
    frames = np.ascontiguousarray(x.T)
    kernel.call("process", kernel.pointer(frames), 2, 0, len(frames))
    return float(kernel.call("read").integrated_lufs)


def test_loudness_reads_what_the_kernel_and_another_meter_read() -> None:
    x = stereo(1)
    got = float(loudness.integrated_lufs(tf.constant(x), RATE_HZ))
    assert got == pytest.approx(kernel_lufs(x), abs=0.02)
    # pyloudnorm designs its filters anew instead of taking the table of the standard.
    assert got == pytest.approx(pyloudnorm.Meter(int(RATE_HZ)).integrated_loudness(x.T), abs=0.1)


def test_loss_is_zero_for_the_reference_itself() -> None:
    x = tf.constant(stereo(2))
    assert float(loss.mix_loss(x, x, RATE_HZ)) == pytest.approx(0.0, abs=1e-5)


def test_loss_of_an_item_does_not_depend_on_its_neighbours() -> None:
    loud, quiet = stereo(3, 24000), 0.001 * stereo(4, 24000)
    mix, reference = np.stack([loud, quiet]), np.stack([0.5 * loud, 0.5 * quiet])
    both = loss.spectral_loss(tf.constant(mix), tf.constant(reference), RATE_HZ)
    alone = loss.spectral_loss(tf.constant(quiet), tf.constant(0.5 * quiet), RATE_HZ)
    assert float(both[1]) == pytest.approx(float(alone), rel=1e-4)
    assert float(both[1]) == pytest.approx(float(both[0]), rel=0.3), "a quiet item vanishes"


def test_loss_hears_a_swap_of_sides() -> None:
    x = stereo(5, 24000)
    assert float(loss.spectral_loss(tf.constant(x[::-1].copy()), tf.constant(x), RATE_HZ)) > 0.1


def test_loss_hears_level_and_tone_and_grows_with_them() -> None:
    x = tf.constant(stereo(6, 24000))
    by_gain = [float(loss.spectral_loss(x * 10 ** (db / 20), x, RATE_HZ)) for db in (0.5, 2.0, 6.0)]
    assert by_gain == sorted(by_gain)
    assert by_gain[0] > 0.01


def test_loss_and_its_gradient_are_finite_on_silence() -> None:
    one = strip.neutral((2,))
    silence = tf.zeros((2, 1, 24000))
    with tf.GradientTape() as tape:
        tape.watch(one)
        value = loss.audio_loss(one, silence, tf.zeros((2, 24000)))
    gradient = tape.gradient(value, one)
    assert np.isfinite(float(value))
    assert all(np.isfinite(g).all() for g in tf.nest.flatten(gradient) if g is not None)


@pytest.mark.soak
def test_descent_on_the_loss_finds_gains_and_pans_of_a_mix() -> None:
    channels = tf.constant(music(24000, 3, seed=7)[:, None])
    is_stereo = tf.zeros(3, tf.bool)
    wanted = strip.neutral((3,))._replace(level_db=tf.constant([-4.0, 0.0, -8.0]), pan=tf.constant([-0.5, 0.1, 0.6]))
    reference, _ = summed(wanted, channels, is_stereo)
    level_db, pan = tf.Variable(tf.zeros(3)), tf.Variable(tf.zeros(3))

    @tf.function
    def value_and_slopes() -> tuple:
        with tf.GradientTape() as tape:
            dry, _ = summed(strip.neutral((3,))._replace(level_db=level_db, pan=pan), channels, is_stereo)
            value = loss.mix_loss(dry, reference, RATE_HZ)
        return value, tape.gradient(value, [level_db, pan])

    first = float(value_and_slopes()[0])
    optimizer = tf.keras.optimizers.Adam(0.3)
    for step in range(60):
        optimizer.learning_rate = 0.3 * (1 - step / 60)
        _, (by_level, by_pan) = value_and_slopes()
        optimizer.apply_gradients([(by_level, level_db), (by_pan, pan)])
        pan.assign(tf.clip_by_value(pan, -1.0, 1.0))
    assert float(value_and_slopes()[0]) < 0.1 * first
    np.testing.assert_allclose(level_db, wanted.level_db, atol=0.5)
