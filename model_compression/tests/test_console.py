"""The differentiable console: held to the C kernels, and its gradients to finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import installed
from model_compression.tests import native_console as native
from model_compression.tests.native_console import RATE_HZ, error_db, music

tf = pytest.importorskip("tensorflow", reason="training is an extra: pip install evenhand[train]")

from model_compression.console import compressor, eq, limiter, mix, reverb, scan, strip  # noqa: E402

Array = NDArray[np.float64]


def settings(**values: Any) -> strip.Strip:
    """Return neutral settings of one or more channels but for ``values``."""
    n = max(np.shape(v)[0] for v in values.values())
    fields = {name: tf.constant(value, tf.float32) for name, value in values.items()}
    return strip.neutral((n,))._replace(**fields)


# ----------------------------------------------------------------------------------------------------------- scan


def test_scan_is_the_recursion_step_by_step() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 2, 37))
    c = np.abs(c) % 1
    h, wanted = np.zeros(2), []
    for n in range(37):
        h = np.maximum(a[:, n], b[:, n] + c[:, n] * h)
        wanted.append(h)
    got = scan.max_affine_scan(*(tf.constant(v, tf.float64) for v in (a, b, c)))
    np.testing.assert_allclose(got, np.stack(wanted, axis=1), atol=1e-12)


def test_scan_has_the_gradient_of_its_recursion() -> None:
    rng = np.random.default_rng(1)
    values = [tf.constant(v, tf.float64) for v in rng.uniform(0.1, 0.9, (3, 1, 9))]
    weights = tf.constant(rng.standard_normal((1, 9)))
    theory, numeric = tf.test.compute_gradient(
        lambda *v: tf.reduce_sum(scan.max_affine_scan(*v) * weights), values, 1e-6
    )
    for one, other in zip(theory, numeric, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------- eq

KERNEL_TYPES = {
    eq.Shape.BELL: native.BELL,
    eq.Shape.LOW_SHELF: native.LOW_SHELF,
    eq.Shape.HIGH_SHELF: native.HIGH_SHELF,
    eq.Shape.HIGH_PASS: native.HIGH_PASS,
    eq.Shape.TILT: native.TILT,
}


@pytest.mark.parametrize("shape", eq.Shape)
def test_every_section_responds_as_the_kernel_within_a_hundredth_db(shape: eq.Shape) -> None:
    library = installed()
    freq_hz = np.geomspace(20, 20000, 256).astype(np.float32)
    gain_db = np.zeros(256, np.float32)
    for corner_hz, boost_db, q in [(40.0, 9.0, 0.7), (800.0, -12.0, 2.0), (9000.0, 6.0, 0.5)]:
        q = np.sqrt(0.5) if shape is eq.Shape.HIGH_PASS else q
        design = library.ffi.new("eh_section_design *", [KERNEL_TYPES[shape], corner_hz, boost_db, q])
        pointers = [library.ffi.cast("float *", v.ctypes.data) for v in (freq_hz, gain_db)]
        library.lib.eh_section_response_db(design, RATE_HZ, *pointers, 256)
        corner, boost, narrow = (tf.constant(v, tf.float32) for v in (corner_hz, boost_db, q))
        angle = tf.constant(2 * np.pi * freq_hz / RATE_HZ, tf.float32)
        response = eq.section_response(shape, corner, boost, narrow, angle, RATE_HZ)
        assert np.abs(20 * np.log10(np.abs(response)) - gain_db).max() < 0.01


def test_filtered_sound_is_the_kernels_to_minus_80_db() -> None:
    x = music(40000, 1)
    one = settings(hpf_freq_hz=[60.0], eq_gain_db=[[5.0, -6.0, 4.0, -3.0]], tilt_gain_db=[2.0], tilt_freq_hz=[900.0])
    got = mix.processed(one, tf.constant(x[:, None]), RATE_HZ)[0, 0]
    bells = zip((200, 570, 2800, 7400), (5, -6, 4, -3), strict=True)
    sections = [
        (native.HIGH_PASS, 60.0, 0.0, np.sqrt(0.5)),
        *((native.BELL, float(f), float(g), 0.9) for f, g in bells),
        (native.TILT, 900.0, 2.0, 1.0),
    ]
    assert error_db(got, native.equalised(x[0], sections)) < -80


# ----------------------------------------------------------------------------------------------------- compressor

BY_HAND = [
    {"threshold_dbfs": -24.0, "ratio": 4.0, "knee_db": 6.0, "attack_ms": 5.0, "release_ms": 80.0},
    {"threshold_dbfs": -40.0, "ratio": 20.0, "knee_db": 0.0, "attack_ms": 0.5, "release_ms": 20.0},
    {"threshold_dbfs": -30.0, "ratio": 2.0, "knee_db": 18.0, "attack_ms": 60.0, "release_ms": 900.0, "makeup_db": 6.0},
]


def off_db(x: NDArray[np.float32], got: Any, **values: float) -> Array:
    """Return by how much a gain trajectory differs from the kernel's, where there is sound."""
    y = native.compressed(x, **values)
    heard = np.abs(x) > 1e-3
    kernel_db = 20 * np.log10(np.abs(y[heard].astype(np.float64) / x[heard]))
    return np.abs(20 * np.log10(np.asarray(got, np.float64)[heard]) - kernel_db)


@pytest.mark.parametrize("values", BY_HAND)
def test_compressor_gain_follows_the_kernel_within_a_hundredth_db(values: dict[str, float]) -> None:
    x = music(24001, 1, seed=2)
    one = settings(wet=[1.0], **{name: [value] for name, value in values.items()})
    gain = compressor.gain_lin(tf.constant(x[:, None]), one, RATE_HZ)[0]
    assert off_db(x[0], gain, **values).max() < 0.01


def test_automatic_compressor_follows_the_kernel_within_a_fifth_of_a_db() -> None:
    x = music(96000, 1, seed=4)
    values = {"threshold_dbfs": -30.0, "ratio": 4.0, "attack_ms": 40.0, "release_ms": 500.0}
    one = settings(wet=[1.0], **{name: [value] for name, value in values.items()})
    gain = compressor.automatic_gain_lin(tf.constant(x[:, None]), one, RATE_HZ)[0]
    assert off_db(x[0], gain, is_automatic=1, **values).max() < 0.2


def test_both_sides_of_a_stereo_channel_share_the_louder_detector() -> None:
    x = music(12000, 2, seed=5) * np.array([[1.0], [0.3]], np.float32)
    one = settings(wet=[1.0], threshold_dbfs=[-30.0])
    gain = compressor.gain_lin(tf.constant(x[None]), one, RATE_HZ)[0]
    y = native.compressed(np.ascontiguousarray(x.T), threshold_dbfs=-30.0)
    assert error_db(x[1] * gain, y[:, 1]) < -60


# ------------------------------------------------------------------------------------------------------------ mix


def test_mix_without_reverb_is_the_kernels_to_minus_60_db() -> None:
    x = music(48000, 3, seed=6)
    level_db, pan = [-3.0, 0.0, 2.0], [-0.6, 0.0, 0.9]
    many = settings(
        wet=[1.0] * 3, threshold_dbfs=[-24.0] * 3, eq_gain_db=[[3.0, -4.0, 2.0, -2.0]] * 3, level_db=level_db, pan=pan
    )
    got = mix.mixed(many, tf.constant(x[:, None]), RATE_HZ, has_reverb=False, has_limiter=False)
    bells = zip((200.0, 570.0, 2800.0, 7400.0), (3.0, -4.0, 2.0, -2.0), strict=True)
    sections = [(native.BELL, f, g, 0.9) for f, g in bells]
    channels = [native.compressed(native.equalised(one, sections), threshold_dbfs=-24.0) for one in x]
    assert error_db(np.asarray(got).T, native.panned(channels, level_db, pan)) < -60


def test_reverb_is_the_kernels_down_to_where_its_response_was_cut() -> None:
    send = music(120000, 1, seed=7)[0]
    wanted = native.reverberated(send)
    assert error_db(np.asarray(reverb.wet(tf.constant(send), RATE_HZ)).T, wanted) < -55


def test_limiter_gain_is_the_kernels_within_a_fiftieth_db() -> None:
    x = np.ascontiguousarray(music(24000, 2, seed=8).T) * 3
    gain = np.asarray(limiter.gain_lin(tf.constant(x.T), RATE_HZ))
    y = native.limited(x)
    assert gain.min() < 0.8, "nothing was limited"
    heard = np.abs(x[: len(y)]) > 1e-2
    kernel_lin = y[heard] / x[: len(y)][heard]
    assert np.abs(20 * np.log10(np.repeat(gain[: len(y), None], 2, axis=1)[heard] / kernel_lin)).max() < 0.02


# ------------------------------------------------------------------------------------------------------- gradient

MOVED = {
    "hpf_freq_hz": 2.0, "eq_gain_db": 0.1, "eq_freq_hz": 10.0, "eq_q": 0.02, "tilt_gain_db": 0.1,
    "threshold_dbfs": 0.1, "ratio": 0.05, "knee_db": 0.2, "attack_ms": 0.2, "release_ms": 3.0, "makeup_db": 0.1,
    "level_db": 0.1, "pan": 0.01, "send_db": 0.2, "trim_db": 0.1,
}  # fmt: skip


@pytest.mark.soak
def test_every_gradient_agrees_with_finite_differences() -> None:
    x = tf.constant(music(9600, 2, seed=9)[:, None])
    direction = tf.constant(np.random.default_rng(1).standard_normal((2, 9600)), tf.float32) * x[:, 0]
    start = settings(
        hpf_freq_hz=[80.0, 50.0], eq_gain_db=[[3.0, -4.0, 2.0, -2.0]] * 2, tilt_gain_db=[1.0, -1.0], pan=[-0.3, 0.4],
        wet=[1.0, 0.7], threshold_dbfs=[-28.0, -25.0], send_db=[-12.0, -6.0], level_db=[-2.0, 1.0],
    )  # fmt: skip

    def objective(one: strip.Strip) -> Any:
        y = mix.mixed(one, x, RATE_HZ, has_limiter=False)
        return tf.reduce_sum(y * direction) + tf.reduce_sum(y * y)

    with tf.GradientTape() as tape:
        tape.watch(start)
        value = objective(start)
    gradient = tape.gradient(value, start)
    for name, step in MOVED.items():
        whole = getattr(start, name)
        nudge = np.zeros(whole.shape, np.float32)
        nudge.flat[0] = step
        ends = [float(objective(start._replace(**{name: whole + sign * nudge}))) for sign in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2 * step)
        exact = float(tf.reshape(getattr(gradient, name), [-1])[0])
        assert exact == pytest.approx(numeric, rel=0.05, abs=2e-3 * abs(float(value))), name
