"""What a board file says, checked: frozen data, and nothing heavy, for the engine's process reads it too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SAMPLE_RATES_HZ = (44100, 48000, 96000)
PERIODS_FRAMES = (16, 32, 48, 64, 96, 128)
FORMATS = ("S32_LE", "S24_3LE", "S16_LE")
MACHINES = ("any", "aarch64", "x86_64")
ROLES = ("main", "secondary")
SCHEMES = ("tryboot", "uefi", "app_slots", "qemu_rom", "none")
IMAGE_SCHEMES = ("tryboot", "qemu_rom", "uefi")  # those with two root slots of our own
OUTPUTS = (
    "main_l", "main_r", "record_l", "record_r", "aux_1", "aux_2", "aux_3", "aux_4", "aux_5", "aux_6",
    "monitor_l", "monitor_r",
)  # fmt: skip
MAX_STRIPS = 32
MAX_CARD_CHANNELS = 64
MAX_CARDS = 4


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """How all cards run. Playback is ``n_periods`` periods of ``period_frames`` ahead."""

    sample_rate_hz: int
    period_frames: int
    n_periods: int
    formats: tuple[str, ...]  # in order of preference


@dataclass(frozen=True, kw_only=True)
class CardMatch:
    """What identifies a card whatever its index; None asks nothing. All that is asked must hold."""

    id: str | None = None  # ALSA card id
    driver: str | None = None
    usb: str | None = None  # "vendor:product", hexadecimal
    long_name: str | None = None  # pattern with * and ?

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked: the PCM is then taken as it is."""
        return self == CardMatch()


@dataclass(frozen=True, kw_only=True)
class CardSpec:
    """A sound card. ``None`` channels: as many as the session needs."""

    key: str
    pcm: str  # an ALSA name, or "virtual"
    ctl: str | None  # ALSA control with the preamps; None is the card's own
    match: CardMatch
    role: str
    n_capture: int | None
    n_playback: int | None


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """A strip and the capture channel that feeds it, both from 1; a stereo strip takes the next channel too."""

    strip: int
    card: str
    channel: int
    name: str | None
    is_stereo: bool


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """A bus output and the playback channel, from 1, that carries it."""

    name: str
    card: str
    channel: int


@dataclass(frozen=True, kw_only=True)
class CoreSpec:
    """Which processor cores do what; None and () leave it to the kernel."""

    audio: int | None
    analysis: int | None
    control: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BudgetSpec:
    """What the board promises, and tests hold it to. ``max_temp_c`` None: not watched."""

    max_round_trip_frames: int
    min_served_percent: float
    max_wake_p999_us: float
    max_temp_c: float | None


@dataclass(frozen=True, kw_only=True)
class PreampSpec:
    """The mixer elements in front of a capture channel; None where the card has no such control.

    Channels that name the same ``phantom_control`` share its switch.
    """

    card: str
    channel: int
    gain_control: str | None
    min_gain_db: float | None
    max_gain_db: float | None
    pad_control: str | None
    phantom_control: str | None
    phantom_settle_ms: float  # how long a microphone stays muted after its phantom power was switched
    is_pad_on: bool | None = None  # what the box switches it to when it starts; None leaves it as it is
    is_phantom_on: bool | None = None


@dataclass(frozen=True, kw_only=True)
class UpdateSpec:
    """How a new system gets onto the board, and the slots it may go to."""

    scheme: str
    slots: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """What the image of a board is made of; the sizes are those of one slot, and stay: an update cannot move them."""

    kernel: str  # Debian's package
    console: str  # device of the serial console
    modules: tuple[str, ...]  # loaded at every start
    boot_mib: int
    root_mib: int
    health_seconds: int  # how long periods are watched after a start


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board file, whole and checked. ``inputs`` is empty where the session says what there is to hear."""

    name: str
    title: str
    machine: str
    audio: AudioSpec
    cards: tuple[CardSpec, ...]
    inputs: tuple[InputSpec, ...]  # by strip
    outputs: tuple[OutputSpec, ...]
    cores: CoreSpec
    budget: BudgetSpec
    preamps: tuple[PreampSpec, ...]
    update: UpdateSpec
    image: ImageSpec | None  # None: no image of it is built
    path: Path

    @property
    def main_card(self) -> CardSpec:
        """The card whose clock is the mixer's."""
        return next(c for c in self.cards if c.role == "main")
