"""Frames that were lost, repeated, zeroed and altered on purpose are found, each at its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from ..dropouts import DropoutFinder, Dropouts, find_dropouts
from ..errors import ProbeError
from ..frame_code import PERIOD_FRAMES, bits, code, coded_frames, places
from ..signals import speech_like
from .paths import RATE_HZ, high_pass, with_noise

MINUTE_FRAMES = 60 * RATE_HZ
FEED_FRAMES = 4800
CLEAN = coded_frames(0, 4 * RATE_HZ).astype(np.float64)


def told(found: Dropouts) -> list[tuple[str, int, int]]:
    return [(s.kind, s.at_frame, s.n_frames) for s in found.slips]


def as_integers(frames: np.ndarray, n_bits: int) -> np.ndarray:
    scale = 2.0 ** (n_bits - 1)
    return np.clip(np.rint(frames * scale), -scale, scale - 1) / scale


def stream(finder: DropoutFinder, n_frames: int, lost_frame: int) -> Dropouts:
    """Feed the signal without one of its frames, in blocks."""
    for start in range(0, n_frames, FEED_FRAMES):
        block = coded_frames(start % PERIOD_FRAMES, FEED_FRAMES)
        finder.feed(np.delete(block, lost_frame - start) if start <= lost_frame < start + FEED_FRAMES else block)
    return finder.finish()


def test_the_code_has_a_place_for_every_twenty_frames() -> None:
    assert int(bits().sum()) == 2**19, "a maximum length sequence has one more 1 than 0"
    assert np.count_nonzero(places() >= 0) == PERIOD_FRAMES
    size = np.abs(code())
    assert np.all(size != np.roll(size, 1)), "a repeated frame would not show"
    assert size.min() == 0.125


def test_a_minute_without_a_fault_has_none() -> None:
    found = find_dropouts(np.concatenate([np.zeros(5000), coded_frames(77, MINUTE_FRAMES), np.zeros(5000)]))
    assert (found.n_slips, found.first_frame, found.n_frames) == (0, 5000, MINUTE_FRAMES)


def test_one_lost_frame_in_a_minute_is_found_at_its_place() -> None:
    found = stream(DropoutFinder(), MINUTE_FRAMES, 1_234_567)
    assert told(found) == [("lost", 1_234_567, 1)]
    assert found.slips[0].unsure_frames == 0


@pytest.mark.soak
def test_one_lost_frame_in_an_hour_is_found_at_its_place() -> None:
    found = stream(DropoutFinder(), 60 * MINUTE_FRAMES, 123_456_789)
    assert told(found) == [("lost", 123_456_789, 1)]


@pytest.mark.parametrize("n_bits", [16, 24, 32])
@pytest.mark.parametrize("gain_db", [-20.0, -0.5, 0.0, 20.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_lost_frame_survives_gain_and_format(gain_db: float, n_bits: int, sign: int) -> None:
    found = find_dropouts(as_integers(sign * 10 ** (gain_db / 20) * np.delete(CLEAN, 54321), n_bits))
    assert told(found) == [("lost", 54321, 1)]
    assert found.gain_db == pytest.approx(gain_db, abs=0.02)


@pytest.mark.parametrize("n", [1, 2, 64, 128, 4800])
@pytest.mark.parametrize("at", [1000, 77777])
def test_every_kind_of_fault_is_named_with_its_place(at: int, n: int) -> None:
    zeroed = CLEAN.copy()
    zeroed[at : at + n] = 0.0
    assert told(find_dropouts(zeroed)) == [("zeroed", at, n)]
    assert told(find_dropouts(np.insert(CLEAN, at, np.zeros(n)))) == [("inserted", at, n)]
    for found, kind in (
        (find_dropouts(np.delete(CLEAN, np.s_[at : at + n])), "lost"),
        (find_dropouts(np.insert(CLEAN, at, CLEAN[at - n : at])) if n <= at else None, "repeated"),
    ):
        if found is None:
            continue
        (slip,) = found.slips
        assert (slip.kind, slip.n_frames) == (kind, n)
        assert slip.at_frame <= at <= slip.at_frame + slip.unsure_frames
        assert slip.unsure_frames <= 6, "seven frames in a row fit both ways: one chance in 8 ** 7"
        assert n > 1 or slip.unsure_frames == 0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(places_=st.lists(st.integers(20, 900), min_size=1, max_size=8, unique=True), feed=st.integers(1, 20000))
def test_any_lost_frames_are_all_found_however_they_are_fed(places_: list[int], feed: int) -> None:
    lost = np.array(sorted(places_)) * 200
    frames = np.delete(CLEAN, lost)
    finder = DropoutFinder()
    for start in range(0, len(frames), max(feed, 500)):
        finder.feed(frames[start : start + max(feed, 500)])
    found = finder.finish()
    assert told(found) == [("lost", int(at) - i, 1) for i, at in enumerate(lost)]
    assert found.n_frames == len(frames)


def test_an_altered_frame_and_a_jump_of_gain_are_told_apart() -> None:
    frames = CLEAN.copy()
    frames[5000] *= -1.0
    frames[9000] += 0.03
    frames[20000:] *= 10 ** (-6 / 20)
    found = find_dropouts(frames)
    assert told(found)[:2] == [("altered", 5000, 1), ("altered", 9000, 1)]
    assert found.totals["jumped"] == 1
    assert 20000 <= found.slips[2].at_frame <= 20006


def test_a_slow_fade_is_no_dropout() -> None:
    fade = 10 ** (np.linspace(-10, 10, len(CLEAN)) / 20)
    assert find_dropouts(CLEAN * fade).n_slips == 0


@pytest.mark.parametrize("n_frames", [4_000, 400_000])
def test_what_is_kept_does_not_grow_with_what_was_read(n_frames: int) -> None:
    finder = DropoutFinder()
    for start in range(0, n_frames, FEED_FRAMES):
        finder.feed(coded_frames(start % PERIOD_FRAMES, FEED_FRAMES))
    assert len(finder._held) + len(finder._past) < FEED_FRAMES


def test_a_thousand_faults_are_counted_beyond_those_that_are_kept() -> None:
    lost = np.arange(1, 1101) * 100
    found = find_dropouts(np.delete(CLEAN, lost))
    assert (found.n_slips, found.totals["lost"], len(found.slips)) == (1100, 1100, 1000)


def test_noise_36_db_under_the_code_hides_nothing_and_adds_nothing() -> None:
    assert told(find_dropouts(with_noise(np.delete(CLEAN, 54321), 37.0))) == [("lost", 54321, 1)]


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (with_noise(CLEAN[:48000], 29.0), "noise lies only 29 dB under the coded signal"),
        (with_noise(CLEAN, 10.0), "nothing came back on input 3: no coded signal"),
        (speech_like(RATE_HZ, 4.0), "nothing came back on input 3: no coded signal"),
        (np.zeros(RATE_HZ), "nothing came back on input 3: no coded signal"),
        (np.where(np.arange(len(CLEAN)) == 4321, np.nan, CLEAN), "input 3: frame 4321 is not a number"),
        (np.concatenate([CLEAN, np.random.default_rng(1).standard_normal(500000)]), "from frame 192000 on the coded"),
    ],
    ids=["noisy", "noise", "speech", "silence", "nan", "gone"],
)
def test_what_is_no_code_is_refused(frames: np.ndarray, why: str) -> None:
    with pytest.raises(ProbeError, match=why):
        find_dropouts(frames, where="input 3")


def test_a_filter_in_the_path_is_refused() -> None:
    with pytest.raises(ProbeError, match="no coded signal"):
        find_dropouts(lfilter(*high_pass(400.0), CLEAN))


def test_silence_at_the_end_is_a_dropout_where_the_signal_went_on() -> None:
    frames = CLEAN.copy()
    frames[-1000:] = 0.0
    finder = DropoutFinder()
    finder.feed(frames)
    assert told(finder.finish(is_to_the_end=True)) == [("zeroed", len(CLEAN) - 1000, 1000)]
    assert find_dropouts(frames).n_slips == 0
