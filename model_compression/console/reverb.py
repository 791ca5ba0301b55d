"""The mixer's reverb as the impulse response that its C kernel gives."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, installed

FAST_PRIMES = (2, 3, 5)


@lru_cache(maxsize=8)
def impulse_response(sample_rate_hz: float, decay_s: float = 1.4) -> NDArray[np.float32]:
    """Return left and right of the wet sound, ``(2, n_frames)``, down to -60 dB, at the contract's other defaults."""
    kernel = Kernel(installed(), "reverb", sample_rate_hz, size_arguments=(sample_rate_hz,))
    kernel.call("set", kernel.params("reverb", decay_s=decay_s))
    kernel.call("reset")
    impulse = np.zeros((int((decay_s + 0.1) * sample_rate_hz), 1), np.float32)
    impulse[0] = 1.0
    return np.ascontiguousarray(kernel.process(impulse, out_lanes=2).T)


def fast_length(n: int) -> int:
    """Return the next length that an FFT likes."""
    while True:
        rest = n
        for prime in FAST_PRIMES:
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and n % 2 == 0:
            return n
        n += 1


def wet(send: tf.Tensor, sample_rate_hz: float, decay_s: float = 1.4) -> tf.Tensor:
    """Return the reverb of ``send`` ``(..., n_frames)``, shape ``(..., 2, n_frames)``."""
    response = impulse_response(sample_rate_hz, decay_s)
    n_frames = send.shape[-1]
    n_fft = fast_length(n_frames + response.shape[1])
    spectrum = tf.signal.rfft(send, [n_fft])[..., None, :] * tf.signal.rfft(tf.constant(response), [n_fft])
    return tf.signal.irfft(spectrum, [n_fft])[..., :n_frames]
