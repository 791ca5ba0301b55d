"""A live engine whose segment is full of nonsense: no crash, nothing beyond the ceiling, and all well behind it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from dsp_kernels.contract.layout import PARAMS_DTYPE, default_params
from firmware.segment import Segment
from firmware.tests.live_rig import LiveRig, wait_for
from firmware.tests.segment_rig import EVENTS_HELD, OBSERVATIONS_HELD, Damage, offsets
from firmware.tests.test_live import FOUR, noise_bursts

HOSTILE_NUMBERS = (0, 1, 2, 3, 63, 64, 1024, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
HOSTILE_FLOATS = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, -0.0, 1e9, -1e9, 0.5)
# Hostile snapshots leave the ceilings where they are, so that every output has one to be held against.
CEILING_SCOPES, CEILING = ("main", "record", "aux", "monitor"), "limiter.ceiling_dbfs"
CEILING_S32 = 2.0**31 * 10 ** (-1.2 / 20) * 1.0001
N_BLOWS, N_TICKS_BETWEEN = 120, 1
SOUND = ("params.slot",)  # is struck by hostile snapshots instead
HEADER = ("magic", "version", "size_bytes", "contract_id", "config")


def strike(damage: Damage, rng: np.random.Generator, fields: Sequence[str]) -> str:
    """Overwrite something, and say what."""
    field = str(rng.choice(fields))
    size_bytes = offsets()[field][1]
    if rng.random() < 0.3:
        n = int(min(size_bytes, rng.integers(1, 4096)))
        at = int(rng.integers(0, size_bytes - n + 1))
        damage.write(field, rng.bytes(n), at)
        return f"{n} random bytes in {field}"
    step = min(size_bytes, 8)
    at = int(rng.integers(0, size_bytes // step)) * step
    number = int(rng.choice(np.array(HOSTILE_NUMBERS, np.uint64)))
    damage.number(field, number, at)
    return f"{number} in {field} + {at}"


def hostile_params(rng: np.random.Generator) -> np.ndarray:
    """Return a snapshot in which many values are none that a mixer has."""
    params = default_params()
    words = params.reshape(1).view(np.float32)
    at = rng.integers(0, len(words), len(words) // 2)
    words[at] = rng.choice(np.array(HOSTILE_FLOATS, np.float32), len(at))
    for scope in CEILING_SCOPES:
        params[scope][CEILING] = default_params()[scope][CEILING]
    return params


def look_at_everything(segment: Segment) -> None:
    """Call all that a control or a viewer calls; everything is bounded, whatever it says."""
    segment.wait(0.0)
    assert sum(1 for _ in segment.observations()) <= OBSERVATIONS_HELD
    assert sum(1 for _ in segment.events()) <= EVENTS_HELD
    segment.latest()
    params = segment.params()
    assert params is None or params.dtype == PARAMS_DTYPE
    status = segment.status()
    assert status.state in ("starting", "running", "no_card", "stopped", "unknown")
    assert len(status.trouble) < 256
    assert len(segment.probed_ways_frames()) <= 16
    for notebook in range(3):
        assert len(segment.read_notebook(notebook)) <= 1 << 19
    assert segment.is_current
    assert segment.n_channels == 4


def play_tick(rig: LiveRig, audio: np.ndarray) -> None:
    assert rig.card.feed(audio) == len(audio)
    rig.advance(len(audio))


def check_engine_among_nonsense(fields: Sequence[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    audio = noise_bursts(960 * 50, 4)
    told = []
    with LiveRig(FOUR) as rig:
        engine = rig.start_engine()
        segment = rig.attach()
        segment.publish(default_params())
        rig.card.wait_for_start()
        for _ in range(3):  # into every slot: whichever the engine is made to read, it has its ceilings
            play_tick(rig, audio[:960])
            segment.publish(default_params())
        with Damage(rig.segment_path) as damage:
            for number in range(N_BLOWS):
                told.append(strike(damage, rng, fields))
                if number % 3 == 0:
                    segment.publish(hostile_params(rng))
                for tick in range(N_TICKS_BETWEEN):
                    block = audio[(number + tick) % 50 * 960 :][:960]
                    play_tick(rig, block)
                look_at_everything(segment)
                assert engine.poll() is None, f"died of {told[-3:]}: {engine.communicate()[1]}"
            # And all is well again as soon as somebody who is sane has the word.
            damage.number("probe_lane", 0)
            segment.publish(default_params())
            segment.set_mix_gain_bark(np.ones((4, 24)))
            segment.skip_observations()
            for _ in range(100):
                play_tick(rig, audio[:960])
            n_before = len(rig.all_played())
            for tick in range(50):
                play_tick(rig, audio[tick * 960 :][:960])
            heard = rig.all_played()[n_before:]
            wait_for(lambda: list(segment.observations()), "no observation came any more")
            segment.wait(0.05)
        assert heard.any(), "the engine fell silent for good"
        assert rig.card.report().capture.n_xruns == 0
        assert rig.stop_engine() == 0
        everything = np.abs(rig.all_played().astype(np.int64)).max()
    assert everything <= CEILING_S32


@pytest.mark.parametrize("seed", [1, 2])
def test_an_engine_lives_through_nonsense_in_every_field_of_its_segment(seed: int) -> None:
    check_engine_among_nonsense([name for name in offsets() if name not in (*HEADER, *SOUND)], seed)


def test_what_is_written_over_the_head_of_a_segment_changes_nothing_for_who_has_it_open() -> None:
    check_engine_among_nonsense(HEADER, 3)


@pytest.mark.soak
def test_an_engine_lives_through_nonsense_for_long() -> None:
    for seed in range(100, 140):
        check_engine_among_nonsense([name for name in offsets() if name not in SOUND], seed)


def test_a_control_process_lives_through_nonsense_or_ends_in_one_line() -> None:
    rng = np.random.default_rng(4)
    audio = noise_bursts(960 * 50, 4)
    fields = [n for n in offsets() if n not in HEADER and not n.startswith(("control_pid", "engine_pid"))]
    with LiveRig(FOUR) as rig:
        rig.start_engine()
        view = rig.attach(is_control=False)
        rig.card.wait_for_start()
        command = [sys.executable, "-m", "firmware.control_process", "--mixer", str(rig.folder / "mixer.json")]
        command += ["--segment", str(rig.segment_path)]
        control = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: view.status().control_beat_ns, "no control")
        with Damage(rig.segment_path) as damage:
            for number in range(150):
                said = strike(damage, rng, fields)
                play_tick(rig, audio[number % 50 * 960 :][:960])
                assert control.poll() is None, f"{said}: {control.communicate()[1]}"
            damage.number("control_frame", 0)
            for number in range(200):  # and it goes on deciding
                play_tick(rig, audio[number % 50 * 960 :][:960])
                if damage.read("control_frame") > 0:
                    break
            else:
                wait_for(lambda: damage.read("control_frame"), "control hears nothing any more")
        control.terminate()
        _, words = control.communicate(timeout=60)
        assert control.returncode == 0, words
        assert "Traceback" not in words
