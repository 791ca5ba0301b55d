"""Reads the coded signal: each frame that was lost, repeated, zeroed or altered, with its place. Streams, keeps little.

For paths of flat gain, anything from -20 to +20 dB and of either sign: filters and compressors are refused, not guessed
at. Noise must lie 36 dB under the signal; then one frame in an hour stands out. Two faults within 64 frames are told
as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import ProbeError
from .frame_code import N_BITS, N_STEPS, PEAK_LIN, PERIOD_FRAMES, code, places_of
from .levels import ratio_db

LOCK_FRAMES = 64  # that must fit before a place is believed
MIN_SIGNAL_OVER_NOISE_DB = 36.0  # half a step is then 6.2 deviations: seldom in an hour
MAX_SLIPS_KEPT = 1000
MAX_AWAY_FRAMES = 480000  # of silence, or of what is no code, between two stretches of it
_PIECES = (16384, 256)  # what a steady gain fits, and what a gliding one does
_TOLERANCE_LIN = 0.5 / N_STEPS
_MIN_FIT = 0.95  # of the frames of a lock, and all of the first four: nothing of what went before is taken for code
_N_LEAD = 4
_SEARCH_FRAMES = (128, 4096)  # at first, and then: mostly the code goes on at once
_JUMP_DB = 0.2
KINDS = ("lost", "repeated", "inserted", "zeroed", "altered", "jumped")


@dataclass(frozen=True, kw_only=True)
class Slip:
    """One place at which the signal is not what was played.

    Parameters
    ----------
    kind
        ``lost``; ``repeated``, what had just been; ``inserted``, something else between two frames that follow each
        other; ``zeroed``; ``altered``; ``jumped``, in gain, from here on.
    at_frame
        Of the recording: the first frame that is not as it should be; after lost ones, the first that comes too early.
    unsure_frames
        How much later it may be: what lies between fits both ways.
    n_frames
        How many are lost, repeated, inserted, zeroed or altered. A slip of more than half a period of the code, 10.9 s
        at 48 kHz, is told as the shorter way around.
    """

    kind: str
    at_frame: int
    unsure_frames: int
    n_frames: int

    def line(self) -> str:
        """Return it in one line."""
        unsure = f" (to {self.at_frame + self.unsure_frames})" if self.unsure_frames else ""
        what = "gain jumped" if self.kind == "jumped" else f"{self.n_frames} {self.kind}"
        return f"{what} at frame {self.at_frame}{unsure}"


@dataclass(frozen=True, kw_only=True)
class Dropouts:
    """What a whole recording of the coded signal had.

    Parameters
    ----------
    first_frame, n_frames
        Of the recording: where the code begins, and how long it goes on.
    totals
        Frames of each kind; of ``jumped``, how often.
    slips
        The first thousand.
    """

    NAME: ClassVar[str] = "dropouts"

    where: str
    first_frame: int
    n_frames: int
    gain_db: float
    signal_over_noise_db: float
    n_slips: int
    totals: dict[str, int]
    slips: tuple[Slip, ...]

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        totals = {f"n_{kind}": n for kind, n in self.totals.items()}
        return {"n_slips": self.n_slips, **totals, "n_frames": self.n_frames, "gain_db": self.gain_db}

    def line(self) -> str:
        """Return it in one line."""
        if not self.n_slips:
            return f"{self.where}: {self.n_frames} frames, every one in its place"
        first = "; ".join(slip.line() for slip in self.slips[:4]) + ("; ..." if self.n_slips > 4 else "")
        return f"{self.where}: {self.n_frames} frames, {self.n_slips} dropouts: {first}"


@dataclass(frozen=True)
class _Lock:
    offset: int  # in what is held
    place: int
    gain: float


class DropoutFinder:
    """Reads one channel as it comes; keeps what it does not understand yet, at most ten seconds.

    Parameters
    ----------
    where
        How a person calls the channel.
    """

    def __init__(self, *, where: str = "input") -> None:
        self._where = where
        self._held = np.zeros(0)
        self._past = np.zeros(0)  # the last frames that were understood
        self._at = 0  # frame of the recording at which what is held begins
        self._place = -1  # of the code that is expected there; -1 until it is found
        self._gain = 0.0
        self._first = 0
        self._end = 0
        self._n_searched = 0
        self._signal_power, self._noise_power = 0.0, 0.0
        self._totals = dict.fromkeys(KINDS, 0)
        self._n_slips = 0
        self._slips: list[Slip] = []

    def feed(self, frames: NDArray[np.floating]) -> None:
        """Read on.

        Raises
        ------
        ProbeError
            When frames are not numbers, or the code stays away.
        """
        new = np.asarray(frames, dtype=np.float64)
        if not np.isfinite(new).all():
            bad = self._at + len(self._held) + int(np.argmin(np.isfinite(new)))
            raise ProbeError(f"{self._where}: frame {bad} is not a number")
        self._held = np.concatenate([self._held, new])
        self._read()

    def finish(self, *, is_to_the_end: bool = False) -> Dropouts:
        """Return what was found.

        Parameters
        ----------
        is_to_the_end
            The signal was played until the recording ended: silence at its end is a dropout, and not the end.

        Raises
        ------
        ProbeError
            When the code never came, or there is too much noise to tell.
        """
        self._read()
        if self._place >= 0 and len(self._held):
            self._explain_end(is_to_the_end=is_to_the_end)
        if self._place < 0:
            raise ProbeError(f"nothing came back on {self._where}: no coded signal in {self._at + len(self._held)} "
                             "frames; check patch and level, and that the path has no filter or dynamics")  # fmt: skip
        over_db = ratio_db(self._signal_power, max(self._noise_power, 1e-30))
        if self._n_slips and over_db < MIN_SIGNAL_OVER_NOISE_DB:
            raise ProbeError(
                f"{self._where}: noise lies only {over_db:.0f} dB under the coded signal; dropouts cannot be told from "
                f"it, {MIN_SIGNAL_OVER_NOISE_DB:.0f} are needed; raise the level"
            )
        return Dropouts(
            where=self._where, first_frame=self._first, n_frames=self._end - self._first,
            gain_db=ratio_db(self._gain**2, PEAK_LIN**2), signal_over_noise_db=over_db, n_slips=self._n_slips,
            totals=dict(self._totals), slips=tuple(self._slips),
        )  # fmt: skip

    # ----------------------------------------------------------------------------------------------------- reading

    def _read(self) -> None:
        if self._place < 0:
            lock = self._search()
            if lock is None:
                self._forget_what_is_no_code()
                return
            self._gain = lock.gain
            self._take(lock.offset, lock.place)
            self._first = self._end = self._at
        while len(self._held) and self._follow() and self._explain():
            pass

    def _follow(self) -> bool:
        """Take all that fits; return whether something is left that does not."""
        while n := len(self._held):
            for size in _PIECES:
                piece = self._held[:size]
                expected = _expected(self._place, len(piece))
                is_off = ~_is_near(piece, self._gain, expected)
                if not is_off.any():
                    break
            n_good = int(np.argmax(is_off)) if is_off.any() else len(piece)
            self._learn(piece[:n_good], expected[:n_good])
            self._take(n_good, self._place + n_good)
            self._end = self._at
            if n_good < min(size, n):
                return True
        return False

    def _learn(self, frames: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
        if len(frames) < LOCK_FRAMES:
            return
        self._gain = float(frames @ expected) / float(expected @ expected)
        self._signal_power += float(np.sum(np.square(self._gain * expected)))
        self._noise_power += float(np.sum(np.square(frames - self._gain * expected)))

    def _take(self, n: int, place: int) -> None:
        self._past = np.concatenate([self._past, self._held[max(0, n - LOCK_FRAMES) : n]])[-LOCK_FRAMES:]
        self._held, self._at, self._place = self._held[n:], self._at + n, place % PERIOD_FRAMES
        self._n_searched = 0

    # ------------------------------------------------------------------------------------------------- explaining

    def _explain(self) -> bool:
        """Say what is wrong at the head of what is held, and go on after it; False where more must come first."""
        lock = self._search()
        if lock is None:
            if len(self._held) > MAX_AWAY_FRAMES:
                raise ProbeError(f"{self._where}: from frame {self._at} on the coded signal is away for "
                                 f"{len(self._held)} frames; unplugged, muted, or another signal")  # fmt: skip
            return False
        n_bad, slip = lock.offset, _signed(lock.place - self._place - lock.offset)
        self._tell_jump(lock)
        n_extra = max(0, -slip)
        if n_replaced := max(0, n_bad - n_extra):
            self._tell(self._kind_of(n_bad), 0, n_replaced)
        if slip > 0:
            self._tell("lost", n_bad, slip, n_unsure=self._n_both(lock) if n_bad == 0 else 0)
        elif slip < 0:
            unsure = self._n_both(lock) if n_bad == 0 else 0
            self._tell("inserted" if n_bad else "repeated", 0, n_extra, n_unsure=unsure)
        self._gain = lock.gain
        self._take(n_bad, lock.place + n_bad - lock.offset)
        self._end = self._at
        return True

    def _explain_end(self, *, is_to_the_end: bool) -> None:
        """Tell the rest that is too short for a lock; silence may be the end of the signal."""
        is_silent = np.abs(self._held) <= abs(self._gain) * _TOLERANCE_LIN
        if is_to_the_end:
            n = len(self._held)
        else:
            n = 0 if is_silent.all() else int(len(self._held) - np.argmin(is_silent[::-1]))
        if n:
            self._tell(self._kind_of(n), 0, n)
        self._end = self._at + n

    def _tell(self, kind: str, offset: int, n_frames: int, *, n_unsure: int = 0) -> None:
        self._n_slips += 1
        self._totals[kind] += n_frames
        if len(self._slips) < MAX_SLIPS_KEPT:
            at_frame = self._at + offset - n_unsure
            self._slips.append(Slip(kind=kind, at_frame=at_frame, unsure_frames=n_unsure, n_frames=n_frames))

    def _tell_jump(self, lock: _Lock) -> None:
        if lock.gain * self._gain < 0 or abs(20.0 * np.log10(lock.gain / self._gain)) > _JUMP_DB:
            self._tell("jumped", lock.offset, 1)

    def _kind_of(self, n_bad: int) -> str:
        n_silent = np.count_nonzero(np.abs(self._held[:n_bad]) <= abs(self._gain) * _TOLERANCE_LIN)
        return "zeroed" if 2 * n_silent > n_bad else "altered"

    def _n_both(self, lock: _Lock) -> int:
        """Return how many frames before the head would fit the new place as well."""
        n = len(self._past)
        expected = _expected(lock.place - n, n)
        fits = _is_near(self._past, lock.gain, expected)
        return n if fits.all() else int(np.argmin(fits[::-1]))

    # --------------------------------------------------------------------------------------------------- searching

    def _search(self) -> _Lock | None:
        """Return the first place in what is held from which the code goes on."""
        while (n := min(_SEARCH_FRAMES[self._n_searched > 0], self._n_searchable())) > 0:
            frames = self._held[self._n_searched : self._n_searched + n + LOCK_FRAMES - 1]
            locks = [lock for sign in (1.0, -1.0) if (lock := _first_lock(frames, sign)) is not None]
            if locks:
                first = min(locks, key=lambda lock: lock.offset)
                return _Lock(self._n_searched + first.offset, first.place, first.gain)
            self._n_searched += n
        return None

    def _n_searchable(self) -> int:
        return len(self._held) - self._n_searched - LOCK_FRAMES + 1

    def _forget_what_is_no_code(self) -> None:
        n = self._n_searched
        self._held, self._at, self._n_searched = self._held[n:], self._at + n, 0


def _expected(place: int, n: int) -> NDArray[np.float64]:
    first = place % PERIOD_FRAMES
    if first + n <= PERIOD_FRAMES:
        return code()[first : first + n].astype(np.float64)
    return np.take(code(), np.arange(first, first + n), mode="wrap").astype(np.float64)


def _first_lock(frames: NDArray[np.float64], sign: float) -> _Lock | None:
    place, n = places_of(sign * frames).astype(np.int64), len(frames) - LOCK_FRAMES + 1
    goes_on = place[:n] >= 0
    for ahead in (N_BITS, 2 * N_BITS):
        goes_on &= (place[ahead : ahead + n] - place[:n] - ahead) % PERIOD_FRAMES == 0
    for offset in np.flatnonzero(goes_on):
        if (gain := _fit(frames[offset : offset + LOCK_FRAMES], int(place[offset]))) != 0.0:
            return _Lock(int(offset), int(place[offset]), gain)
    return None


def _fit(frames: NDArray[np.float64], place: int) -> float:
    """Return the gain with which frames are the code at a place; 0 where they are not."""
    expected = _expected(place, len(frames))
    gain = float(np.median(frames / expected))
    is_near = _is_near(frames, gain, expected)
    if gain == 0.0 or np.mean(is_near) < _MIN_FIT:
        return 0.0
    good, ideal = frames[is_near], expected[is_near]
    gain = float(good @ ideal) / float(ideal @ ideal)
    is_near = _is_near(frames, gain, expected)
    return gain if np.mean(is_near) >= _MIN_FIT and is_near[:_N_LEAD].all() else 0.0


def _is_near(frames: NDArray[np.float64], gain: float, expected: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(frames - gain * expected) <= abs(gain) * _TOLERANCE_LIN)


def _signed(slip: int) -> int:
    """Return a way around the period as the shorter one of both."""
    return (slip + PERIOD_FRAMES // 2) % PERIOD_FRAMES - PERIOD_FRAMES // 2


def find_dropouts(recorded: NDArray[np.floating], *, where: str = "input") -> Dropouts:
    """Read a whole recording of `frame_code.coded_frames`; see `DropoutFinder`."""
    finder = DropoutFinder(where=where)
    finder.feed(recorded)
    return finder.finish()
