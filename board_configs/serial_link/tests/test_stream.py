"""What comes out of a stream is what went in, whatever the line does to it; time here is made up."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from board_configs.serial_link.frames import MAX_FRAME_BYTES, Decoder, encode
from board_configs.serial_link.stream import (
    DATA,
    FIRST_PIECE_BYTES,
    GONE,
    MAX_PIECE_BYTES,
    MIN_PIECE_BYTES,
    OPEN,
    Stream,
)

STEP_S = 0.002
DELAY_S = 0.01
QUEUE_BYTES = 4096  # of a port; what is in it has been sent, as far as the stream knows


class Line:
    """One direction of a cable."""

    def __init__(self, bytes_s: float, flips: float, rng: random.Random) -> None:
        self.queue, self._n_step = bytearray(), max(1, int(bytes_s * STEP_S))
        self._flips, self._rng = flips, rng
        self._flying: list[tuple[float, bytes]] = []
        self.n_bytes = 0
        self.is_pulled = False

    def step(self, now_s: float) -> bytes:
        chunk = bytearray(self.queue[: self._n_step])
        del self.queue[: self._n_step]
        self.n_bytes += len(chunk)
        if self._flips:
            for i in range(len(chunk)):
                if self._rng.random() < self._flips:
                    chunk[i] = self._rng.randrange(256)
        if not self.is_pulled:
            self._flying.append((now_s + DELAY_S, bytes(chunk)))
        arrived = b""
        while self._flying and self._flying[0][0] <= now_s:
            arrived += self._flying.pop(0)[1]
        return b"" if self.is_pulled else arrived


@dataclass(frozen=True, kw_only=True)
class Carried:
    """How it went: share of the line's limit, bytes on the line for one of the content, bytes of a piece at the end."""

    share: float
    n_sent: float
    piece_bytes: int


def carry(
    data: bytes, *, flips: float = 0.0, bytes_s: float = 1e6, pulls: tuple[float, ...] = (), seed: int = 1,
    deaf_s: float = 0.0, piece_bytes: int = FIRST_PIECE_BYTES,
) -> Carried:  # fmt: skip
    """Send ``data`` through and check it; the box listens for 50 ms at most, then has no time for up to ``deaf_s``."""
    rng = random.Random(seed)
    sender, receiver = Stream(7, opens=True, piece_bytes=piece_bytes), Stream(7, opens=False)
    there, back = Line(bytes_s, flips, rng), Line(bytes_s, flips, rng)
    ends = ((sender, there, Decoder()), (receiver, back, Decoder()))
    got, n_given, now_s = bytearray(), 0, 0.0
    is_deaf, until_s, held = False, 0.0, b""
    while not (receiver.has_ended and sender.is_drained):
        assert now_s < 900, f"stuck at {len(got)} of {len(data)} bytes"
        there.is_pulled = back.is_pulled = any(at <= now_s < at + 1.5 for at in pulls)
        if room := sender.room_bytes:
            sender.send(data[n_given : n_given + room])
            n_given = min(len(data), n_given + room)
            if n_given == len(data):
                sender.close()
        if deaf_s and now_s >= until_s:
            is_deaf = not is_deaf
            until_s = now_s + rng.uniform(0.0, deaf_s if is_deaf else 0.05)
        for stream, line, _ in ends if not is_deaf else ends[:1]:
            if len(line.queue) < QUEUE_BYTES:
                for body in stream.frames(now_s):
                    line.queue += encode(body)
                    if len(line.queue) >= QUEUE_BYTES:
                        break
        for (_, line, _), (stream, _, decoder) in zip(ends, reversed(ends), strict=True):
            if stream is receiver and is_deaf:
                if len(line.queue) < QUEUE_BYTES:  # what waits at the box's port waits for the box
                    held += line.step(now_s)
                continue
            arrived = line.step(now_s)
            if stream is receiver:
                arrived, held = held + arrived, b""
            for body in decoder.feed(arrived):
                if body[0] != OPEN and body[1:2] == b"\x07":
                    stream.receive(body, now_s)
        got += receiver.take()
        now_s += STEP_S
    assert bytes(got) == data
    share = len(data) / now_s / bytes_s
    return Carried(share=share, n_sent=there.n_bytes / max(len(data), 1), piece_bytes=sender.piece_bytes)


def noise(n_bytes: int, seed: int = 2) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


@pytest.mark.parametrize(("bytes_s", "n_bytes"), [(1e6, 1_500_000), (11_520, 50_000)])
def test_a_clean_line_is_used_to_nine_tenths(bytes_s: float, n_bytes: int) -> None:
    assert carry(noise(n_bytes), bytes_s=bytes_s).share > 0.9


@pytest.mark.parametrize("n_bytes", [0, 1, 15, 16, 17, 1024, 1025, 100_003])
def test_every_length_arrives(n_bytes: int) -> None:
    carry(noise(n_bytes))


@pytest.mark.parametrize("content", [b"\xc0", b"\xdb", b"\xdb\xdc\xdb\xdd", b"\0"])
def test_what_looks_like_framing_is_content(content: bytes) -> None:
    carry(content * 5000, flips=0.001)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("flips", "n_bytes", "at_least"), [(0.0001, 500_000, 0.6), (0.001, 200_000, 0.2), (0.01, 40_000, 0.04)]
)
def test_flipped_bytes_cost_time_and_nothing_else(flips: float, n_bytes: int, at_least: float, seed: int) -> None:
    assert carry(noise(n_bytes), flips=flips, seed=seed).share > at_least


def test_one_byte_in_twenty_flipped_and_ten_times_unplugged_it_arrives_intact() -> None:
    carry(noise(30_000), flips=0.05, bytes_s=1e5, pulls=tuple(1.0 + 2.5 * n for n in range(10)))


def test_a_cable_that_is_pulled_ten_times_costs_the_pulls_and_little_more() -> None:
    pulls = tuple(0.3 + 2.0 * n for n in range(10))
    assert carry(noise(400_000), bytes_s=1e5, pulls=pulls).share > 0.15


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("deaf_s", [0.1, 0.5, 3.0])
def test_a_box_that_seldom_has_time_is_not_taken_for_a_bad_line(deaf_s: float, seed: int) -> None:
    carried = carry(noise(300_000), deaf_s=deaf_s, seed=seed)
    assert carried.n_sent < 1.1
    assert carried.piece_bytes == MAX_PIECE_BYTES


def test_a_session_whose_opening_was_lost_is_opened_again_and_one_that_was_known_is_over() -> None:
    stream, gone = Stream(7, opens=True), bytes([GONE, 7])
    stream.send(b"hello")
    assert [body[0] for body in stream.frames(0.0)] == [OPEN, DATA]
    stream.receive(gone, 0.01)  # the box heard the second only
    assert not stream.is_gone
    assert next(stream.frames(0.02))[0] == OPEN, "at once"
    box = Stream(7, opens=False)
    box.greet()
    stream.receive(next(box.frames(0.03)), 0.03)
    stream.receive(gone, 0.04)  # the box has restarted
    assert stream.is_gone


def test_the_next_session_begins_with_what_the_line_lets_live() -> None:
    first = [carry(bytes(5000), flips=0.05, bytes_s=1e5, seed=seed) for seed in (1, 2, 3)]
    assert {each.piece_bytes for each in first} == {MIN_PIECE_BYTES}
    further = [
        carry(bytes(5000), flips=0.05, bytes_s=1e5, seed=seed, piece_bytes=MIN_PIECE_BYTES) for seed in (1, 2, 3)
    ]
    assert sum(each.share for each in further) > 1.5 * sum(each.share for each in first)


def test_a_stream_is_longer_than_its_offsets() -> None:
    sender, receiver = Stream(1, opens=False), Stream(1, opens=False)
    for stream in (sender, receiver):
        stream._cut_bytes = stream._wanted = (1 << 32) - 1000  # as after 4 GiB
    data = noise(5000)
    sender.send(data)
    got = b""
    for step in range(100):
        for body in sender.frames(step * 0.01):
            receiver.receive(body, step * 0.01)
        for body in receiver.frames(step * 0.01):
            sender.receive(body, step * 0.01)
        got += receiver.take()
    assert got == data
    assert sender.is_drained


def test_noise_is_no_frame_and_takes_no_memory() -> None:
    decoder = Decoder()
    rng = random.Random(4)
    for _ in range(200):
        assert list(decoder.feed(rng.randbytes(1000))) == []
    assert list(decoder.feed(b"x" * 100_000)) == []
    assert len(decoder._held) <= MAX_FRAME_BYTES
    assert list(decoder.feed(encode(b"hello"))) == [b"hello"]


def test_bodies_that_nobody_sends_harm_nobody() -> None:
    rng = random.Random(5)
    stream = Stream(1, opens=False)
    stream.send(noise(10_000))
    for n in range(2000):
        body = bytes([rng.randrange(5), 1]) + rng.randbytes(rng.randrange(12))
        stream.receive(body, n * 0.001)
        list(stream.frames(n * 0.001))
    assert stream._early_bytes <= 2 * 48 * 1024
