"""What a PCM offers, asked of the card itself before the engine opens it, and whether a board can have it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from board_configs.board import AudioSpec, Board
from board_configs.spec import FORMATS, MAX_CARD_CHANNELS, SAMPLE_RATES_HZ
from firmware.errors import EvenhandError

from .alsa import alsaaudio
from .cards import VIRTUAL, BoardCard

CAPTURE, PLAYBACK = "capture", "playback"
ANY_CHANNELS = tuple(range(1, MAX_CARD_CHANNELS + 1))
# The null device and converters offer rates without bound. Their channels have none either, and pyalsaaudio would
# count through all four thousand million of them.
UNBOUNDED_RATE_HZ = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Formats in the mixer's order of preference, rates and channel counts that the mixer can use."""

    formats: tuple[str, ...]
    sample_rates_hz: tuple[int, ...]
    n_channels: tuple[int, ...]


def probe(pcm: str, direction: str) -> Offer:
    """Ask a PCM what it offers; it must not be in use.

    Raises
    ------
    EvenhandError
        When it does not exist, has not this direction, or is in use.
    """
    with _Opened(pcm, direction) as handle:
        low_hz, high_hz = handle.getratebounds()
        is_unbounded = high_hz > UNBOUNDED_RATE_HZ
        rates = handle.getrates()  # a number, a pair of bounds or a list
        n_channels = ANY_CHANNELS if is_unbounded else tuple(handle.getchannels())
        formats = handle.getformats()
    return Offer(
        formats=tuple(f for f in FORMATS if f in formats),
        sample_rates_hz=tuple(
            rate
            for rate in SAMPLE_RATES_HZ
            if (rate in rates if isinstance(rates, list) else low_hz <= rate <= high_hz)
        ),
        n_channels=tuple(n for n in n_channels if n <= MAX_CARD_CHANNELS),
    )


def choose_format(board: Board, card: BoardCard) -> str:
    """Return the first of the board's formats that the card has both ways, after checking all else it must have.

    Raises
    ------
    EvenhandError
        That names what the card offers instead.
    """
    audio, spec = board.audio, card.spec
    if card.pcm == VIRTUAL:
        return audio.formats[0]
    offers: list[Offer] = []
    for direction, n_channels in ((CAPTURE, spec.n_capture), (PLAYBACK, spec.n_playback)):
        if n_channels == 0:
            continue
        offer = probe(card.pcm, direction)
        _demand(board, card, "sample_rate_hz", audio.sample_rate_hz, offer.sample_rates_hz)
        if n_channels is not None:
            _demand(board, card, f"n_{direction}", n_channels, offer.n_channels)
        offers.append(offer)
    formats = [f for f in audio.formats if all(f in offer.formats for offer in offers)]
    if not formats:
        offered = [f for f in FORMATS if all(f in offer.formats for offer in offers)]
        raise _not_offered(board, card, f"formats = {', '.join(audio.formats)}", offered)
    for direction, n_channels in ((CAPTURE, spec.n_capture), (PLAYBACK, spec.n_playback)):
        if n_channels:
            _check_period(board, card, direction, n_channels, formats[0])
    return formats[0]


def _demand(board: Board, card: BoardCard, key: str, value: int, offered: tuple[int, ...]) -> None:
    if value not in offered:
        raise _not_offered(board, card, f"{key} = {value}", offered)


def _not_offered(board: Board, card: BoardCard, wish: str, offered: Iterable[object]) -> EvenhandError:
    listed = ", ".join(map(str, offered)) or "none that the mixer can use"
    return EvenhandError(f"{board.path.name}: {wish} is not offered by {card.pcm}; it offers {listed}")


def _check_period(board: Board, card: BoardCard, direction: str, n_channels: int, sample_format: str) -> None:
    audio = board.audio
    with _Opened(card.pcm, direction, audio, n_channels, sample_format) as handle:
        got = int(handle.info()["period_size"])
    if got != audio.period_frames:
        raise EvenhandError(
            f"{board.path.name}: period_frames = {audio.period_frames} is not offered by {card.pcm}; "
            f"the nearest for {direction} is {got}"
        )


class _Opened:
    """An open PCM, closed when the ``with`` block ends."""

    def __init__(
        self, pcm: str, direction: str, audio: AudioSpec | None = None, n_channels: int = 2, sample_format: str = ""
    ) -> None:
        alsa = alsaaudio()
        wishes: dict[str, Any] = {}
        if audio is not None:
            wishes = {
                "rate": audio.sample_rate_hz,
                "channels": n_channels,
                "format": getattr(alsa, f"PCM_FORMAT_{sample_format}"),
                "periodsize": audio.period_frames,
                "periods": audio.n_periods,
            }
        kind = alsa.PCM_CAPTURE if direction == CAPTURE else alsa.PCM_PLAYBACK
        try:
            # Nonblocking: a PCM in use answers at once instead of when it is free again.
            self._pcm = alsa.PCM(type=kind, mode=alsa.PCM_NONBLOCK, device=pcm, **wishes)
        except alsa.ALSAAudioError as error:
            hint = "; is another program using it?" if "busy" in str(error) else ""
            raise EvenhandError(f"{pcm}: cannot be opened for {direction}: {error}{hint}") from None

    def __enter__(self) -> Any:
        return self._pcm

    def __exit__(self, *_: object) -> None:
        self._pcm.close()
