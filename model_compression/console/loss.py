"""How far a mix is from a reference: mel spectra at three resolutions of left, right, middle and side, and loudness.

Spectral convergence and log distance after Yamamoto et al., "Parallel WaveGAN", 2020; the stereo weights and the mel
bands after Lee et al., "Searching for music mixing graphs", 2024. Every term is normalised within its own item, so a
quiet item counts as much as a loud one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tensorflow as tf

from .loudness import integrated_lufs
from .mix import mixed
from .strip import Strip

FFT_FRAMES = (512, 1024, 4096)
N_MEL = 96
LOWEST_HZ = 20.0
SIDE_WEIGHTS = (0.5, 0.5, 0.25, 0.25)  # left, right, middle, side
FLOOR_DB = -80.0  # under the loudest bin of the reference: what is softer is not heard beside it
LOUDNESS_WEIGHT_PER_LU = 0.05


@lru_cache(maxsize=8)
def _mel_matrix(n_fft: int, sample_rate_hz: float) -> Any:
    with tf.init_scope():
        return tf.signal.linear_to_mel_weight_matrix(
            N_MEL, n_fft // 2 + 1, sample_rate_hz, LOWEST_HZ, 0.49 * sample_rate_hz
        )


def _mels(x: tf.Tensor, n_fft: int, sample_rate_hz: float) -> tf.Tensor:
    """Return mel magnitudes of left, right, middle and side of ``(..., 2, n_frames)``: ``(..., 4, n_hops, n_mel)``."""
    spectra = tf.signal.stft(x, n_fft, n_fft // 4, n_fft)
    left, right = spectra[..., 0, :, :], spectra[..., 1, :, :]
    sides = tf.stack([left, right, (left + right) / 2, (left - right) / 2], axis=-3)
    power = tf.square(tf.math.real(sides)) + tf.square(tf.math.imag(sides))
    return tf.sqrt(tf.matmul(power, _mel_matrix(n_fft, sample_rate_hz)) + 1e-16)


def spectral_loss(mix: tf.Tensor, reference: tf.Tensor, sample_rate_hz: float) -> tf.Tensor:
    """Return the distance of each item, shape ``(...)``, of mixes ``(..., 2, n_frames)``; 0 for equal ones."""
    total = tf.zeros(mix.shape[:-2])
    for n_fft in FFT_FRAMES:
        heard, wanted = _mels(mix, n_fft, sample_rate_hz), _mels(reference, n_fft, sample_rate_hz)
        loudest = tf.reduce_max(wanted, axis=[-3, -2, -1], keepdims=True)
        floor = tf.maximum(loudest * 10 ** (FLOOR_DB / 20), 1e-8)
        log_distance = tf.reduce_mean(tf.abs(tf.math.log(heard + floor) - tf.math.log(wanted + floor)), axis=[-2, -1])
        energy = tf.reduce_sum(tf.square(wanted), axis=[-2, -1])
        # A side as good as silent is judged against the whole item, not against itself.
        scale = tf.maximum(energy, 1e-3 * tf.reduce_max(energy, axis=-1, keepdims=True)) + 1e-12
        error = tf.reduce_sum(tf.square(heard - wanted), axis=[-2, -1])
        convergence = tf.sqrt(error / scale + 1e-12) - 1e-6
        total += tf.reduce_sum((convergence + log_distance) * tf.constant(SIDE_WEIGHTS), axis=-1)
    return total / len(FFT_FRAMES)


def mix_loss(mix: tf.Tensor, reference: tf.Tensor, sample_rate_hz: float) -> tf.Tensor:
    """Return spectral and loudness distance of each item, shape ``(...)``."""
    off_lu = integrated_lufs(mix, sample_rate_hz) - integrated_lufs(reference, sample_rate_hz)
    return spectral_loss(mix, reference, sample_rate_hz) + LOUDNESS_WEIGHT_PER_LU * tf.abs(off_lu)


def audio_loss(
    params: Strip, stems: tf.Tensor, reference_mix: tf.Tensor, sample_rate_hz: float = 48000.0, **options: Any
) -> tf.Tensor:
    """Return how far the mix that ``params`` make of ``stems`` is from ``reference_mix``, per item.

    Parameters
    ----------
    params
        Fields ``(..., n_channels)``.
    stems
        float32 ``(..., n_channels, n_sides, n_frames)``.
    reference_mix
        float32 ``(..., 2, n_frames)``.
    options
        As ``mixed`` takes them.
    """
    return mix_loss(mixed(params, stems, sample_rate_hz, **options), reference_mix, sample_rate_hz)
