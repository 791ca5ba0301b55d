"""What kernel tests measure with, and the promises that every bank keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import Kernel

ODD_BLOCKS = (1, 7, 32, 64, 480)


def error_db(actual: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Return the RMS of the difference relative to the RMS of ``expected``, in dB."""
    difference = np.asarray(actual, np.float64) - np.asarray(expected, np.float64)
    reference = np.sqrt(np.mean(np.square(expected, dtype=np.float64)))
    return float(20 * np.log10(max(np.sqrt(np.mean(difference**2)), 1e-30) / max(reference, 1e-30)))


def level_dbfs(x: NDArray[np.floating]) -> float:
    """Return the RMS level."""
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-30))


def assert_bit_equal(actual: NDArray[np.float32], expected: NDArray[np.float32], what: str) -> None:
    """Fail, naming the first difference, unless both hold the same bits."""
    same = actual.view(np.uint32) == expected.view(np.uint32)
    if not same.all():
        first = tuple(int(i) for i in np.argwhere(~same)[0])
        raise AssertionError(f"{what}: first difference at {first}: {actual[first]!r} is not {expected[first]!r}")


def white_noise(n_frames: int, n_lanes: int, level_rms_dbfs: float = -18.0, seed: int = 1) -> NDArray[np.float32]:
    """Return independent Gaussian noise, shape ``(n_frames, n_lanes)``."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n_frames, n_lanes)) * 10 ** (level_rms_dbfs / 20)).astype(np.float32)


def assert_keeps_the_bank_promises(
    make: Callable[[], Kernel], x: NDArray[np.float32], *, silent_when_silent: bool = True, out_lanes: int = 0
) -> None:
    """Check what every bank promises, on ``x`` of shape ``(n_frames, n_lanes)``.

    Same bits for every block size; reset equals fresh; in place equals out of place; silence stays silence; denormals
    and full-scale squares stay finite; the buffer's tail is untouched.
    """
    whole = make().process(x, out_lanes=out_lanes)
    assert np.isfinite(whole).all(), "the output is not finite"
    for block in ODD_BLOCKS:
        assert_bit_equal(make().process(x, block, out_lanes=out_lanes), whole, f"blocks of {block} frames")
    used = make()
    used.process(x[::-1].copy(), out_lanes=out_lanes)
    used.call("reset")
    fresh = make()
    fresh.call("reset")
    assert_bit_equal(
        used.process(x, out_lanes=out_lanes), fresh.process(x, out_lanes=out_lanes), "reset differs from fresh"
    )
    if not out_lanes:
        _assert_in_place_and_tail(make, x, whole)
    if silent_when_silent:
        silence = np.zeros_like(x)
        assert not make().process(silence, out_lanes=out_lanes).any(), "silence does not stay silence"
    squares = np.where(np.arange(len(x)) // 50 % 2, 1.0, -1.0)[:, None] * np.ones(x.shape[1])
    for name, hostile in (("denormals", np.full_like(x, 1e-40)), ("full-scale squares", squares.astype(np.float32))):
        assert np.isfinite(make().process(hostile, out_lanes=out_lanes)).all(), f"{name} do not stay finite"


def _assert_in_place_and_tail(make: Callable[[], Kernel], x: NDArray[np.float32], whole: NDArray[np.float32]) -> None:
    kernel = make()
    buffer = np.concatenate([x, np.full((8, x.shape[1]), 7.0, np.float32)])
    pointer = kernel.pointer(buffer)
    kernel.call("process", pointer, pointer, len(x))
    assert_bit_equal(buffer[: len(x)], whole, "in place differs from out of place")
    assert (buffer[len(x) :] == 7.0).all(), "wrote behind the block"
