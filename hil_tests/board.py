"""The one interface of every rig: a box with power, a shell, sound, a serial line, a network address and faults.

A test knows no more than this. Paths are those of a box (``/var/lib/evenhand``, ``/run/evenhand``,
``/etc/evenhand/box.env``), whatever a rig makes of them. Channels count from 0, in the box's own order: a rig that
has them wired otherwise puts them right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from board_configs.board import Board

from .rig import Rig

START_S = 120.0  # until a box mixes; a loaded machine needs long, and what fails says so sooner
COMMAND_S = 60.0
BLOCK_FRAMES = 4800


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the box played while a block went in; frame ``first_frame + i`` of the card is row ``i`` of both."""

    first_frame: int
    sound: NDArray[np.float32]  # (n_frames, n_outputs), full scale is 1.0


class AudioPort(Protocol):
    """Sound into every input of the box and out of every output, frame by frame. Needs ``audio_loopback``.

    Frames are numbered by the card from its first one on. On a rig with ``lockstep`` a frame that was played and one of
    ``Heard`` with the same number are the same moment, exactly; elsewhere the rig's own delay, which it measures over a
    cable past the box, is taken off.
    """

    @property
    def sample_rate_hz(self) -> int:
        """Frames a second."""

    @property
    def n_inputs(self) -> int:
        """How many inputs of the box are wired."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each column of ``Heard.sound`` is: words of ``board_configs.spec.OUTPUTS``."""

    def stream(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Heard]:
        """Play ``blocks``, (n_frames, n_inputs) each, and yield what was heard in the very same frames.

        Nothing is kept: hours are no more than a block.

        Raises
        ------
        HilError
            When the sound stops or the rig loses frames of its own.
        """


class SerialLine(Protocol):
    """The box's serial console. Needs ``serial``."""

    def wait_for(self, pattern: str, timeout_s: float) -> str:
        """Return what matched of what came and was not waited for before.

        Raises
        ------
        HilError
            When it does not come.
        """

    def type(self, text: str) -> None:
        """Type on it."""

    @property
    def said(self) -> str:
        """All that came over it since the rig was made."""


class Faults(Protocol):
    """What a rig can break. Needs a fixture that ends in ``_faults``; ``kinds`` says which it has."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What may be asked for: words of ``FAULTS``."""

    @property
    def lacking(self) -> Mapping[str, str]:
        """Words of ``FAULTS`` that this rig should have by its fixtures and does not, with the reason."""

    def begin(self, kind: str, amount: float = 1.0) -> None:
        """Let it happen; what ``amount`` means stands in ``FAULTS``.

        Raises
        ------
        HilError
            When this rig cannot.
        """

    def end(self, kind: str) -> None:
        """Put it right again; what is over by itself, or went with the power, stays as it is."""


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """A thing that can be broken: the fixture that can, what it is and what its amount means, and whether it lasts."""

    needs: str
    words: str
    lasts: bool = True  # until the end; else it is over by itself


def _fault(needs: str, words: str, *, lasts: bool = True) -> FaultKind:
    return FaultKind(needs=needs, words=words, lasts=lasts)


# Each fault once. A rig has those of its fixtures, but for what `Faults.lacking` says; a driver may know more.
FAULTS: Mapping[str, FaultKind] = {
    "capture_xrun": _fault("card_faults", "capture breaks off so many times", lasts=False),
    "playback_xrun": _fault("card_faults", "playback breaks off so many times", lasts=False),
    "unplug": _fault("card_faults", "the sound card is gone"),
    "late_wake": _fault("card_faults", "each wake-up of the audio thread comes so many frames late"),
    "drift_ppm": _fault("card_faults", "the card's clock is so much too fast"),
    "engine_killed": _fault("process_faults", "the engine process dies", lasts=False),
    "control_killed": _fault("process_faults", "the control process dies", lasts=False),
    "recorder_killed": _fault("process_faults", "the recorder process dies", lasts=False),
    "engine_stopped": _fault("process_faults", "the engine process stands still"),
    "control_stopped": _fault("process_faults", "the control process stands still"),
    "cpu_hog": _fault("load_faults", "so many other processes want a whole core each"),
    "memory_short": _fault("load_faults", "only so many MiB are left to the box"),
    "disk_full": _fault("disk_faults", "only so many MiB are left on the data disk"),
    "disk_slow": _fault("disk_faults", "the data disk takes only so many KiB a second"),
    "disk_stuck": _fault("disk_faults", "what is written to the data disk does not get there"),
    "state_block": _fault("disk_faults", "a block of the saved state is bad, at that part of its length", lasts=False),
    "state_bit": _fault("disk_faults", "a bit of the saved state is another, at that part of its length", lasts=False),
    "network_gone": _fault("network_faults", "nothing gets through; what was under way waits"),
    "network_delay_ms": _fault("network_faults", "all that is sent, either way, takes so much longer"),
    "network_loss": _fault("network_faults", "that part of all packets, either way, is lost and sent again"),
    "network_cut": _fault("network_faults", "every connection breaks off", lasts=False),
    "throttled": _fault("heat_faults", "the machine says so, in the bits of a Raspberry Pi's word"),
    "brown_out": _fault("power", "the supply breaks down; the end gives it back and waits for the box"),
}


class Box(Protocol):
    """A box on a rig. A context manager: leaving it cuts the power and removes what belonged to it.

    It begins without power. What a rig does not have wired raises ``NotWiredError``.
    """

    @property
    def rig(self) -> Rig:
        """The rig it is on."""

    @property
    def board(self) -> Board:
        """Its board file, with the budget that it promises."""

    @property
    def folder(self) -> Path:
        """Folder on this machine for what belongs to this box: logs, images."""

    def __enter__(self) -> Self:
        """Make it, without power."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut the power and clear away."""

    @property
    def is_as_new(self) -> bool:
        """Whether nothing was done to it that a test after this one would find."""

    def renew(self) -> None:
        """Make it as new, without power: no settings, scenes, recordings; the slot and release it began with."""

    def restore(self) -> bool:
        """Go back to the moment at which it was first up and as new, where a rig can; return whether it has."""

    # --------------------------------------------------------------------------------------------------- power

    @property
    def has_power(self) -> bool:
        """Whether it has power now."""

    def power_on(self) -> None:
        """Give it power; returns before it mixes."""

    def power_off(self) -> None:
        """Shut it down in order, and take the power away."""

    def cut_power(self) -> None:
        """Pull the plug."""

    def wait_until_up(self, timeout_s: float = START_S) -> None:
        """Wait until engine and control run.

        Raises
        ------
        HilError
            When they do not in time; with what the box said last.
        """

    # --------------------------------------------------------------------------------------------------- shell

    def run(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a shell command on the box as root and return what it printed; sound goes on meanwhile.

        Raises
        ------
        HilError
            When it fails or does not end; with the end of what it said.
        """

    def put(self, content: bytes, path: str) -> None:
        """Write a file on the box; its folder is made."""

    def get(self, path: str) -> bytes:
        """Read a file on the box.

        Raises
        ------
        HilError
            When there is none.
        """

    def configure(self, **settings: str) -> None:
        """Set variables of ``/etc/evenhand/box.env``, such as ``EVENHAND_CONTROL_OPTIONS``, from the next start on."""

    def start(self, *services: str) -> None:
        """Start ``engine``, ``control``, ``agent``, ``recorder``, anew what runs, and wait until all are ready.

        The first three run whenever the box does, the recorder is off. The engine is ready once control has told it
        what to play.
        """

    def stop(self, service: str) -> None:
        """Stop a service in order."""

    def pass_time(self, seconds: float) -> None:
        """Let the box live through ``seconds`` of silence; with ``lockstep`` as fast as it can."""

    def log(self, service: str) -> str:
        """Return what a service has said since the power came."""

    # --------------------------------------------------------------------------------------------------- wires

    @property
    def audio(self) -> AudioPort:
        """Its sound."""

    @property
    def serial(self) -> SerialLine:
        """Its console."""

    @property
    def network_address(self) -> tuple[str, int]:
        """Host and port, as seen from here, at which its update agent answers. Needs ``network``."""

    def evenhand(self, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """Run ``evenhand`` on this machine, as a laptop that is paired with the box and with no other.

        Raises
        ------
        HilError
            When it fails; with what it said. Needs ``network``.
        """

    @property
    def release(self) -> Path:
        """A signed bundle on this machine that the box takes, the release that it runs or another. Needs ``update``."""

    @property
    def faults(self) -> Faults:
        """What can be broken."""


def play(port: AudioPort, sound: NDArray[np.float32], *, tail_frames: int = 0) -> Heard:
    """Play ``sound`` (n_frames, n_inputs), then ``tail_frames`` of silence, and return all that was heard."""
    silence = np.zeros((tail_frames, port.n_inputs), np.float32)
    whole = np.concatenate([sound.astype(np.float32, copy=False), silence])
    heard = list(port.stream(whole[at : at + BLOCK_FRAMES] for at in range(0, len(whole), BLOCK_FRAMES)))
    return Heard(first_frame=heard[0].first_frame, sound=np.concatenate([part.sound for part in heard]))
