"""Chroma: names the pitch class of a tone and the three of a triad, whatever the level, the rate or the blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.build_ffi import SOURCE_DIR, build_library
from dsp_kernels.native import Kernel, KernelError, Library, opened
from dsp_kernels.reference import chroma as reference
from dsp_kernels.tests.measures import ODD_BLOCKS, white_noise

RATE_HZ = 48000.0
C2, B6 = 36, 95


class Chroma:
    """An ``eh_chroma``."""

    def __init__(self, library: Library, rate_hz: float = RATE_HZ) -> None:
        self.kernel = Kernel(library, "chroma", rate_hz)

    def hear(self, x: NDArray[np.floating], block: int = 0) -> NDArray[np.float32]:
        """Return the chroma behind ``x``, ``(n_frames,)`` or ``(n_frames, n_lanes)``."""
        lanes = np.zeros((len(x), 4), np.float32) if x.ndim == 1 else np.ascontiguousarray(x, np.float32)
        if x.ndim == 1:
            lanes[:, 2] = x
        for start in range(0, len(x), block or len(x)):
            part = lanes[start : start + (block or len(x))]
            self.kernel.call("process", self.kernel.pointer(part), lanes.shape[1], len(part))
        out = np.zeros(12, np.float32)
        self.kernel.call("read", self.kernel.pointer(out))
        return out


def tone(*midi: float, rate_hz: float = RATE_HZ, duration_s: float = 1.0, level_lin: float = 0.1) -> NDArray:
    t = np.arange(int(duration_s * rate_hz)) / rate_hz
    return level_lin * sum(np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * t + note) for note in midi)


@pytest.mark.parametrize("rate_hz", [8000.0, 44100.0, 48000.0, 96000.0])
def test_a_tone_of_any_pitch_from_65_hz_to_2_khz_is_its_own_maximum(library: Library, rate_hz: float) -> None:
    for note in range(C2, B6 + 1):
        heard = Chroma(library, rate_hz).hear(tone(note, rate_hz=rate_hz))
        assert heard.argmax() == note % 12, f"note {note} reads as {heard.argmax()}"
        assert heard[note % 12] == 1.0
        assert np.delete(heard, note % 12).max() < 0.35  # the neighbours are 20 dB down, and five octaves add


@pytest.mark.parametrize("cents", [-35.0, 35.0])
def test_a_tone_out_of_tune_by_a_third_of_a_semitone_keeps_its_class(library: Library, cents: float) -> None:
    for note in range(C2, B6 + 1):
        assert Chroma(library).hear(tone(note + cents / 100)).argmax() == note % 12


@pytest.mark.parametrize("octave", [3, 4, 5])
@pytest.mark.parametrize("root", range(12))
def test_a_major_triad_has_its_three_classes_on_top(library: Library, root: int, octave: int) -> None:
    notes = [12 * (octave + 1) + root + step for step in (0, 4, 7)]
    heard = Chroma(library).hear(tone(*notes))
    assert set(np.argsort(heard)[-3:]) == {note % 12 for note in notes}


def test_it_matches_its_reference(library: Library) -> None:
    chord = tone(48, 55, 64.3, 70) + white_noise(48000, 1)[:, 0]
    for rate_hz in (8000.0, 44100.0, RATE_HZ, 192000.0):
        assert np.abs(Chroma(library, rate_hz).hear(chord) - reference.chroma(chord, rate_hz)).max() < 2e-4


def test_level_does_not_matter_and_silence_is_zero(library: Library) -> None:
    quiet, loud = (Chroma(library).hear(tone(60, 64, level_lin=g)) for g in (0.001, 0.9))
    assert np.abs(quiet - loud).max() < 1e-5
    chroma = Chroma(library)
    assert not chroma.hear(np.zeros(1000)).any()
    chroma.hear(tone(60))
    assert not chroma.hear(np.zeros(6 * 48000)).any(), "silence after sound is not silence"
    assert not Chroma(library).hear(np.full(48000, 1e-40)).any(), "denormals sound"


def test_lanes_are_summed(library: Library) -> None:
    lanes = np.zeros((48000, 8))
    lanes[:, 1], lanes[:, 6] = tone(60), tone(67)
    assert np.abs(Chroma(library).hear(lanes) - Chroma(library).hear(tone(60) + tone(67))).max() < 1e-5


def test_blocks_do_not_matter_and_reset_equals_fresh(library: Library) -> None:
    x = tone(50, 57) + white_noise(48000, 1)[:, 0]
    whole = Chroma(library).hear(x)
    for block in ODD_BLOCKS:
        assert np.array_equal(Chroma(library).hear(x, block), whole)
    used = Chroma(library)
    used.hear(x[:12345])
    used.kernel.call("reset")
    assert np.array_equal(used.hear(x), whole)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_no_sound_reads_as_silence(library: Library, bad: float) -> None:
    x = tone(60)
    hurt = x.copy()
    hurt[[100, 20000, 47999]] = bad
    hurt_by_silence = np.where(np.abs(hurt) <= 1, hurt, 0.0)
    assert np.array_equal(Chroma(library).hear(hurt), Chroma(library).hear(hurt_by_silence))


@pytest.mark.parametrize("rate_hz", [0.0, float("nan"), 1e6])
def test_it_refuses_a_wrong_rate(library: Library, rate_hz: float) -> None:
    with pytest.raises(KernelError, match="sample rate"):
        Chroma(library, rate_hz)


def test_gcc_and_clang_build_the_same_chroma_to_the_bit(tmp_path: Path) -> None:
    x, heard = tone(50, 57, 66.2) + white_noise(48000, 1)[:, 0], []
    for compiler in ("gcc", "clang"):
        built = build_library(tmp_path / f"{compiler}.so", compiler=compiler, sources=[SOURCE_DIR / "chroma.c"])
        heard.append(Chroma(opened(built)).hear(x))
    assert np.array_equal(heard[0], heard[1])
