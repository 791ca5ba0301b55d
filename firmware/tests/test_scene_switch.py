"""Talk, song, talk on channels that nobody named: the scene follows the model within a second, without a jump."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
import soundfile
import soxr

from dsp_kernels.contract.generated.contract import SCENE_KINDS
from firmware.control.control import TICK_S, Control
from firmware.engine import Engine
from firmware.inference.answer import Answer
from firmware.inference.bundle import SHIPPED
from firmware.inference.inline import inline_of
from firmware.observation import TICK_MS, ChannelSetup
from firmware.tests import panel as p
from firmware.tests.control_plant import Source
from firmware.tests.test_learned import RATE_HZ, Stage, answer, level_db, role_prob, setups

PARTS_S = (10.0, 25.0, 35.0, 45.0)  # talk, song, talk, song
ROLES_HEARD = ("speech", "speech", "vocal_lead", "synth", "drums")
NAMES = tuple(f"in {n + 1}" for n in range(len(ROLES_HEARD)))
MAX_STEP_DB = 0.5  # a tick
TURN_S, LEAK = 3.0, 0.06
TALKERS = (
    ("en-gb+m3", "The next item is the report of the working group; I thank everybody who has written. "),
    ("en-us+f2", "That is not how I remember it: the lights would stay on until the last boat is in. "),
)


def is_talk(time_s: float) -> bool:
    return sum(time_s >= end for end in PARTS_S) % 2 == 0


def talkers_turn(ch: int) -> Source:
    return Source(lambda t: -30.0 if is_talk(t) and int(t / 2.0) % 2 == ch else -np.inf, centre_hz=600.0 + 200.0 * ch)


def said(tick: int) -> Answer:
    """Return what a good model says: who is what, and what kind of scene it is, half a second late."""
    scene = "speech" if is_talk(tick * TICK_S - 0.5) else "music"
    return answer(tick, len(NAMES), scene=scene, role_prob=role_prob(*ROLES_HEARD), offset_lu=np.zeros((5, 3)))


def test_talk_and_song_switch_within_a_second_and_no_gain_jumps() -> None:
    control = Control(setups(*NAMES), sample_rate_hz=RATE_HZ)
    music = [Source(lambda t: -np.inf if is_talk(t) else -26.0, centre_hz=300.0 * 2**n) for n in range(3)]
    plant = Stage(control, [talkers_turn(0), talkers_turn(1), *music])
    plant.says = said
    kinds, net, ride = [], [], []
    for _ in range(round(PARTS_S[-1] / TICK_S)):
        plant.step()
        kinds.append(control.scene_kind)
        net.append(level_db(plant).astype(float))
        ride.append(float(plant.params["record"]["ride.gain_db"][0]))
    for end_s, kind in zip(PARTS_S[:3], ("music", "speech", "music"), strict=True):
        told = round((end_s + 0.5) / TICK_S)
        assert kinds[told - 10] != kind
        late_s = next(n for n, k in enumerate(kinds[told:]) if k == kind) * TICK_S
        assert late_s <= 1.0, f"{kind} {late_s:.2f} s after the evidence"
        assert set(kinds[told + 50 : told + 400]) == {kind}
    steps = np.abs(np.diff(np.array(net), axis=0))
    known = round((PARTS_S[1] + 0.2) / TICK_S)  # all of them have been acquired
    assert steps[known - 50 :].max() <= MAX_STEP_DB
    assert np.abs(np.diff(ride[known - 50 :])).max() <= MAX_STEP_DB


def spoken(voice: str, words: str, n_frames: int) -> np.ndarray:
    """Return somebody who says words over and over, -30 dBFS."""
    wav = subprocess.run(["espeak-ng", "-v", voice, "--stdout", words], capture_output=True, check=True).stdout
    sound, rate_hz = soundfile.read(io.BytesIO(wav))
    once = soxr.resample(sound, rate_hz, p.RATE_HZ)
    return np.resize(0.03 * once / np.sqrt(np.mean(once**2)), n_frames)


def talk_song_talk(part_s: float) -> np.ndarray:
    """Return five inputs: two people in turn, each a little in the other's microphone; instruments; the two again.

    They say words: a buzz through formants is no speech to a model that hears spectra.
    """
    n = round(part_s * p.RATE_HZ)
    t = np.arange(n) / p.RATE_HZ
    random = np.random.default_rng(4)
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.2, 329.6)) * (1.0 + 0.3 * np.sin(0.8 * t)) / 30.0
    bass = 0.1 * np.sin(2 * np.pi * 110.0 * t) * np.exp(-3.0 * (t % 0.5))
    drums = 0.15 * random.normal(size=n) * np.exp(-18.0 * (t % 0.5))
    x = np.zeros((3 * n, 5), np.float32)
    for ch, (voice, words) in enumerate(TALKERS):
        turns = spoken(voice, words, n) * (t // TURN_S % 2 == ch)
        talk = np.stack([turns, LEAK * turns] if ch == 0 else [LEAK * turns, turns], axis=1)
        x[:n, :2] += talk
        x[2 * n :, :2] += talk
    x[n : 2 * n, 2:] = np.stack([chord, bass, drums], axis=1)
    return x + random.normal(0.0, 1e-5, x.shape).astype(np.float32)


@pytest.mark.skipif(not SHIPPED.exists(), reason="no bundle is shipped with this build")
def test_the_shipped_model_is_followed_from_talk_to_song_to_talk() -> None:
    channels = [ChannelSetup(name=name) for name in NAMES]
    control = Control(channels, sample_rate_hz=float(p.RATE_HZ))
    model, note = inline_of(str(SHIPPED), [], [False] * len(channels))
    assert model is not None, note
    part_s, tick = 15.0, p.RATE_HZ * TICK_MS // 1000
    x = talk_song_talk(part_s)
    kinds, evidence, net = [], [], []
    with Engine(sample_rate_hz=p.RATE_HZ, channels=channels) as engine:
        for start in range(0, len(x) - tick + 1, tick):
            if (params := control.snapshot()) is not None:
                engine.publish(params)
            engine.process(x[start : start + tick])
            observation = engine.observe((start + tick) / p.RATE_HZ)
            told = model.take()
            if (params := control.tick(observation, told)) is not None:
                engine.publish(params)
            model.ask(control.question(observation))
            kinds.append(control.learned.scene_kind)
            evidence.append(told.session["scene_prob"].copy() if told else np.full(len(SCENE_KINDS), 1 / 3))
            strip = control.state.column
            net.append(strip("fader.level_db", 5).astype(float) + strip("input.trim_db", 5))
    check_followed(kinds, np.array(evidence))
    ends = [round(n * part_s / TICK_S) - 1 for n in (1, 2, 3)]
    assert kinds[ends[0]] == kinds[ends[2]] == "speech"
    assert kinds[ends[1]] != "speech"
    switch = round(2 * part_s / TICK_S)
    assert np.abs(np.diff(np.array(net)[switch - 50 : switch + 200], axis=0)).max() <= MAX_STEP_DB


def check_followed(kinds: list[str | None], evidence: np.ndarray) -> None:
    """Hold that whatever the model was clearly sure of for a second is what the box believes."""
    clear = np.sort(evidence, axis=1)
    is_clear = clear[:, -1] - clear[:, -2] > 0.4
    best = np.argmax(evidence, axis=1)
    for tick in range(300, len(kinds)):
        second = slice(tick - 50, tick + 1)
        if is_clear[second].all() and len(set(best[second].tolist())) == 1:
            assert kinds[tick] == SCENE_KINDS[best[tick]], f"tick {tick}"
