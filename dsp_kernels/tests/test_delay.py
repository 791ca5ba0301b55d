"""The delay: echoes on the beat, from side to side, each darker, and changes that do not click."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import delay as reference
from dsp_kernels.tests.measures import ODD_BLOCKS, assert_bit_equal, error_db, white_noise

RATE_HZ = 48000.0
DIVISIONS = list(reference.QUARTERS)
Audio = NDArray[np.float32]


def make(library: Library, rate_hz: float = RATE_HZ, **settings: float) -> Kernel:
    kernel = Kernel(library, "delay", rate_hz, size_arguments=(rate_hz,))
    kernel.call("set", kernel.params("delay", **settings))
    kernel.call("reset")
    return kernel


def render(kernel: Kernel, x: Audio, block: int | None = None) -> Audio:
    return kernel.process(x.reshape(-1, 1), block, out_lanes=2)


def noise(n_frames: int, seed: int = 1) -> Audio:
    return white_noise(n_frames, 1, seed=seed)[:, 0]


def impulse(n_frames: int) -> Audio:
    x = np.zeros(n_frames, np.float32)
    x[0] = 1.0
    return x


@pytest.mark.parametrize("division", DIVISIONS)
@pytest.mark.parametrize("tempo_bpm", [40.0, 97.0, 240.0])
def test_echo_comes_on_the_note(library: Library, division: str, tempo_bpm: float) -> None:
    y = render(make(library, tempo_bpm=tempo_bpm, division=DIVISIONS.index(division)), impulse(73000))
    expected = round(60 / tempo_bpm * reference.QUARTERS[division] * RATE_HZ)
    assert np.flatnonzero(y[:, 0])[0] == expected
    assert y[expected, 0] == 1.0


@pytest.mark.parametrize("is_ping_pong", [0, 1])
@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_delay_matches_its_float64_reference(library: Library, rate_hz: float, is_ping_pong: int) -> None:
    x = noise(100000)
    settings = reference.Settings(
        tempo_bpm=137.0, division="sixteenth", feedback_percent=80.0, is_ping_pong=bool(is_ping_pong), level_db=-3.0
    )
    y = render(
        make(library, rate_hz, tempo_bpm=137, division=4, feedback_percent=80, is_ping_pong=is_ping_pong, level_db=-3),
        x,
    )
    assert error_db(y, reference.delay(x, rate_hz, settings)) < -90


def test_ping_pong_alternates_and_the_other_way_stands_in_the_middle(library: Library) -> None:
    y = render(make(library, feedback_percent=50.0, high_cut_hz=16000.0), impulse(60000))
    energy = np.array([np.sum(y[n * 12000 : n * 12000 + 2000] ** 2, axis=0) for n in range(1, 5)])
    assert (energy[[0, 2], 1] == 0).all()
    assert (energy[[1, 3], 0] == 0).all()
    assert (energy[[0, 2], 0] > 0).all()
    middle = render(make(library, is_ping_pong=0), impulse(60000))
    assert np.array_equal(middle[:, 0], middle[:, 1])


def test_each_echo_is_darker(library: Library) -> None:
    y = render(make(library, feedback_percent=90.0, is_ping_pong=0, high_cut_hz=4000.0), impulse(60000))[:, 0]
    spectra = [np.abs(np.fft.rfft(y[n * 12000 : n * 12000 + 4800])) for n in range(1, 5)]
    for before, after in pairwise(spectra):
        assert after[1] / before[1] == pytest.approx(0.9, abs=0.01)
        assert after[400] / before[400] == pytest.approx(0.9 / np.sqrt(2), abs=0.01)  # 3 dB at the corner


@pytest.mark.parametrize("block", ODD_BLOCKS)
def test_output_does_not_depend_on_the_block_size_while_everything_moves(library: Library, block: int) -> None:
    x = noise(50000)

    def moving(block: int) -> Audio:
        kernel, parts = make(library, tempo_bpm=230, division=4), []
        start = {"tempo_bpm": 230.0, "division": 4.0}
        changes: list[dict[str, float]] = [
            {"tempo_bpm": 240},
            {"division": 1, "is_ping_pong": 0},
            {"level_db": -90},
            {},
            {"high_cut_hz": 1e3},
        ]
        for i, change in enumerate(changes):
            kernel.call("set", kernel.params("delay", **(start | change)))
            parts.append(render(kernel, x[i * 9777 : (i + 1) * 9777], block))
        return np.concatenate(parts)

    assert_bit_equal(moving(block), moving(9777), f"blocks of {block} frames")


@pytest.mark.parametrize(
    "change",
    [
        {"tempo_bpm": 131.0},
        {"division": 0},
        {"feedback_percent": 80.0},
        {"high_cut_hz": 1000.0},
        {"is_ping_pong": 0},
        {"level_db": -12.0},
    ],
)
def test_a_change_does_not_click(library: Library, change: dict[str, float]) -> None:
    # A click is broad: watch above 6 kHz while a 400 Hz tone sounds.
    x = (0.5 * np.sin(2 * np.pi * 400 * np.arange(144000) / RATE_HZ)).astype(np.float32)
    kernel = make(library)
    before = render(kernel, x[:120000])
    kernel.call("set", kernel.params("delay", **change))
    y = np.concatenate([before, render(kernel, x[120000:])])
    high = sosfilt(butter(8, 6000, "highpass", fs=RATE_HZ, output="sos"), y, axis=0)
    assert 20 * np.log10(np.abs(high[119000:]).max() / np.abs(y).max()) < -75


def test_a_new_tempo_is_reached_after_the_crossfade(library: Library) -> None:
    kernel = make(library, feedback_percent=0.0)
    render(kernel, np.zeros(1000, np.float32))
    kernel.call("set", kernel.params("delay", feedback_percent=0.0, tempo_bpm=100.0))
    render(kernel, np.zeros(5000, np.float32))
    assert list(np.flatnonzero(render(kernel, impulse(30000))[:, 0])) == [14400]


def test_off_is_silent_and_forgets(library: Library) -> None:
    kernel = make(library, feedback_percent=90.0)
    render(kernel, noise(48000))
    kernel.call("set", kernel.params("delay", feedback_percent=90.0, level_db=-90.0))
    fading = render(kernel, noise(4800))
    assert fading[:2300].any()
    assert not fading[2400:].any()
    kernel.call("set", kernel.params("delay", feedback_percent=90.0))
    assert not render(kernel, np.zeros(96000, np.float32)).any()


def test_silence_stays_silence_and_echoes_end(library: Library) -> None:
    assert not render(make(library), np.zeros(50000, np.float32)).any()
    kernel = make(library, feedback_percent=20.0, tempo_bpm=240.0)
    render(kernel, noise(1000))
    tail = render(kernel, np.zeros(200000, np.float32), 480)
    assert tail[:24000].any()
    assert not tail[-6000:].any()
    x = noise(20000)
    fresh = render(make(library, feedback_percent=20.0, tempo_bpm=240.0), x)
    assert_bit_equal(render(kernel, x), fresh, "did not come back from rest as new")


def test_the_loop_dies_out_even_when_asked_for_more_than_everything(library: Library) -> None:
    kernel = make(library, feedback_percent=200.0, tempo_bpm=240.0, division=4)
    loud = np.abs(render(kernel, noise(48000))).max()
    assert np.abs(render(kernel, np.zeros(480000, np.float32))[-3000:]).max() < 0.1 * loud


def test_reset_equals_fresh(library: Library) -> None:
    x, used = noise(60000), make(library)
    render(used, noise(54321, seed=4))
    used.call("reset")
    assert_bit_equal(render(used, x), render(make(library), x), "reset differs from fresh")


@pytest.mark.parametrize("hostile", [np.nan, np.inf, 1e-40])
def test_nothing_hostile_circulates(library: Library, hostile: float) -> None:
    x = noise(60000)
    x[3000:3100] = hostile
    y = render(make(library, feedback_percent=90.0), x)
    assert np.isfinite(y).all()
    assert np.abs(y).max() < 10


def test_delay_refuses_a_wrong_rate(library: Library) -> None:
    with pytest.raises(KernelError, match="sample rate"):
        make(library, 4000.0)
