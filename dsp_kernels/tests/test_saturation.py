"""The saturation: what the header promises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import gain as reference_gain
from dsp_kernels.reference import saturation as reference
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0
DRIVES_DB = (0.0, 3.0, 6.0, 9.0, 12.0, 16.0, 20.0, 24.0)
TONES_HZ = (1237, 3001, 4999, 7013, 9973)
WON_DB = {1237: 14.0, 3001: 14.0, 4999: 16.0, 7013: 15.0, 9973: 16.0}  # measured: 14.5 dB at the least


def make(library: Library, drives_db: tuple[float, ...] = DRIVES_DB, mix_percent: float = 100.0) -> Kernel:
    kernel = Kernel(library, "saturation", RATE_HZ, 8, size_arguments=(8,))
    for lane, drive_db in enumerate(drives_db):
        values = {"is_on": 1.0, "drive_db": drive_db, "mix_percent": mix_percent}
        kernel.call("set", lane, kernel.params("saturation", **values))
    kernel.call("reset")  # all ramps at their end
    return kernel


def lin(gain_db: float) -> float:
    return float(10 ** (gain_db / 20))


def tone(freq_hz: int, level_dbfs: float = 0.0) -> NDArray[np.float32]:
    """Return two seconds on eight lanes; whole periods, so that one second's spectrum has no leakage."""
    x = lin(level_dbfs) * np.sin(2 * np.pi * freq_hz * np.arange(96000) / RATE_HZ)
    return np.repeat(x[:, None], 8, axis=1).astype(np.float32)


def amplitudes(y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the amplitude at each hertz of the last second."""
    return np.abs(np.fft.rfft(np.asarray(y[-48000:], np.float64))) / 24000


def alias_dbfs(y: NDArray[np.floating], freq_hz: int) -> float:
    """Return the level of all that is neither the tone, nor a harmonic, nor constant."""
    is_alias = np.ones(24001, bool)
    is_alias[::freq_hz] = False
    return float(10 * np.log10(np.sum(amplitudes(y)[is_alias] ** 2)))


def test_saturation_keeps_the_bank_promises(library: Library) -> None:
    assert_keeps_the_bank_promises(lambda: make(library), white_noise(2003, 8, -6))


@pytest.mark.parametrize("level_dbfs", [-40.0, -18.0, 0.0])
def test_saturation_matches_its_float64_reference(library: Library, level_dbfs: float) -> None:
    x = white_noise(9600, 8, level_dbfs)
    y = make(library).process(x, 64)
    for lane, drive_db in enumerate(DRIVES_DB):
        assert error_db(y[:, lane], reference.saturate(x[:, lane], lin(drive_db))) < -110, f"drive {drive_db} dB"


def test_equal_neighbours_do_not_break_the_quotient(library: Library) -> None:
    # Slow and constant signals: where float32 would divide rounding noise by nothing.
    slow = np.sin(2 * np.pi * np.arange(24000) / 48000)
    for x in (slow, np.round(slow * 64) / 64, np.full(24000, 0.9), slow * 1e-4):
        x8 = np.repeat(x[:, None], 8, axis=1).astype(np.float32)
        y = make(library).process(x8)
        for lane, drive_db in enumerate(DRIVES_DB):
            expected = reference.saturate(x8[:, lane], lin(drive_db))
            assert np.abs(y[:, lane] - expected).max() < 3e-7, f"drive {drive_db} dB"


def test_a_constant_lands_on_the_curve(library: Library) -> None:
    levels = np.linspace(-1, 1, 41)
    for level in levels:
        y = make(library).process(np.full((480, 8), level, np.float32))[-1]
        expected = [reference.curve(np.array(level * lin(d)))[()] / lin(d) for d in DRIVES_DB]
        assert np.abs(y - expected).max() < 1e-6


def test_small_signals_pass_without_delay_or_loss(library: Library) -> None:
    x = white_noise(4800, 8, -90.0)
    assert error_db(make(library).process(x)[:, 0], x[:, 0]) < -100
    impulse = np.zeros((100, 8), np.float32)
    impulse[10] = 1e-4
    y = make(library).process(impulse)
    assert (np.argmax(np.abs(y), axis=0) == 10).all()
    assert np.abs(y / 1e-4 - impulse / 1e-4)[:, DRIVES_DB.index(6.0)].max() < 1e-5


@pytest.mark.parametrize("freq_hz", TONES_HZ)
@pytest.mark.parametrize("level_dbfs", [0.0, -12.0])
def test_aliases_are_well_under_those_of_the_bare_curve(library: Library, freq_hz: int, level_dbfs: float) -> None:
    x = tone(freq_hz, level_dbfs)
    y = make(library).process(x)
    for lane, drive_db in enumerate(DRIVES_DB):
        naive = reference.curve(x[:, lane].astype(np.float64) * lin(drive_db)) / lin(drive_db)
        naive_dbfs, ours_dbfs = alias_dbfs(naive, freq_hz), alias_dbfs(y[:, lane], freq_hz)
        # Under -95 dBFS these are no aliases any more but the ripple of k, which follows the signal every 16 frames.
        assert ours_dbfs < max(naive_dbfs - WON_DB[freq_hz], -95), (
            f"drive {drive_db} dB: {naive_dbfs:.1f} to {ours_dbfs:.1f} dBFS"
        )


@pytest.mark.parametrize("freq_hz", TONES_HZ)
def test_treble_is_saturated_like_the_rest(library: Library, freq_hz: int) -> None:
    x = tone(freq_hz)
    y = make(library).process(x)
    for lane, drive_db in enumerate(DRIVES_DB):
        naive = reference.curve(x[:, lane].astype(np.float64) * lin(drive_db)) / lin(drive_db)
        off_db = 20 * np.log10(amplitudes(y[:, lane])[freq_hz] / amplitudes(naive)[freq_hz])
        assert abs(off_db) < 0.4, f"drive {drive_db} dB"


def test_drive_and_mix_ramp_as_the_contract_says(library: Library) -> None:
    x = white_noise(9600, 8, -12.0)
    kernel = make(library, (6.0,) * 8)
    for lane in range(8):  # one ramp for each vector of four
        kernel.call("set", lane, kernel.params("saturation", is_on=1, drive_db=18.0, mix_percent=50.0))
    drive = reference_gain.ramp(lin(6), lin(18), 2400, 9600)
    mix = reference_gain.ramp(1.0, 0.5, 2400, 9600)
    y = kernel.process(x, 7)
    assert error_db(y[:, 0], reference.saturate(x[:, 0], drive, mix)) < -100


def test_saturation_off_passes_every_bit(library: Library) -> None:
    x = white_noise(3000, 8)
    x[::7] = -0.0
    fresh = Kernel(library, "saturation", RATE_HZ, 8, size_arguments=(8,))
    assert_bit_equal(fresh.process(x, 7), x, "off from the start")

    def switched(block: int) -> NDArray[np.float32]:
        kernel = make(library)
        out = [kernel.process(x, block)]
        for is_on in (0.0, 1.0):
            for lane in range(8):
                kernel.call("set", lane, kernel.params("saturation", is_on=is_on))
            out.append(kernel.process(x, block))
        return np.concatenate(out)

    whole = switched(3000)
    assert_bit_equal(whole[3960:6000], x[960:], "20 ms after switching off")
    for block in (1, 7, 64):
        assert_bit_equal(switched(block), whole, f"blocks of {block} frames")


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_nan_stays_in_its_lane_and_reset_heals_it(library: Library, poison: float) -> None:
    x = white_noise(2000, 8)
    bad = x.copy()
    bad[500:520, 1] = poison
    kernel = make(library)
    clean, dirty = make(library).process(x), kernel.process(bad)
    others = [0, 2, 3, 4, 5, 6, 7]
    assert_bit_equal(dirty[:, others].copy(), clean[:, others].copy(), "the other lanes")
    kernel.call("reset_lane", 1)
    assert np.isfinite(kernel.process(x)).all()


def test_saturation_refuses_what_it_cannot_do(library: Library) -> None:
    with pytest.raises(KernelError, match="sample rate"):
        Kernel(library, "saturation", 100.0, 8, size_arguments=(8,))
    with pytest.raises(KernelError, match="lanes"):
        Kernel(library, "saturation", RATE_HZ, 6, size_arguments=(8,))
