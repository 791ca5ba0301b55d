"""Fills in what the live engine is started with: which lane of the mixer is which channel of which card.

No NumPy: the engine process imports this.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from board_configs.board import Board, CardSpec

from .errors import EvenhandError
from .mixer_setup import MixerSetup

TICK_MS = 20
OUTPUT_NAMES = (
    "main_l", "main_r", "record_l", "record_r", "aux_1", "aux_2", "aux_3", "aux_4", "aux_5", "aux_6",
    "monitor_l", "monitor_r",
)  # fmt: skip
ANALYSIS_PRIORITY = 30
SNAPSHOT_TIMEOUT_MS = 5000
# Its thread yields to the audio thread, and its sound is late by the way between the clocks anyway.
MIN_SECONDARY_PERIODS = 4


def live_config(
    ffi: Any, lib: Any, board: Board, setup: MixerSetup, options: argparse.Namespace, *, is_memory_locked: bool
) -> Any:
    """Return an ``eh_live_config`` of the extension.

    Raises
    ------
    EvenhandError
        When set-up and board do not agree about the cards.
    """
    config = ffi.new("eh_live_config *")
    main, second = board.main_card, second_card(board, setup)
    if options.secondary_pcm and second is None:
        raise EvenhandError(
            f"{board.name}: nothing is mapped to a second card, --secondary-pcm names one; give an input or an output "
            'of the board a card with role = "secondary"'
        )
    for card, spec, pcm in ((config.card, main, options.pcm), (config.secondary, second, options.secondary_pcm)):
        if spec is not None:
            _fill_card(card, lib, board, setup, spec)
            card.capture_pcm = card.playback_pcm = os.fsencode(pcm or spec.pcm)[:127]
            card.timeout_ms = options.card_timeout_ms
    config.card.n_capture, config.card.n_playback = setup.n_card_inputs, setup.n_card_outputs
    config.secondary_slack_ms = options.secondary_slack_ms
    config.tick_frames = setup.sample_rate_hz * TICK_MS // 1000
    config.audio_priority = options.priority
    config.analysis_priority = min(ANALYSIS_PRIORITY, options.priority)
    config.audio_core = -1 if board.cores.audio is None else board.cores.audio
    config.analysis_core = -1 if board.cores.analysis is None else board.cores.analysis
    config.waits_for_card = options.wait_for_card
    config.is_memory_locked = is_memory_locked
    config.snapshot_timeout_ms = SNAPSHOT_TIMEOUT_MS
    return config


def second_card(board: Board, setup: MixerSetup) -> CardSpec | None:
    """Return the secondary card that a strip or an output is mapped to; a card that nothing needs stays closed.

    Raises
    ------
    EvenhandError
        When a strip asks for a card that the board does not have, or more than one is needed.
    """
    keys = [card.key for card in board.cards]
    for strip in setup.strips:
        if strip.card is not None and strip.card not in keys:
            raise EvenhandError(
                f'{board.name}: strip "{strip.name}" wants card "{strip.card}"; the board has {", ".join(keys)}'
            )
    mapped = {strip.card for strip in setup.strips} | {output.card for output in board.outputs}
    needed = [card for card in board.cards if card.role == "secondary" and card.key in mapped]
    if len(needed) > 1:
        names = " and ".join(card.key for card in needed)
        raise EvenhandError(f"{board.name}: cards {names} are mapped; a mixer takes one beside the main card")
    for card in needed:
        if card.n_capture is None or card.n_playback is None:
            raise EvenhandError(
                f'{board.name}: card "{card.key}" takes its channels from a session, which only the main card can; '
                "write how many it has"
            )
    return needed[0] if needed else None


def _fill_card(card: Any, lib: Any, board: Board, setup: MixerSetup, spec: CardSpec) -> None:
    is_main = spec.role == "main"
    formats = {"S32_LE": lib.EH_FORMAT_S32, "S24_3LE": lib.EH_FORMAT_S24_3, "S16_LE": lib.EH_FORMAT_S16}
    card.formats = [formats[name] for name in board.audio.formats]
    card.sample_rate_hz = setup.sample_rate_hz
    card.period_frames = board.audio.period_frames
    card.n_periods = board.audio.n_periods if is_main else max(board.audio.n_periods, MIN_SECONDARY_PERIODS)
    card.n_capture, card.n_playback = spec.n_capture or 0, spec.n_playback or 0
    lanes = [
        channel if (strip.card or board.main_card.key) == spec.key else -1
        for strip in setup.strips
        for channel in strip.card_channels
    ]
    card.n_capture_lanes = len(lanes)
    card.capture_channel = lanes
    card.playback_output = [-1] * len(card.playback_output)
    for output in board.outputs:
        if output.card == spec.key:
            card.playback_output[output.channel - 1] = OUTPUT_NAMES.index(output.name)
