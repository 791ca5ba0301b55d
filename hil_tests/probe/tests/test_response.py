"""Responses of filters whose formula is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import freqz, group_delay, lfilter

from ..errors import ProbeError
from ..response import TAIL_S, Response, measure_response
from ..signals import sweep
from .paths import RATE_HZ, delayed, high_pass, peaking, with_noise

SWEEP = sweep(RATE_HZ, 2.0)
TAIL_FRAMES = round(TAIL_S * RATE_HZ)
MAX_ERROR_DB = 0.05
Path = tuple[np.ndarray, np.ndarray]


def chained(first: Path, then: Path) -> Path:
    """Return one filter after another."""
    return np.convolve(first[0], then[0]), np.convolve(first[1], then[1])


FILTERS: dict[str, Path] = {
    "wire": (np.array([1.0]), np.array([1.0])),
    "bell": peaking(1000.0, 6.0, 2.0),
    "narrow notch at 50 Hz": peaking(50.0, -12.0, 8.0),
    "high-pass": high_pass(80.0),
    "fir": (np.array([0.5, 0.3, -0.1, 0.05]), np.array([1.0])),
    "two bells": chained(peaking(40.0, 4.0, 0.7), peaking(9000.0, -5.0, 0.7)),
}


def response_of(path: Path, *, noise_below_db: float | None = None) -> Response:
    recorded = lfilter(*path, delayed(SWEEP, 176, tail_frames=TAIL_FRAMES))
    if noise_below_db is not None:
        recorded = with_noise(recorded, noise_below_db)
    return measure_response(SWEEP, recorded, RATE_HZ, where="input 0")


@pytest.mark.parametrize("name", FILTERS)
def test_magnitude_phase_and_delay_are_those_of_the_formula(name: str) -> None:
    found = response_of(FILTERS[name])
    assert (found.freq_hz[0], found.freq_hz[-1]) == (pytest.approx(20.0, abs=0.3), pytest.approx(20000.0, abs=0.3))
    _, ideal = freqz(*FILTERS[name], worN=found.freq_hz, fs=RATE_HZ)
    assert np.max(np.abs(found.magnitude_db - 20 * np.log10(np.abs(ideal)))) < MAX_ERROR_DB
    turned = ideal * np.exp(-2j * np.pi * found.freq_hz * (176 - found.latency_frames) / RATE_HZ)
    assert np.max(np.abs(np.angle(np.exp(1j * found.phase_rad) / turned))) < 0.01
    _, delay_frames = group_delay(FILTERS[name], w=found.freq_hz, fs=RATE_HZ)
    assert np.max(np.abs(found.group_delay_ms - 1000 * (176 + delay_frames) / RATE_HZ)) < 0.05


def test_noise_60_db_under_the_sweep_leaves_the_response_right() -> None:
    found = response_of(FILTERS["bell"], noise_below_db=60.0)
    _, ideal = freqz(*FILTERS["bell"], worN=found.freq_hz, fs=RATE_HZ)
    error_db = np.abs(found.magnitude_db - 20 * np.log10(np.abs(ideal)))
    assert np.max(error_db) < MAX_ERROR_DB
    assert np.mean(error_db <= found.uncertainty_db) > 0.95, "the uncertainty that is told is too small"


def test_distortion_of_the_path_does_not_change_the_response() -> None:
    recorded = delayed(SWEEP, 176, tail_frames=TAIL_FRAMES)
    found = measure_response(SWEEP, recorded + 0.2 * recorded**3, RATE_HZ)
    compressed_db = 20 * np.log10(1 + 0.2 * 0.75 * np.max(np.abs(SWEEP)) ** 2)  # of the fundamental itself
    assert np.max(np.abs(found.magnitude_db - compressed_db)) < MAX_ERROR_DB


def test_half_a_db_shows_in_the_figures() -> None:
    found = measure_response(SWEEP, 10 ** (-0.5 / 20) * delayed(SWEEP, 9, tail_frames=TAIL_FRAMES), RATE_HZ)
    assert found.figures()["at_1khz_db"] == pytest.approx(-0.5, abs=0.005)
    assert "-0.50 dB at 1 kHz" in found.line()


def test_noise_that_hides_the_response_is_refused() -> None:
    with pytest.raises(ProbeError, match=r"input 0: noise leaves the response unsure by .* dB at \d+ Hz"):
        response_of(FILTERS["high-pass"], noise_below_db=15.0)


def test_a_recording_without_a_tail_is_refused() -> None:
    with pytest.raises(ProbeError, match="frames are too few"):
        measure_response(SWEEP, delayed(SWEEP, 10, tail_frames=1000), RATE_HZ)
