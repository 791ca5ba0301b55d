"""Sessions in which a control is killed, with an engineer who lays hands on the mixer now and then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from firmware.control.control import Control
from firmware.control.mixer_state import Mode
from firmware.control.proposals import Proposal
from firmware.observation import ChannelSetup
from firmware.tests.control_plant import Plant, Source, setups

RATE_HZ = 48000.0
BAND = ("kick", "snare", "bass", "gtr l", "gtr r", "keys", "vox lead", "bgvox 1")


def band() -> tuple[list[ChannelSetup], list[Source]]:
    """Return eight steady instruments."""
    levels = [-20.0, -30.0, -18.0, -26.0, -34.0, -22.0, -40.0, -36.0]
    centres = [70.0, 900.0, 90.0, 800.0, 1000.0, 500.0, 1500.0, 1700.0]
    return setups(*BAND), [Source(level, centre_hz=f) for level, f in zip(levels, centres, strict=True)]


def table() -> tuple[list[ChannelSetup], list[Source]]:
    """Return four talkers who take turns, one of them with a name that says nothing."""
    levels = [-20.0, -44.0, -32.0, -26.0]

    def talks(ch: int) -> Callable[[float], float]:
        return lambda t: levels[ch] + 3.0 * np.sin(11.0 * t) if int(t) % 4 == ch else -np.inf

    return setups("host", "guest 1", "guest 2", "mic 4"), [Source(talks(ch), floor_dbfs=-90.0) for ch in range(4)]


def show() -> tuple[list[ChannelSetup], list[Source]]:
    """Return a band with verse and chorus, an announcer, a player, two unknown channels and a silent one."""

    def plays(ch: int) -> Callable[[float], float]:
        return lambda t: -25.0 - ch + 3.0 * np.sin(2.1 * t + ch) + (4.0 if t % 16.0 > 8.0 else 0.0)

    names = ("kick", "bass", "gtr", "vox", "announcer", "player", "track 7", "mic 9", "keys")
    features = {"centroid_hz": 900.0, "crest_db": 14.0, "attack_ms": 12.0, "decay_db_per_s": 80.0, "flatness": 0.1}
    sources = [Source(plays(ch), centre_hz=80.0 * 1.7**ch, features=features) for ch in range(8)]
    return setups(*names, stereo=("player",)), [*sources, Source(-np.inf)]


SESSIONS = {"band": band, "table": table, "show": show}


def started(session: str, **options: object) -> Plant:
    channels, sources = SESSIONS[session]()
    return Plant(Control(channels, sample_rate_hz=RATE_HZ, **options), sources)  # type: ignore[arg-type]


def full_mixer() -> Plant:
    """Return thirty-two busy channels."""
    names = [*BAND, "hihat", "tom 1", "tom 2", "oh l", "oh r", "ac gtr", "synth", "piano", "sax", "trumpet", "violin",
             "cello", "bgvox 2", "host", "guest", "host 2", "playback", "ambience", "perc", "organ", "mic 1", "mic 2",
             "mic 3", "mic 4"]  # fmt: skip
    rng = np.random.default_rng(1)

    def plays(ch: int, level_dbfs: float) -> Callable[[float], float]:
        return lambda t: level_dbfs + 3.0 * np.sin(3.0 * t + ch) if (t + ch) % 5.0 < 4.0 else -np.inf

    sources = [
        Source(plays(ch, level), centre_hz=float(rng.choice([80.0, 300.0, 900.0, 2500.0, 6000.0])))
        for ch, level in enumerate(rng.uniform(-45.0, -15.0, 32))
    ]
    return Plant(Control(setups(*names), sample_rate_hz=RATE_HZ), sources)


def lay_hands_on(control: Control, tick: int) -> None:
    """Do what an engineer does in the course of a session."""
    acts: dict[int, Callable[[], object]] = {
        60: lambda: control.set_mode("channel", 0, "fader", Mode.ASSIST),
        90: lambda: control.set_parameter("channel", 1, "fader.level_db", -11.5),
        120: lambda: control.set_locked("channel", 2, "eq", True),
        130: lambda: control.set_amount("channel", 3, "pan", 40.0),
        150: lambda: control.undo(control.decisions[-1].id),
        170: lambda: [control.accept(p.id) for p in control.pending[:1]],
        210: lambda: control.offer([Proposal("channel", 0, "pan.position", 0.4, "m", {"x": 1.0}, 0.9, "model", "n")]),
        330: lambda: control.set_parameter("system", 0, "panic.is_on", 1.0),
        331: lambda: control.undo(control.decisions[-1].id),
    }
    if tick in acts:
        acts[tick]()
