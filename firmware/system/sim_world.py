"""The world around a simulated box: a session of recorded files plays into a virtual sound card, as fast as it sounds.

The card's clock keeps to the wall clock, and it is patient: it waits for an engine or a control that is late instead of
breaking the sound off. On a busy laptop without real-time rights the mix is therefore still the one that a box with a
card of its own would make; what waiting there was is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from board_configs.board import Board
from firmware.errors import EvenhandError
from firmware.mixer_setup import setup_of_session
from firmware.session_reader import SessionReader
from firmware.sessions import Session, open_session

from .alsa_config import write_alsa_config
from .virtual_card import VirtualCard
from .virtual_controls import VirtualControls, controls_of
from .virtual_tape import CardPlayer

PCM = CTL = "evenhand_sim"
PANEL = "panel"  # file of the preamps' controls
BLOCK_FRAMES = 4800
TICKS_PER_S = 50
TAIL_S = 0.25  # after the last frame of the session: what is still in the mixer comes out
SILENT_STRIPS = 8  # without a session
BEHIND_S = 0.25  # a clock further behind than this does not catch up any more
CONTROL_PATIENCE_S = 0.25  # for one tick; a control that is away is waited for no longer


class SimWorld:
    """Makes the card before the box starts, and plays once it runs. A context manager.

    Parameters
    ----------
    board
        With a card whose pcm is ``virtual``.
    session
        What to play; None for silence on eight channels.
    runtime
        Folder for the card's file, best in memory.

    Raises
    ------
    EvenhandError
        When the session cannot be read or needs more inputs than the board offers.
    """

    def __init__(self, board: Board, session: Path | None, runtime: Path) -> None:
        spec = board.main_card
        self._session = open_session(session) if session else None
        self.title = self._session.name if self._session else "silence"
        rate_hz = self._session.sample_rate_hz if self._session else board.audio.sample_rate_hz
        self.setup = setup_of_session(
            _strips(self._session), sample_rate_hz=rate_hz, n_card_outputs=spec.n_playback or 2
        )
        if spec.n_capture is not None and self.setup.n_card_inputs > spec.n_capture:
            raise EvenhandError(
                f"{session}: needs {self.setup.n_card_inputs} inputs, {board.name} has {spec.n_capture}; "
                "leave channels out in its session.toml"
            )
        self._path, self._runtime = runtime / "card", runtime
        self._period_frames, self._formats = board.audio.period_frames, board.audio.formats
        self._stop = threading.Event()
        self._stack = ExitStack()
        self._preamps = board.preamps
        self.panel: VirtualControls | None = None  # where a hand may turn knobs
        self.pcm, self.ctl = PCM, CTL
        self.waited_s = 0.0  # that the clock waited for the box
        self.trouble = ""

    def __enter__(self) -> Self:
        self.card = self._stack.enter_context(
            VirtualCard(
                self._path,
                n_capture=self.setup.n_card_inputs,
                n_playback=self.setup.n_card_outputs,
                sample_rate_hz=self.setup.sample_rate_hz,
                formats=self._formats,
                clock="manual",
                tape=self._session is not None,
                recorder=False,
            )
        )
        panel = self._runtime / PANEL
        if self._preamps:
            self.panel = self._stack.enter_context(VirtualControls(panel, controls_of(self._preamps)))
        controls = {CTL: panel} if self.panel else {}
        self.environment = {"ALSA_CONFIG_PATH": str(write_alsa_config(self._runtime, {PCM: self._path}, controls))}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._stack.close()

    def begin(self, is_control_behind: Callable[[], bool]) -> None:
        """Let the session play; until now the card's clock stood."""
        if self._session is not None:
            reader = self._stack.enter_context(SessionReader(self._session))
            self._stack.enter_context(CardPlayer(self.card, reader.blocks(BLOCK_FRAMES)))
        pacer = threading.Thread(target=self._pace, args=(is_control_behind,), name="card-clock", daemon=True)
        pacer.start()
        self._stack.callback(pacer.join)
        self._stack.callback(self._stop.set)

    @property
    def is_over(self) -> bool:
        """Whether the session has been played, or the card's clock cannot go on."""
        if self.trouble:
            return True
        if self._session is None:
            return False
        return self.card.frame >= self._session.n_frames + int(self.setup.sample_rate_hz * TAIL_S)

    def _pace(self, is_control_behind: Callable[[], bool]) -> None:
        rate_hz = self.setup.sample_rate_hz
        tick_frames, period = rate_hz // TICKS_PER_S, self._period_frames
        began_s = time.monotonic()
        frame = 0
        try:
            while not self._stop.is_set():
                behind_s = time.monotonic() - began_s - frame / rate_hz
                if behind_s > BEHIND_S:
                    began_s += behind_s
                    self.waited_s += behind_s
                elif behind_s * rate_hz < period:
                    self._stop.wait(period / rate_hz - behind_s)
                    continue
                self._amplify()
                n_moved = self.card.run(period, step_frames=period)
                if n_moved == 0:
                    self._stop.wait(period / rate_hz)  # the tape is late, or nobody has started the card yet
                    continue
                if (frame + n_moved) // tick_frames > frame // tick_frames:
                    self._wait_for(is_control_behind)
                frame += n_moved
        except EvenhandError as error:
            self.trouble = str(error)

    def _amplify(self) -> None:
        """Let the card's gain controls do what they say; at 0 dB the session plays as it was recorded."""
        if self.panel is None:
            return
        for spec, gain_db in self.panel.gains_db(self._preamps):
            if spec.channel <= self.setup.n_card_inputs:
                self.card.set_preamp_gain_db(spec.channel - 1, gain_db)

    def _wait_for(self, is_control_behind: Callable[[], bool]) -> None:
        until_s = time.monotonic() + CONTROL_PATIENCE_S
        while is_control_behind() and time.monotonic() < until_s and not self._stop.is_set():
            time.sleep(0.0003)


def _strips(session: Session | None) -> list[tuple[str, str | None, bool]]:
    if session is None:
        return [(f"In {number + 1}", None, False) for number in range(SILENT_STRIPS)]
    return [(c.name, c.role, c.is_stereo) for c in session.channels]
