"""Smoke: the box comes up, sound goes where it should and takes as long as promised, and what was set stays set.

The first thing to run on a rig, and on the simulated box in every `make test`.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from board_configs.board import board_names
from dsp_kernels.contract.generated.contract import CONTRACT_ID
from hil_tests.board import Box, play
from hil_tests.scene import STILL, Value, begin_anew, scene_toml, stand_still

SETTLE_S = 0.2  # ramps take 50 ms at most
IMPULSE_LIN = 0.5
HEARD_LIN = 1e-3  # -60 dBFS: nothing that was sent is quieter, what leaks must be
SPACING_FRAMES = 2000  # between impulses; longer than any way through a box
LEVEL_TOLERANCE_DB = 0.05  # ours is exact; converters and a cable of a bench have their share
CENTRE_DB = -3.01  # of a constant-power pan
HEALTH = "evenhand-box health --segment /run/evenhand/segment --json --seconds 1 --board"
N_LOOKS = 5
MODEL_S = 240.0  # wall clock, for a model's process to start on an emulated box
RESTORED = "/var/lib/evenhand/restored/last.toml"
LAST = "/var/lib/evenhand/state/last.toml"
AUTOSAVE_S = 11.0  # a state is on the disk ten seconds after it changed


def strip(number: int) -> dict[str, Value]:
    """Return settings by which a strip can be told from every other: its fader, its side and its aux bus."""
    return {
        "fader.level_db": -2.0 * (number % 16), "pan.position": float(number % 3 - 1),
        f"send.{number % 6 + 1}.level_db": -3.0,
    }  # fmt: skip


def where_it_belongs(number: int) -> dict[str, float]:
    """Return the outputs that must carry such a strip, and their levels in dB."""
    settings = strip(number)
    fader_db = float(settings["fader.level_db"])
    sides = {-1.0: {"l": 0.0}, 0.0: {"l": CENTRE_DB, "r": CENTRE_DB}, 1.0: {"r": 0.0}}[float(settings["pan.position"])]
    buses = {f"{bus}_{side}": fader_db + pan_db for bus in ("main", "record", "monitor") for side, pan_db in
             sides.items()}  # fmt: skip
    return {**buses, f"aux_{number % 6 + 1}": fader_db - 3.0}


def impulses(n_inputs: int) -> NDArray[np.float32]:
    """Return one impulse a channel, one after the other."""
    sound = np.zeros((SPACING_FRAMES * n_inputs, n_inputs), np.float32)
    for channel in range(n_inputs):
        sound[channel * SPACING_FRAMES, channel] = IMPULSE_LIN
    return sound


def ways_frames(box: Box, output: str = "main_l") -> list[int]:
    """Return how many frames each channel's impulse took to ``output``."""
    heard = play(box.audio, impulses(box.audio.n_inputs), tail_frames=SPACING_FRAMES)
    column = np.abs(heard.sound[:, box.audio.output_names.index(output)])
    starts = range(0, box.audio.n_inputs * SPACING_FRAMES, SPACING_FRAMES)
    return [int(np.argmax(column[start : start + SPACING_FRAMES])) for start in starts]


def counters(box: Box) -> dict[str, int]:
    """Return what the engine has counted, as a laptop is told."""
    (told,) = json.loads(box.evenhand("status", "--json"))["boxes"]
    return dict(told["engine"]["counters"])


def level_db(sound: NDArray[np.float32], against_lin: float) -> float:
    return float(20.0 * np.log10(max(float(np.abs(sound).max()), 1e-9) / against_lin))


# ---------------------------------------------------------------------------------------------------------- it runs


@pytest.mark.needs("shell")
def test_box_comes_up_and_finds_itself_good(box: Box) -> None:
    board = box.board.name if box.board.name in board_names() else box.board.path
    for _ in range(N_LOOKS):  # it counts periods by the wall clock, which a loaded machine cannot keep up with
        told = json.loads(box.run(f"{HEALTH} {board} 2>/dev/null || true", 300.0))
        if told["is_good"]:
            break
    found = {finding["item"]: finding["words"] for finding in told["findings"]}
    assert told["is_good"], found
    assert set(found) >= {"engine", "periods", "control", "model"}


@pytest.mark.needs("network")
def test_laptop_that_is_paired_sees_a_box_that_mixes(box: Box) -> None:
    (told,) = json.loads(box.evenhand("status", "--json"))["boxes"]
    assert told["engine"]["state"] == "running"
    assert told["contract_id"] == CONTRACT_ID
    assert told["board"] == box.board.name


@pytest.mark.needs("shell")
def test_shipped_model_is_loaded_and_decides_with_the_rules(box: Box) -> None:
    box.configure(EVENHAND_CONTROL_OPTIONS="--model shipped")
    box.start("control")
    until_s = time.monotonic() + MODEL_S
    while "decides with the rules" not in (said := box.log("control")):
        assert "no model" not in said, said
        assert time.monotonic() < until_s, f"no word of a model: {said}"
        box.pass_time(0.5)


# ------------------------------------------------------------------------------------------------------------ sound


@pytest.mark.needs("audio_loopback", "shell")
def test_every_channel_lands_where_its_strip_sends_it_and_nowhere_else(box: Box) -> None:
    n_inputs, names = box.audio.n_inputs, box.audio.output_names
    stand_still(box, scene_toml([strip(number) for number in range(n_inputs)]))
    box.pass_time(SETTLE_S)
    heard = play(box.audio, impulses(n_inputs), tail_frames=SPACING_FRAMES).sound
    wrong: list[str] = []
    for channel in range(n_inputs):
        part = heard[channel * SPACING_FRAMES : (channel + 1) * SPACING_FRAMES]
        wanted = where_it_belongs(channel)
        for column, name in enumerate(names):
            got_db = level_db(part[:, column], IMPULSE_LIN)
            if name not in wanted and np.abs(part[:, column]).max() > HEARD_LIN:
                wrong.append(f"input {channel + 1} leaks into {name} at {got_db:.2f} dB")
            if name in wanted and abs(got_db - wanted[name]) > LEVEL_TOLERANCE_DB:
                wrong.append(f"input {channel + 1} is at {got_db:.2f} dB in {name}, not at {wanted[name]:.2f} dB")
            if name in wanted and part[np.argmax(np.abs(part[:, column])), column] < 0:
                wrong.append(f"input {channel + 1} is upside down in {name}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.needs("audio_loopback", "shell", "power")
def test_way_through_the_box_is_as_long_as_its_board_promises_and_the_same_after_every_start(
    box: Box, record_property: Any
) -> None:
    scene = scene_toml([{}] * box.audio.n_inputs)
    stand_still(box, scene)
    ways = set(ways_frames(box))
    box.start("engine")
    ways |= set(ways_frames(box))
    box.cut_power()
    box.power_on()
    box.wait_until_up()
    ways |= set(ways_frames(box))
    record_property("latency_frames", sorted(ways))
    assert len(ways) == 1, f"the way takes {sorted(ways)} frames"
    (way_frames,), promised_frames = ways, box.board.budget.max_round_trip_frames
    assert way_frames <= promised_frames, f"the way takes {way_frames} frames, {promised_frames} are promised"


@pytest.mark.needs("audio_loopback", "lockstep", "shell")
def test_each_frame_comes_out_once_and_unchanged(box: Box) -> None:
    """White noise on one strip at unity: a frame that is lost, doubled or changed is another number."""
    stand_still(box, scene_toml([{"pan.position": -1.0}] * box.audio.n_inputs))
    box.pass_time(SETTLE_S)
    noise = np.random.default_rng(6).uniform(-0.25, 0.25, 3 * box.audio.sample_rate_hz).astype(np.float32)
    sound = np.zeros((len(noise), box.audio.n_inputs), np.float32)
    sound[:, 0] = noise
    way = ways_frames(box)[0]
    heard = play(box.audio, sound, tail_frames=SPACING_FRAMES).sound[:, box.audio.output_names.index("main_l")]
    error = np.abs(heard[way : way + len(noise)] - noise)
    first = int(np.argmax(error > 1e-6))  # -120 dBFS, a few steps of 24 bits
    assert error.max() <= 1e-6, f"frame {first} of {len(noise)} is the first that came out changed"


@pytest.mark.needs("audio_loopback", "network")
def test_no_period_is_lost_while_the_box_mixes(box: Box, record_property: Any) -> None:
    before = counters(box)
    rng = np.random.default_rng(7)
    steps = rng.uniform(0.0, 0.2, (40, box.audio.n_inputs))  # each channel loud and soft: there is something to decide
    noise = rng.standard_normal((4 * box.audio.sample_rate_hz, box.audio.n_inputs))
    play(box.audio, (noise * np.repeat(steps, len(noise) // len(steps), axis=0)).astype(np.float32))
    after = counters(box)
    lost = {name: after[name] - before[name] for name in ("periods_lost", "xruns", "observations_dropped")}
    record_property("periods", after["periods"] - before["periods"])
    record_property("periods_lost", lost["periods_lost"])
    assert after["periods"] > before["periods"]
    if "lockstep" in box.rig.has:  # elsewhere the wall clock would decide, which may report and not gate
        assert lost == dict.fromkeys(lost, 0)


# -------------------------------------------------------------------------------------------------------- it stays so


@pytest.mark.needs("audio_loopback", "shell", "power", "process_faults")
def test_what_was_set_survives_a_dead_control_a_dead_engine_and_a_power_cut(box: Box) -> None:
    """The state comes as a backup's does, and only sound tells whether it is still there."""
    fader_db = [-3.0 - number for number in range(box.audio.n_inputs)]
    box.put(scene_toml([{"fader.level_db": db, "pan.position": -1.0} for db in fader_db]).encode(), RESTORED)
    box.configure(EVENHAND_CONTROL_OPTIONS=STILL)
    begin_anew(box)
    assert_faders(box, fader_db, "after the first start")
    box.run(f"rm {LAST}")  # what the disk holds from now on, the next control has written by itself
    for kind in ("control_killed", "engine_killed"):
        box.faults.begin(kind)
        box.wait_until_up()
        assert_faders(box, fader_db, f"after {kind}")
    box.pass_time(AUTOSAVE_S)
    box.cut_power()
    box.power_on()
    box.wait_until_up()
    assert_faders(box, fader_db, "after a power cut")
    box.power_off()
    box.power_on()
    box.wait_until_up()
    assert_faders(box, fader_db, "after a shutdown")


@pytest.mark.needs("audio_loopback", "shell", "power")
def test_what_the_release_before_has_kept_is_how_the_first_start_after_an_update_sounds(box: Box) -> None:
    """Its file lies where it lay, and has no sum in its first line, as those of older builds."""
    fader_db = [-12.0 + number for number in range(box.audio.n_inputs)]
    box.configure(EVENHAND_CONTROL_OPTIONS=STILL)
    box.stop("control")  # which writes what it has: only then is the file another's
    box.put(scene_toml([{"fader.level_db": db, "pan.position": -1.0} for db in fader_db]).encode(), LAST)
    begin_anew(box)
    assert_faders(box, fader_db, "after the update")


def assert_faders(box: Box, fader_db: list[float], when: str) -> None:
    box.pass_time(SETTLE_S)
    n_inputs = box.audio.n_inputs
    heard = play(box.audio, impulses(n_inputs), tail_frames=SPACING_FRAMES).sound
    column = heard[:, box.audio.output_names.index("main_l")]
    got_db = [
        round(level_db(column[ch * SPACING_FRAMES : (ch + 1) * SPACING_FRAMES], IMPULSE_LIN), 2)
        for ch in range(n_inputs)
    ]
    far = [f"{ch + 1} at {got:.2f} dB, not {db:.2f} dB" for ch, (got, db) in enumerate(zip(got_db, fader_db,
           strict=True)) if abs(got - db) > LEVEL_TOLERANCE_DB]  # fmt: skip
    assert not far, f"{when} channels are {'; '.join(far)}"


# ------------------------------------------------------------------------------------------------------------- update


@pytest.mark.needs("update", "network", "shell")
def test_update_is_kept_and_a_step_back_leads_to_the_release_before(box: Box) -> None:
    (before,) = json.loads(box.evenhand("status", "--json"))["boxes"]
    booted = next(slot for slot in before["update"]["slots"] if slot["is_booted"])
    for service in ("control", "engine"):  # an emulated core has time for them or for a bundle, in minutes
        box.stop(service)
    box.evenhand("update", str(box.release), "--again", "--yes", timeout_s=3600.0)
    (updated,) = json.loads(box.evenhand("status", "--json"))["boxes"]
    now = next(slot for slot in updated["update"]["slots"] if slot["is_booted"])
    assert now["name"] != booted["name"]
    box.evenhand("rollback", "--yes", timeout_s=3600.0)
    (back,) = json.loads(box.evenhand("status", "--json"))["boxes"]
    assert next(slot for slot in back["update"]["slots"] if slot["is_booted"])["name"] == booted["name"]
