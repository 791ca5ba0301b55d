"""Reads what is wired to what: strips and outputs to the channels of cards, preamps to the controls of cards."""

from __future__ import annotations

from .spec import MAX_CARD_CHANNELS, MAX_STRIPS, OUTPUTS, CardSpec, InputSpec, OutputSpec, PreampSpec
from .table import Table

MAX_SETTLE_MS = 10_000.0
# Our choice: charging the coupling capacitors behind 48 V takes a second or so; a board that knows better says so.
DEFAULT_SETTLE_MS = 1500.0


def read_inputs(root: Table, cards: tuple[CardSpec, ...]) -> tuple[InputSpec, ...]:
    """Return the strips in order; without a map, one mono strip a capture channel, card by card."""
    tables = root.tables("input")
    if not tables:
        channels = [(card.key, ch) for card in cards for ch in range(1, (card.n_capture or 0) + 1)]
        _check_n_strips(root, len(channels))
        return tuple(
            InputSpec(strip=strip, card=key, channel=ch, name=None, is_stereo=False)
            for strip, (key, ch) in enumerate(channels, start=1)
        )
    _check_n_strips(root, len(tables))
    used: dict[tuple[str, int], str] = {}
    inputs: dict[int, InputSpec] = {}
    for table in tables:
        found = _input(table, cards)
        if found.strip in inputs:
            raise table.error(f"strip {found.strip} is fed twice")
        for channel in range(found.channel, found.channel + 1 + found.is_stereo):
            _claim(table, used, found.card, channel, f"strip {found.strip}")
        inputs[found.strip] = found
    missing = set(range(1, len(inputs) + 1)) - set(inputs)
    if missing:
        raise root.error(f"input: no strip {min(missing)}; strips count from 1 without a gap")
    return tuple(inputs[strip] for strip in sorted(inputs))


def _check_n_strips(root: Table, n_strips: int) -> None:
    if n_strips > MAX_STRIPS:
        raise root.error(f"{n_strips} input channels; a mixer has at most {MAX_STRIPS}")


def _input(table: Table, cards: tuple[CardSpec, ...]) -> InputSpec:
    card = _card_of(table, cards)
    is_stereo = table.flag("is_stereo", default=False)
    found = InputSpec(
        strip=table.integer("strip", 1, MAX_STRIPS),
        card=card.key,
        channel=_channel(table, card, "captures", card.n_capture, width=1 + is_stereo),
        name=table.text("name", None),
        is_stereo=is_stereo,
    )
    table.close()
    return found


def read_outputs(root: Table, cards: tuple[CardSpec, ...]) -> tuple[OutputSpec, ...]:
    """Return the outputs; without a map, the main card's channels in the order of ``OUTPUTS``.

    A playback channel carries one bus; a bus may go to several channels.
    """
    tables = root.tables("output")
    if not tables:
        main = next(c for c in cards if c.role == "main")
        names = OUTPUTS[: main.n_playback]
        return tuple(OutputSpec(name=name, card=main.key, channel=ch) for ch, name in enumerate(names, start=1))
    used: dict[tuple[str, int], str] = {}
    outputs = []
    for table in tables:
        card = _card_of(table, cards)
        name = table.choice("name", OUTPUTS)
        channel = _channel(table, card, "plays", card.n_playback)
        table.close()
        _claim(table, used, card.key, channel, name)
        outputs.append(OutputSpec(name=name, card=card.key, channel=channel))
    return tuple(outputs)


def _card_of(table: Table, cards: tuple[CardSpec, ...]) -> CardSpec:
    main = next(c for c in cards if c.role == "main")
    key = table.choice("card", [c.key for c in cards], main.key)
    return next(c for c in cards if c.key == key)


def _channel(table: Table, card: CardSpec, verb: str, n_channels: int | None, width: int = 1) -> int:
    n_channels = MAX_CARD_CHANNELS if n_channels is None else n_channels
    channel = int(table.integer("channel", 1, MAX_CARD_CHANNELS))
    last = channel + width - 1
    if last > n_channels:
        raise table.error(f'channel {last} does not exist: card "{card.key}" {verb} {n_channels} channels')
    return channel


def _claim(table: Table, used: dict[tuple[str, int], str], card: str, channel: int, taker: str) -> None:
    if (card, channel) in used:
        raise table.error(f'channel {channel} of card "{card}" is already taken by {used[card, channel]}')
    used[card, channel] = taker


# --------------------------------------------------------------------------------------------------------- preamps


def read_preamps(root: Table, cards: tuple[CardSpec, ...]) -> tuple[PreampSpec, ...]:
    """Return one preamp a channel; a ``[[preamp]]`` table may describe several that differ in their number only."""
    used: dict[tuple[str, int], str] = {}
    preamps: list[PreampSpec] = []
    phantom: dict[tuple[str, str], bool | None] = {}  # by switch: channels may share it
    for table in root.tables("preamp"):
        card = _card_of(table, cards)
        for preamp in _bank(table, card):
            _claim(table, used, card.key, preamp.channel, "another preamp")
            preamps.append(preamp)
            if preamp.phantom_control is None:
                continue
            switch = (card.key, preamp.phantom_control)
            if phantom.setdefault(switch, preamp.is_phantom_on) != preamp.is_phantom_on:
                raise table.error(f'is_phantom_on of "{preamp.phantom_control}" is not the same everywhere it is named')
        table.close()
    return tuple(preamps)


def _bank(table: Table, card: CardSpec) -> list[PreampSpec]:
    channels = table.items("channels", int, "whole numbers")
    n_capture = MAX_CARD_CHANNELS if card.n_capture is None else card.n_capture
    for channel in channels:
        if not 1 <= channel <= n_capture:
            raise table.error(f'channel {channel} does not exist: card "{card.key}" captures {n_capture} channels')
    gain = table.text("gain_control", None)
    pad = table.text("pad_control", None)
    phantom = table.text("phantom_control", None)
    low_db = table.number("min_gain_db", -60.0, 100.0, None)
    high_db = table.number("max_gain_db", -60.0, 100.0, None)
    settle_ms = table.number("phantom_settle_ms", 0.0, MAX_SETTLE_MS, DEFAULT_SETTLE_MS)
    is_pad_on, is_phantom_on = table.optional_flag("is_pad_on"), table.optional_flag("is_phantom_on")
    if not channels or (gain, pad, phantom) == (None, None, None):
        raise table.error("a preamp needs channels and one of gain_control, pad_control, phantom_control")
    if (gain is None) != (low_db is None) or (gain is None) != (high_db is None):
        raise table.error("gain_control, min_gain_db and max_gain_db belong together")
    if gain is not None and not low_db < high_db:
        raise table.error(f"min_gain_db = {low_db:g} is not below max_gain_db = {high_db:g}")
    for key, wish, control in (("is_pad_on", is_pad_on, pad), ("is_phantom_on", is_phantom_on, phantom)):
        if wish is not None and control is None:
            raise table.error(f"{key} needs {key.removeprefix('is_').removesuffix('_on')}_control to switch it with")
    for key, name in (("gain_control", gain), ("pad_control", pad)):
        if name is not None and len(channels) > 1 and "{channel}" not in name:
            raise table.error(f'{key} = "{name}" is the same for {len(channels)} channels; write {{channel}} in it')
    return [
        PreampSpec(
            card=card.key,
            channel=channel,
            gain_control=_numbered(gain, channel),
            min_gain_db=low_db,
            max_gain_db=high_db,
            pad_control=_numbered(pad, channel),
            phantom_control=_numbered(phantom, channel),
            phantom_settle_ms=settle_ms,
            is_pad_on=is_pad_on,
            is_phantom_on=is_phantom_on,
        )
        for channel in channels
    ]


def _numbered(name: str | None, channel: int) -> str | None:
    return None if name is None else name.replace("{channel}", str(channel))
