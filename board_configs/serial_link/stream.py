"""One stream in each direction over frames that get lost: sliding window, selective repeat, frames of fitting length.

Knows no clock, no port and no thread: time and frames are handed in.

A body is kind, number of the session, and what the kind needs:

    OPEN            the laptop begins a session; whatever was before it is over
    DATA  offset    bytes of the stream from ``offset`` on
    ACK   wanted got  the receiver has all before ``wanted``, and the piece that begins at ``got``
    CLOSE offset    the stream ends at ``offset``

Each piece is acknowledged by itself, so a lost one costs itself only. A line that flips one byte in twenty kills every
frame of 1000 bytes and lets one of 16 through every third time: they are halved when they die and grow when they live.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

OPEN, DATA, ACK, CLOSE = range(4)
HEAD, OFFSET, OFFSETS = struct.Struct(">BB"), struct.Struct(">BBI"), struct.Struct(">BBII")
MIN_PIECE_BYTES, MAX_PIECE_BYTES = 16, 1024
WINDOW_BYTES = 48 * 1024  # in flight, and what waits out of order on the other side
# Share of pieces that are lost, over about the last 30: more, and they are halved; less, and they are doubled.
TOO_MANY_LOST, FEW_LOST, LOST_WEIGHT, FIRST_LOST = 0.4, 0.1, 0.035, 0.2
MIN_RESEND_S, MAX_RESEND_S, FIRST_RESEND_S = 0.05, 2.0, 0.5
OVERTAKEN = 6  # a piece is lost that so many which were sent later have overtaken
SILENT_S = 2.0  # nothing heard for so long: a cable is out, and the line is only tried now and then
OFFSET_RANGE = 1 << 32


@dataclass(kw_only=True)
class _Piece:
    offset: int
    data: bytes
    sent_s: float | None = None
    n_sent: int = 0
    number: int = 0  # of its last sending, over all pieces
    is_last: bool = False


class Stream:
    """Both directions of one session."""

    def __init__(self, session: int, *, opens: bool) -> None:
        self.session = session
        self._waiting = bytearray()  # to be cut into pieces
        self._cut_bytes = 0
        self._pieces: dict[int, _Piece] = {}  # in flight, by offset
        self._wants_close, self._has_closed = False, False
        self._is_open_known = not opens
        self._open_sent_s = -MAX_RESEND_S
        self._piece_bytes, self._lost = 256, FIRST_LOST
        self._n_sent, self._newest_arrived = 0, 0
        self._heard_s = 0.0
        self._round_trip_s, self._spread_s = FIRST_RESEND_S / 2, FIRST_RESEND_S / 4
        self._early: dict[int, bytes] = {}  # came before what is wanted
        self._early_bytes = 0
        self._wanted = 0
        self._end: int | None = None
        self._acks: deque[int] = deque(maxlen=1024)
        self._ready = bytearray()

    # ------------------------------------------------------------------------------------------------------- out

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
        while self._acks:
            got = self._acks.popleft()
            yield OFFSETS.pack(ACK, self.session, self._wanted % OFFSET_RANGE, got % OFFSET_RANGE)
        if not self._is_open_known and now_s - self._open_sent_s > self._resend_s(now_s):
            self._open_sent_s = now_s
            yield HEAD.pack(OPEN, self.session)
        yield from self._again(now_s)
        if now_s - self._heard_s < SILENT_S or not self._pieces:
            yield from self._more(now_s)

    def next_s(self, now_s: float) -> float:
        """Return after how many seconds something may have to be sent again."""
        due = [p.sent_s + self._resend_s(now_s) - now_s for p in self._pieces.values() if p.sent_s is not None]
        return min([0.2, *due]) if due else 0.2

    def _resend_s(self, now_s: float) -> float:
        if now_s - self._heard_s > SILENT_S:
            return FIRST_RESEND_S
        return min(MAX_RESEND_S, max(MIN_RESEND_S, self._round_trip_s + 4 * self._spread_s))

    def _again(self, now_s: float) -> Iterator[bytes]:
        wait_s, passed_by = self._resend_s(now_s), self._newest_arrived - OVERTAKEN
        overdue = [p for p in self._pieces.values()
                   if p.sent_s is not None and (now_s - p.sent_s > wait_s or p.number < passed_by)]  # fmt: skip
        is_silent = now_s - self._heard_s > SILENT_S
        for piece in overdue[: 2 if is_silent else 8]:
            if not is_silent:
                self._judge(is_lost=True)
            yield from self._put(piece, now_s)

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
        while len(piece.data) > self._piece_bytes:
            tail = _Piece(offset=piece.offset + self._piece_bytes, data=piece.data[self._piece_bytes :],
                          is_last=piece.is_last, n_sent=piece.n_sent, sent_s=piece.sent_s)  # fmt: skip
            piece.data, piece.is_last = piece.data[: self._piece_bytes], False
            self._pieces[tail.offset] = tail
            yield self._body(piece, now_s)
            piece = tail
        yield self._body(piece, now_s)

    def _body(self, piece: _Piece, now_s: float) -> bytes:
        self._n_sent += 1
        piece.sent_s, piece.n_sent, piece.number = now_s, piece.n_sent + 1, self._n_sent
        kind = CLOSE if piece.is_last else DATA
        return OFFSET.pack(kind, self.session, piece.offset % OFFSET_RANGE) + piece.data

    def _more(self, now_s: float) -> Iterator[bytes]:
        while self._waiting and self._in_flight_bytes < WINDOW_BYTES:
            data = bytes(self._waiting[: self._piece_bytes])
            del self._waiting[: self._piece_bytes]
            piece = _Piece(offset=self._cut_bytes, data=data)
            self._cut_bytes += len(data)
            self._pieces[piece.offset] = piece
            yield self._body(piece, now_s)
        if self._wants_close and not self._has_closed and not self._waiting and not self._pieces:
            piece = _Piece(offset=self._cut_bytes, data=b"", is_last=True)
            self._pieces[piece.offset] = piece
            self._has_closed = True
            yield self._body(piece, now_s)

    @property
    def _in_flight_bytes(self) -> int:
        return self._cut_bytes - min(self._pieces, default=self._cut_bytes)

    # -------------------------------------------------------------------------------------------------------- in

    def greet(self) -> None:
        """Let the other side know that its OPEN has come: acknowledge what nobody sent."""
        self._acks.append(-1)

    def receive(self, body: bytes, now_s: float) -> None:
        """Take a body of this session."""
        self._is_open_known, self._heard_s = True, now_s
        kind = body[0]
        if kind == ACK and len(body) == OFFSETS.size:
            _, _, wanted, got = OFFSETS.unpack(body)
            self._acknowledged(_near(wanted, self._cut_bytes), _near(got, self._cut_bytes), now_s)
        elif kind in (DATA, CLOSE) and len(body) >= OFFSET.size:
            _, _, offset = OFFSET.unpack_from(body)
            self._arrived(_near(offset, self._wanted), body[OFFSET.size :], is_last=kind == CLOSE)

    def take(self) -> bytes:
        """Return what has come, in order."""
        ready = bytes(self._ready)
        self._ready.clear()
        return ready

    @property
    def has_ended(self) -> bool:
        """Whether the other side has closed, and all of it has been taken."""
        return self._end is not None and self._wanted >= self._end and not self._ready

    def _acknowledged(self, wanted: int, got: int, now_s: float) -> None:
        arrived = [offset for offset, p in self._pieces.items() if offset == got or (offset + len(p.data) <= wanted
                   and not p.is_last)]  # fmt: skip
        for offset in arrived:
            piece = self._pieces.pop(offset)
            self._newest_arrived = max(self._newest_arrived, piece.number if offset == got else 0)
            if offset == got and piece.n_sent == 1 and piece.sent_s is not None:  # else it is not known which one it is
                took_s = now_s - piece.sent_s
                self._spread_s += 0.25 * (abs(took_s - self._round_trip_s) - self._spread_s)
                self._round_trip_s += 0.125 * (took_s - self._round_trip_s)
            self._judge(is_lost=False)

    def _arrived(self, offset: int, data: bytes, *, is_last: bool) -> None:
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
        self._acks.append(offset)
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


def _near(wrapped: int, about: int) -> int:
    """Return the offset that was meant: they travel with 32 bits, streams are longer."""
    return about + (wrapped - about + OFFSET_RANGE // 2) % OFFSET_RANGE - OFFSET_RANGE // 2
