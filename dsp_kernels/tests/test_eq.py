"""Equaliser sections: exact to -90 dB, gentle on ramps, free where flat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import sosfilt, sosfreqz

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import eq as reference_eq
from dsp_kernels.reference.eq import BELL, FLAT, HIGH_PASS, HIGH_SHELF, LOW_SHELF, TILT, Design
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0
FLOOR_DB = -90.0  # engine.md section 7
BUTTERWORTH_Q = 0.70703125  # of the values here each is exact in float32, so that both sides design the same filter

DESIGNS = {
    "high-pass 20 Hz": Design(type=HIGH_PASS, freq_hz=20, q=BUTTERWORTH_Q),
    "high-pass 40 Hz": Design(type=HIGH_PASS, freq_hz=40, q=BUTTERWORTH_Q),
    "high-pass 80 Hz": Design(type=HIGH_PASS, freq_hz=80, q=BUTTERWORTH_Q),
    "bell 20 Hz Q 30 +18": Design(type=BELL, freq_hz=20, gain_db=18, q=30),
    "bell 30 Hz Q 8 +12": Design(type=BELL, freq_hz=30, gain_db=12, q=8),
    "bell 60 Hz Q 8 -12": Design(type=BELL, freq_hz=60, gain_db=-12, q=8),
    "bell 100 Hz Q 30 -18": Design(type=BELL, freq_hz=100, gain_db=-18, q=30),
    "bell 200 Hz Q 4 +6": Design(type=BELL, freq_hz=200, gain_db=6, q=4),
    "bell 1 kHz Q 2 -6": Design(type=BELL, freq_hz=1000, gain_db=-6, q=2),
    "bell 8 kHz Q 1 +6": Design(type=BELL, freq_hz=8000, gain_db=6, q=1),
    "low shelf 80 Hz +12": Design(type=LOW_SHELF, freq_hz=80, gain_db=12, q=0.75),
    "low shelf 200 Hz -12": Design(type=LOW_SHELF, freq_hz=200, gain_db=-12, q=0.75),
    "high shelf 8 kHz +12": Design(type=HIGH_SHELF, freq_hz=8000, gain_db=12, q=0.75),
    "high shelf 5 kHz -12": Design(type=HIGH_SHELF, freq_hz=5000, gain_db=-12, q=0.75),
    "tilt 800 Hz +6": Design(type=TILT, freq_hz=800, gain_db=6),
    "tilt 800 Hz -6": Design(type=TILT, freq_hz=800, gain_db=-6),
}


def set_section(eq: Kernel, lane: int, section: int, design: Design, ramp_ms: float = 20.0) -> None:
    fields = {name: getattr(design, name) for name in ("type", "freq_hz", "gain_db", "q")}
    eq.call("set", lane, section, eq.ffi.new("eh_section_design *", fields), ramp_ms)


def empty(library: Library, n_lanes: int = 8, n_sections: int = 4, rate_hz: float = RATE_HZ) -> Kernel:
    return Kernel(library, "eq", rate_hz, n_lanes, n_sections, size_arguments=(n_lanes, n_sections))


def one_design_a_lane(library: Library, rate_hz: float = RATE_HZ) -> Kernel:
    eq = empty(library, len(DESIGNS), 1, rate_hz)
    for lane, design in enumerate(DESIGNS.values()):
        set_section(eq, lane, 0, design)
    eq.call("reset")
    return eq


def busy(library: Library) -> Kernel:
    """Return a bank with every kind of loop: shared and mixed vectors, ramps that end at different frames, gaps."""
    eq = empty(library, 12, 9)
    designs = list(DESIGNS.values())
    for lane in range(4):
        set_section(eq, lane, 0, designs[0])
        for section in range(1, 7):
            set_section(eq, lane, section, designs[3 + section])
        set_section(eq, 4 + lane, 8, designs[10 + lane])
    set_section(eq, 5, 2, designs[4])
    eq.call("reset")
    set_section(eq, 1, 3, Design(type=FLAT), 5.0)
    set_section(eq, 4, 5, designs[6], 11.0)
    set_section(eq, 5, 2, Design(type=FLAT), 7.0)
    set_section(eq, 6, 8, designs[1], 30.0)
    return eq


def cookbook(design: Design, rate_hz: float) -> NDArray[np.float64]:
    """Return the second-order section of Bristow-Johnson's Audio EQ Cookbook."""
    w, a, gain_db, q = 2 * np.pi * design.freq_hz / rate_hz, 10 ** (design.gain_db / 40), design.gain_db, design.q
    scale, kind = 1.0, design.type
    if kind == TILT:
        kind, a, q, scale = HIGH_SHELF, 10 ** (gain_db / 20), 0.5, 10 ** (-gain_db / 20)
    cos, alpha = np.cos(w), np.sin(w) / (2 * q)
    if kind == BELL:
        taps = [1 + alpha * a, -2 * cos, 1 - alpha * a, 1 + alpha / a, -2 * cos, 1 - alpha / a]
    elif kind == HIGH_PASS:
        taps = [(1 + cos) / 2, -(1 + cos), (1 + cos) / 2, 1 + alpha, -2 * cos, 1 - alpha]
    else:
        sign = 1 if kind == LOW_SHELF else -1
        plus, minus, root = a + 1, (a - 1) * sign, 2 * np.sqrt(a) * alpha
        taps = [
            a * (plus - minus * cos + root), 2 * a * sign * ((a - 1) - (a + 1) * sign * cos),
            a * (plus - minus * cos - root),
            plus + minus * cos + root, -2 * sign * ((a - 1) + (a + 1) * sign * cos), plus + minus * cos - root,
        ]  # fmt: skip
    section = np.array(taps) / taps[3]
    section[:3] *= scale
    return section


def low_tones_and_rumble(n_frames: int, rate_hz: float) -> dict[str, NDArray[np.float32]]:
    """Return what is hard for a filter: white noise, integrated noise, and each lane's own frequency."""
    n_lanes = len(DESIGNS)
    rumble = np.cumsum(white_noise(n_frames, n_lanes), axis=0)
    freqs_hz = np.array([d.freq_hz for d in DESIGNS.values()])
    tones = 0.25 * np.sin(2 * np.pi * freqs_hz * np.arange(n_frames)[:, None] / rate_hz)
    return {
        "white noise": white_noise(n_frames, n_lanes),
        "rumble": (0.5 * rumble / np.abs(rumble).max()).astype(np.float32),
        "its own frequency": tones.astype(np.float32),
    }


def test_eq_keeps_the_bank_promises(library: Library) -> None:
    assert_keeps_the_bank_promises(lambda: busy(library), white_noise(2500, 12))


@pytest.mark.parametrize("names", [["high-pass 80 Hz"], list(DESIGNS)[3:7], [*list(DESIGNS)[:2], *list(DESIGNS)[7:12]]])
def test_neighbours_with_equal_sections_get_the_bits_that_each_gets_alone(library: Library, names: list[str]) -> None:
    """Some loops take several vectors at once, also while the sections of others change."""
    n_lanes, x = 44, white_noise(900, 44)
    together, alone = empty(library, n_lanes, 9), [empty(library, 4, 9) for _ in range(n_lanes // 4)]
    for lane in range(n_lanes):
        is_moved = lane // 4 in (2, 9)  # the same sections in other places
        for section, name in enumerate(names):
            design = replace(DESIGNS[name], freq_hz=DESIGNS[name].freq_hz + lane)
            set_section(together, lane, section + is_moved, design)
            set_section(alone[lane // 4], lane % 4, section + is_moved, design)
    for eq in (together, *alone):
        eq.call("reset")
    for start in range(0, 900, 100):
        if start in (300, 600):
            design = Design(type=FLAT) if start == 600 else DESIGNS["bell 1 kHz Q 2 -6"]
            set_section(together, 13, 8, design, 3.0)
            set_section(alone[3], 1, 8, design, 3.0)
        part = np.ascontiguousarray(x[start : start + 100])
        each = [a.process(np.ascontiguousarray(part[:, 4 * i : 4 * i + 4])) for i, a in enumerate(alone)]
        assert_bit_equal(together.process(part), np.concatenate(each, axis=1), f"from frame {start}")


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_eq_matches_its_float64_reference(library: Library, rate_hz: float) -> None:
    coefficients = np.array([reference_eq.section(d, rate_hz) for d in DESIGNS.values()]).T
    for signal, x in low_tones_and_rumble(int(rate_hz / 3), rate_hz).items():
        y, expected = one_design_a_lane(library, rate_hz).process(x), reference_eq.run(x, coefficients)
        errors_db = {name: error_db(y[:, i], expected[:, i]) for i, name in enumerate(DESIGNS)}
        worst = max(errors_db, key=lambda name: errors_db[name])
        assert errors_db[worst] < FLOOR_DB, f"{worst} on {signal}: {errors_db[worst]:.1f} dB"


@pytest.mark.parametrize("name", DESIGNS)
def test_eq_reference_is_the_cookbook_filter(name: str) -> None:
    x = white_noise(4000, 1)
    y = reference_eq.run(x, np.array(reference_eq.section(DESIGNS[name], RATE_HZ))[:, None])
    assert error_db(y[:, 0], sosfilt([cookbook(DESIGNS[name], RATE_HZ)], x[:, 0].astype(np.float64))) < -180


@pytest.mark.parametrize("name", DESIGNS)
def test_response_is_what_the_cookbook_filter_does(library: Library, name: str) -> None:
    freqs_hz = np.geomspace(5, 23900, 300).astype(np.float32)
    gains_db = np.empty_like(freqs_hz)
    fields = {field: getattr(DESIGNS[name], field) for field in ("type", "freq_hz", "gain_db", "q")}
    eq = empty(library)
    library.lib.eh_section_response_db(
        eq.ffi.new("eh_section_design *", fields), RATE_HZ, eq.pointer(freqs_hz), eq.pointer(gains_db), len(freqs_hz)
    )
    _, response = sosfreqz([cookbook(DESIGNS[name], RATE_HZ)], freqs_hz.astype(np.float64), fs=RATE_HZ)
    np.testing.assert_allclose(gains_db, 20 * np.log10(np.abs(response)), atol=2e-4)


def test_response_of_nonsense_is_finite(library: Library) -> None:
    freqs_hz = np.array([0, -1, 24000, 1e9, np.nan, np.inf], np.float32)
    eq, gains_db = empty(library), np.full(6, np.nan, np.float32)
    for kind in (-1, FLAT, BELL, LOW_SHELF, HIGH_SHELF, HIGH_PASS, TILT, 99):
        for value in (np.nan, np.inf, 0.0, 1e9, -1e9):
            design = eq.ffi.new("eh_section_design *", {"type": kind, "freq_hz": value, "gain_db": value, "q": value})
            library.lib.eh_section_response_db(design, RATE_HZ, eq.pointer(freqs_hz), eq.pointer(gains_db), 6)
            assert np.isfinite(gains_db).all(), (kind, value)
            eq.call("set", 0, 0, design, 1.0)
            assert np.isfinite(eq.process(white_noise(200, 8))).all(), (kind, value)


def test_tilt_turns_about_its_pivot(library: Library) -> None:
    eq, gains_db = empty(library), np.empty(3, np.float32)
    design = eq.ffi.new("eh_section_design *", {"type": TILT, "freq_hz": 800, "gain_db": 4, "q": 9})
    library.lib.eh_section_response_db(
        design, RATE_HZ, eq.pointer(np.array([1, 800, 23999], np.float32)), eq.pointer(gains_db), 3
    )
    np.testing.assert_allclose(gains_db, [-4, 0, 4], atol=0.01)


def test_eq_ramps_as_its_float64_reference(library: Library) -> None:
    n_frames, x = 6000, white_noise(6000, 8)
    before, after = list(DESIGNS.values())[:8], list(DESIGNS.values())[8:]
    eq = empty(library)
    for lane, design in enumerate(before):
        set_section(eq, lane, 1, design)
    eq.call("reset")
    y_before = eq.process(x[:2000])
    for lane, design in enumerate(after):
        set_section(eq, lane, 1, design, 20.0)
    y = np.concatenate([y_before, eq.process(x[2000:])])
    coefficients = np.empty((5, n_frames, 8))
    for lane, (a, b) in enumerate(zip(before, after, strict=True)):
        start, target = reference_eq.section(a, RATE_HZ), reference_eq.section(b, RATE_HZ)
        coefficients[:, :2000, lane] = np.array(start)[:, None]
        coefficients[:, 2000:, lane] = reference_eq.ramp(start, target, 960, 4000)
    expected = reference_eq.run(x, coefficients)
    for lane in range(8):
        assert error_db(y[:, lane], expected[:, lane]) < FLOOR_DB, f"lane {lane}"


def test_eq_fades_in_from_flat_and_back(library: Library) -> None:
    x, design = white_noise(4000, 4), DESIGNS["bell 200 Hz Q 4 +6"]
    eq = empty(library, 4)
    set_section(eq, 2, 0, design, 10.0)
    y_in = eq.process(x[:2000])
    set_section(eq, 2, 0, Design(type=BELL, freq_hz=5000, gain_db=0), 10.0)  # a bell of 0 dB is flat
    y = np.concatenate([y_in, eq.process(x[2000:])])
    on = reference_eq.section(design, RATE_HZ)
    off = on._replace(n0=1.0, n1=0.0, n2=0.0)
    coefficients = np.concatenate(
        [reference_eq.ramp(off, on, 480, 2000), reference_eq.ramp(on, off, 480, 2000)], axis=1
    )[:, :, None]
    assert error_db(y[:, 2], reference_eq.run(x[:, 2:3], coefficients)[:, 0]) < FLOOR_DB
    assert_bit_equal(y[2480:], x[2480:], "flat again")


def test_flat_sections_pass_the_very_bits(library: Library) -> None:
    odd = np.array([np.nan, -0.0, 1e-42, np.inf], np.float32)
    x = np.tile(odd, (64, 2))
    eq = empty(library)
    set_section(eq, 0, 2, DESIGNS["high-pass 80 Hz"])  # the other vector's business
    assert_bit_equal(eq.process(x)[:, 4:], x[:, 4:], "a flat vector")
    assert_bit_equal(empty(library).process(white_noise(100, 8)), white_noise(100, 8), "all flat")


def test_eq_stays_tame_on_any_ramp(library: Library) -> None:
    # Coefficients between two designs belong to no filter anyone designed; energy must not build up in them.
    rng = np.random.default_rng(3)
    kinds = (BELL, LOW_SHELF, HIGH_SHELF, HIGH_PASS, TILT, FLAT)
    eq = empty(library, 8, 1)
    x = white_noise(300 * 48, 8, -20)
    loudest = 0.0
    for block in np.split(x, 300):
        for lane in range(8):
            extremes = {
                "freq_hz": float(np.float32(rng.choice([1, 20, 300, 5000, 23520]))),
                "gain_db": float(rng.choice([-18, -6, 6, 15])),
                "q": float(rng.choice([0.1, 0.7, 30, 200])),
            }
            set_section(eq, lane, 0, Design(type=int(rng.choice(kinds)), **extremes), float(rng.choice([0, 1, 10])))
        loudest = max(loudest, float(np.abs(eq.process(block)).max()))
    for lane in range(8):
        set_section(eq, lane, 0, DESIGNS["bell 1 kHz Q 2 -6"], 0.0)
    after = eq.process(np.zeros((12000, 8), np.float32))
    assert loudest < 100
    assert np.abs(after[-4000:]).max() < 1e-6


def test_ramping_eq_makes_no_clicks(library: Library) -> None:
    # A tone through a bell that sweeps: what appears outside the tone's own band stays 80 dB under it.
    n_frames = 48000
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(n_frames) / RATE_HZ)
    x = np.tile(tone[:, None], (1, 4)).astype(np.float32)
    eq = empty(library, 4)
    y = [eq.process(x[:12000])]
    for step in range(12):
        set_section(eq, 0, 0, Design(type=BELL, freq_hz=400 + 100 * step, gain_db=-6, q=2), 50.0)
        y.append(eq.process(x[12000 + 2400 * step : 14400 + 2400 * step]))
    swept = np.concatenate(y)[:, 0] * np.blackman(40800)
    spectrum_db = 20 * np.log10(np.abs(np.fft.rfft(swept)) + 1e-12)
    freqs_hz = np.fft.rfftfreq(40800, 1 / RATE_HZ)
    assert spectrum_db[np.abs(freqs_hz - 1000) > 500].max() < spectrum_db.max() - 80


def test_decays_reach_zero(library: Library) -> None:
    x = np.zeros((400_000, 4), np.float32)
    x[0] = 1.0
    eq = empty(library, 4, 2)
    for lane, name in enumerate(("high-pass 20 Hz", "bell 100 Hz Q 30 -18", "low shelf 80 Hz +12", "tilt 800 Hz +6")):
        set_section(eq, lane, 1, DESIGNS[name])
    eq.call("reset")
    y = eq.process(x)
    assert np.abs(y[2000]).max() > 0
    assert not y[-1024:].any()


def test_nan_stays_in_its_lane_and_reset_lane_heals_it(library: Library) -> None:
    x = white_noise(3000, 12)
    sick = x.copy()
    sick[500, 2] = np.nan
    sick[700, 5] = np.inf
    eq, well = busy(library), busy(library)
    y, expected = eq.process(sick), well.process(x)
    others = [0, 1, 3, 4, *range(6, 12)]
    assert_bit_equal(y[:, others].copy(), expected[:, others].copy(), "lanes beside the sick ones")
    assert np.isnan(y[-1, 2])
    eq.call("reset_lane", 2)
    eq.call("reset_lane", 5)
    healed = eq.process(x)
    assert np.isfinite(healed).all()
    assert_bit_equal(healed[:, others].copy(), well.process(x)[:, others].copy(), "lanes beside the healed ones")


@pytest.mark.parametrize("arguments", [(100.0, 8, 1), (48000.0, 6, 1), (48000.0, 8, 0), (48000.0, 8, 25)])
def test_eq_refuses_what_it_cannot_do(library: Library, arguments: tuple[float, int, int]) -> None:
    with pytest.raises(KernelError):
        Kernel(library, "eq", *arguments, size_arguments=(8, 25))
