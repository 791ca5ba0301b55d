"""One stream in each direction over frames that get lost: sliding window, selective repeat, frames of fitting length.

Knows no clock, no port and no thread: time and frames are handed in.

A body is kind, number of the session, and what the kind needs:

    OPEN                      the laptop begins a session; whatever was before it is over
    DATA  number offset       bytes of the stream from ``offset`` on
    ACK   number seen wanted  sending ``number`` arrived, those of the 32 before it that ``seen`` has a bit for, and all
                              of the stream before ``wanted``
    CLOSE number offset       the stream ends at ``offset``
    GONE                      the box knows no such session: it has restarted since

A lost piece costs itself only. Sendings are numbered, and a line keeps its order: what was sent before something that
arrived, and did not arrive, is lost. Where nothing arrives, one cannot tell a dead line from a box that has no time to
listen: a small piece is tried now and then, and the rest waits for it.

A line that flips one byte in twenty kills every frame of 1000 bytes and lets one of 16 through every third time: they
are halved when they die and grow when they live.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice

OPEN, DATA, ACK, CLOSE, GONE = range(5)
HEAD, OFFSET, OFFSETS = struct.Struct(">BB"), struct.Struct(">BBHI"), struct.Struct(">BBHII")
SEEN_BITS, ACK_EVERY = 32, 16  # so many are told of twice, should a word of it be lost
MIN_PIECE_BYTES, FIRST_PIECE_BYTES, MAX_PIECE_BYTES = 16, 256, 1024
WINDOW_BYTES = 48 * 1024  # in flight, and what waits out of order on the other side
# Share of pieces that are lost, over about the last 30: more, and they are halved; less, and they are doubled.
TOO_MANY_LOST, FEW_LOST, LOST_WEIGHT, FIRST_LOST = 0.4, 0.1, 0.035, 0.2
MIN_RESEND_S, MAX_RESEND_S, FIRST_RESEND_S = 0.05, 2.0, 0.5
SILENT_S = 2.0  # nothing heard for so long: a cable is out, and the line is only tried now and then
MAX_TRIED, MAX_DOUBLED = 8, 2  # where nothing arrives: pieces at a time, and how often the wait for them doubles
OFFSET_RANGE, NUMBER_RANGE = 1 << 32, 1 << 16


@dataclass(kw_only=True)
class _Piece:
    offset: int
    data: bytes
    sent_s: float = 0.0
    number: int = 0  # of its last sending, over all pieces
    is_last: bool = False


class Stream:
    """Both directions of one session.

    Parameters
    ----------
    session
        Its number.
    opens
        Whether this is the laptop's side.
    piece_bytes
        Length of pieces to begin with: what the session before on this line has ended with.
    """

    def __init__(self, session: int, *, opens: bool, piece_bytes: int = FIRST_PIECE_BYTES) -> None:
        self.session = session
        self._waiting = bytearray()  # to be cut into pieces
        self._cut_bytes = 0
        self._pieces: dict[int, _Piece] = {}  # in flight, by offset
        self._sendings: dict[int, int] = {}  # offset by number, of those that may still be told of
        self._flying_bytes, self._told_wanted = 0, 0
        self._wants_close, self._has_closed = False, False
        self._is_open_known = not opens
        self.is_gone = False  # the other side has forgotten it
        self._open_sent_s = -MAX_RESEND_S
        self._piece_bytes, self._lost = piece_bytes, FIRST_LOST
        self._n_sent, self._newest_arrived, self._newest_judged = 0, 0, 0
        self._progress_s = 0.0  # when something was acknowledged, or tried
        self._n_tries, self._n_before = 0, 0  # since then; and the number of the last sending before
        self._was_dead = False  # until what was sent last was heard
        self._heard_s = 0.0
        self._round_trip_s, self._spread_s = FIRST_RESEND_S / 2, FIRST_RESEND_S / 4
        self._early: dict[int, bytes] = {}  # came before what is wanted
        self._early_bytes = 0
        self._wanted = 0
        self._end: int | None = None
        self._newest_in, self._seen, self._n_untold = 0, 0, 0
        self._acks: deque[tuple[int, int, int]] = deque(maxlen=1024)  # number, those before it, wanted
        self._ready = bytearray()

    # ------------------------------------------------------------------------------------------------------- out

    @property
    def piece_bytes(self) -> int:
        """Length of pieces that the line lets live, as far as is known."""
        return self._piece_bytes

    @property
    def room_bytes(self) -> int:
        """How much may be given to ``send`` now."""
        return max(0, 2 * WINDOW_BYTES - len(self._waiting))

    def send(self, data: bytes) -> None:
        """Take bytes for the other side."""
        self._waiting += data

    def close(self) -> None:
        """End our direction behind what was given."""
        self._wants_close = True

    @property
    def is_drained(self) -> bool:
        """Whether the other side has all that it will get."""
        return not self._waiting and not self._pieces and (self._has_closed or not self._wants_close)

    def frames(self, now_s: float) -> Iterator[bytes]:
        """Yield bodies to put onto the line now, the most urgent first; ask again when the line has taken them."""
        self._tell()
        while self._acks:
            number, seen, wanted = self._acks.popleft()
            yield OFFSETS.pack(ACK, self.session, number % NUMBER_RANGE, seen, wanted % OFFSET_RANGE)
        if not self._is_open_known and now_s - self._open_sent_s > self._resend_s(now_s):
            self._open_sent_s = now_s
            yield HEAD.pack(OPEN, self.session)
        yield from self._again(now_s)
        if now_s - self._heard_s < SILENT_S or not self._pieces:
            yield from self._more(now_s)

    def next_s(self, now_s: float) -> float:
        """Return after how many seconds something may have to be sent again."""
        return min(0.2, self._progress_s + self._resend_s(now_s) - now_s) if self._pieces else 0.2

    def _resend_s(self, now_s: float) -> float:
        if now_s - self._heard_s > SILENT_S:
            return FIRST_RESEND_S
        patience_s = (self._round_trip_s + 4 * self._spread_s) * 2.0 ** min(self._n_tries, MAX_DOUBLED)
        return min(MAX_RESEND_S, max(MIN_RESEND_S, patience_s))

    def _again(self, now_s: float) -> Iterator[bytes]:
        if self._newest_arrived > self._newest_judged:
            passed_by = self._newest_judged = self._newest_arrived
            for piece in [p for p in self._pieces.values() if p.number < passed_by]:
                if not self._was_dead:  # what a dead line lost says nothing about the living one
                    self._judge(is_lost=True)
                yield from self._put(piece, now_s)
            self._was_dead = False
        elif self._pieces and now_s - self._progress_s > self._resend_s(now_s):
            self._progress_s = now_s
            self._n_before = self._n_before if self._n_tries else self._n_sent
            self._n_tries += 1
            n_tried = min(self._n_tries, MAX_TRIED)  # the only one that is missing, so often
            tried = [self._pieces[offset] for offset in sorted(self._pieces)[:n_tried]]
            for piece in islice(cycle(tried), n_tried):
                self._cut(piece, max(MIN_PIECE_BYTES, self._piece_bytes >> self._n_tries))
                yield self._body(piece, now_s)

    def _judge(self, *, is_lost: bool) -> None:
        """Fit the length of pieces to how many of them are lost."""
        self._lost += LOST_WEIGHT * (is_lost - self._lost)
        if self._lost > TOO_MANY_LOST and self._piece_bytes > MIN_PIECE_BYTES:
            self._piece_bytes //= 2
            self._lost = FIRST_LOST
        elif self._lost < FEW_LOST and self._piece_bytes < MAX_PIECE_BYTES:
            self._piece_bytes *= 2
            self._lost = FIRST_LOST

    def _put(self, piece: _Piece, now_s: float) -> Iterator[bytes]:
        """Yield a piece, cut smaller where it was cut for a better line."""
        rest: _Piece | None = piece
        while rest is not None:
            piece, rest = rest, self._cut(rest, self._piece_bytes)
            yield self._body(piece, now_s)

    def _cut(self, piece: _Piece, n_bytes: int) -> _Piece | None:
        """Let a piece have at most so many bytes, and return the one with the rest of them."""
        if len(piece.data) <= n_bytes:
            return None
        rest = replace(piece, offset=piece.offset + n_bytes, data=piece.data[n_bytes:])
        piece.data, piece.is_last = piece.data[:n_bytes], False
        self._pieces[rest.offset] = rest
        return rest

    def _body(self, piece: _Piece, now_s: float) -> bytes:
        self._n_sent += 1
        self._sendings[self._n_sent] = piece.offset
        if len(self._pieces) == 1:
            self._progress_s = now_s
        piece.sent_s, piece.number = now_s, self._n_sent
        kind = CLOSE if piece.is_last else DATA
        head = OFFSET.pack(kind, self.session, piece.number % NUMBER_RANGE, piece.offset % OFFSET_RANGE)
        return head + piece.data

    def _more(self, now_s: float) -> Iterator[bytes]:
        # Behind a lost piece too, as far as the other side can keep what comes before it is wanted.
        end = min(self._pieces, default=self._cut_bytes) + 2 * WINDOW_BYTES - MAX_PIECE_BYTES
        while self._waiting and self._flying_bytes < WINDOW_BYTES and self._cut_bytes < end:
            data = bytes(self._waiting[: self._piece_bytes])
            del self._waiting[: self._piece_bytes]
            piece = _Piece(offset=self._cut_bytes, data=data)
            self._cut_bytes += len(data)
            self._pieces[piece.offset] = piece
            self._flying_bytes += len(data)
            yield self._body(piece, now_s)
        if self._wants_close and not self._has_closed and not self._waiting and not self._pieces:
            piece = _Piece(offset=self._cut_bytes, data=b"", is_last=True)
            self._pieces[piece.offset] = piece
            self._has_closed = True
            yield self._body(piece, now_s)

    # -------------------------------------------------------------------------------------------------------- in

    def greet(self) -> None:
        """Let the other side know that its OPEN has come: acknowledge what nobody sent."""
        self._acks.append((0, 0, 0))

    def receive(self, body: bytes, now_s: float) -> None:
        """Take a body of this session."""
        kind, self._heard_s = body[0], now_s
        if kind == GONE and not self._is_open_known:  # it has not been there yet: OPEN was lost, and DATA came through
            self._open_sent_s = -MAX_RESEND_S
            return
        self._is_open_known = True
        if kind == ACK and len(body) == OFFSETS.size:
            _, _, number, seen, wanted = OFFSETS.unpack(body)
            number = _near(number, self._n_sent, NUMBER_RANGE)
            if 0 < number <= self._n_sent:
                self._acknowledged(number, seen, _near(wanted, self._cut_bytes), now_s)
        elif kind == GONE:
            self.is_gone = True
        elif kind in (DATA, CLOSE) and len(body) >= OFFSET.size:
            _, _, number, offset = OFFSET.unpack_from(body)
            self._arrived(number, _near(offset, self._wanted), body[OFFSET.size :], is_last=kind == CLOSE)

    def take(self) -> bytes:
        """Return what has come, in order."""
        ready = bytes(self._ready)
        self._ready.clear()
        return ready

    @property
    def has_ended(self) -> bool:
        """Whether the other side has closed, and all of it has been taken."""
        return self._end is not None and self._wanted >= self._end and not self._ready

    def _acknowledged(self, number: int, seen: int, wanted: int, now_s: float) -> None:
        self._newest_arrived = max(self._newest_arrived, number)
        arrived = [number, *(number - 1 - bit for bit in range(SEEN_BITS) if seen >> bit & 1)]
        offsets = {offset for n in arrived if (offset := self._sendings.get(n)) in self._pieces}
        if wanted > self._told_wanted:
            self._told_wanted = wanted
            offsets |= {o for o, p in self._pieces.items() if o + len(p.data) <= wanted and not p.is_last}
        while self._sendings and (oldest := next(iter(self._sendings))) < number - SEEN_BITS:
            del self._sendings[oldest]
        newest = self._pieces.get(self._sendings.get(number, -1))
        if newest is not None and newest.number == number:
            took_s = now_s - newest.sent_s
            self._spread_s += 0.25 * (abs(took_s - self._round_trip_s) - self._spread_s)
            self._round_trip_s += 0.125 * (took_s - self._round_trip_s)
            if self._n_tries and self._n_before not in arrived:  # of what was sent, only what was tried came through
                self._was_dead = True
                self._piece_bytes = max(MIN_PIECE_BYTES, min(self._piece_bytes, len(newest.data)))
                self._lost = FIRST_LOST
        if offsets:
            self._progress_s, self._n_tries = now_s, 0
        for offset in offsets:
            n_bytes = len(self._pieces.pop(offset).data)
            self._flying_bytes -= n_bytes
            if 2 * n_bytes > self._piece_bytes:  # that a small one lives says nothing about larger ones
                self._judge(is_lost=False)

    def _note(self, number: int) -> None:
        """Remember that a sending has arrived, and that it has to be told."""
        number = _near(number, self._newest_in, NUMBER_RANGE)
        ahead = number - self._newest_in
        if ahead > 0:
            self._seen = (self._seen << ahead | 1 << ahead - 1) % (1 << SEEN_BITS)
            self._newest_in = number
        elif -SEEN_BITS <= ahead < 0:
            self._seen |= 1 << -ahead - 1
        self._n_untold += 1
        if self._n_untold >= ACK_EVERY:
            self._tell()

    def _tell(self) -> None:
        if self._n_untold:
            self._acks.append((self._newest_in, self._seen, self._wanted))
            self._n_untold = 0

    def _arrived(self, number: int, offset: int, data: bytes, *, is_last: bool) -> None:
        if not self._wanted - 2 * WINDOW_BYTES <= offset <= self._wanted + 2 * WINDOW_BYTES:
            return
        if is_last:
            self._end = offset + len(data)
        if offset > self._wanted:
            kept = self._early.get(offset, b"")
            if self._early_bytes + len(data) - len(kept) > 2 * WINDOW_BYTES:
                return  # not acknowledged: it will come again
            if len(data) > len(kept):
                self._early[offset] = data
                self._early_bytes += len(data) - len(kept)
        self._note(number)
        if offset <= self._wanted:
            self._join(offset, data)
            while self._early and (first := min(self._early)) <= self._wanted:
                early = self._early.pop(first)
                self._early_bytes -= len(early)
                self._join(first, early)

    def _join(self, offset: int, data: bytes) -> None:
        fresh = data[self._wanted - offset :]
        self._ready += fresh
        self._wanted += len(fresh)


def _near(wrapped: int, about: int, span: int = OFFSET_RANGE) -> int:
    """Return the offset that was meant: they travel with 32 bits, streams are longer."""
    return about + (wrapped - about + span // 2) % span - span // 2
