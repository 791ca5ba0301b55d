"""The whole box on a simulated card with preamps: a quiet talker, phantom power, and a hand at a knob."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import soundfile

from board_configs.board import load_board
from firmware.live_run import LiveRun, RunJob
from firmware.terminal_view import Picture
from firmware.tests.box_command import left_by

RATE_HZ, SECONDS = 48000, 17
SETTLE_MS = 900
QUIET_DBFS = -48.0


def talker() -> np.ndarray:
    """Return sentences of 1.6 s with pauses of 0.9 s over a little noise, ``(n_frames,)``."""
    rng = np.random.default_rng(4)
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 130 * k * time_s) / k for k in range(1, 25)) * (
        0.6 + 0.4 * np.sin(8 * np.pi * time_s)
    )
    voice *= np.clip(np.minimum(time_s % 2.5, 1.6 - time_s % 2.5) * 100, 0.0, 1.0)
    voice *= 10 ** (QUIET_DBFS / 20) / np.sqrt(np.mean(voice[voice != 0.0] ** 2))
    return voice + rng.standard_normal(len(voice)) * 10 ** (-95 / 20)


def level_db(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(sound**2)))


def test_hardware_gain_phantom_and_a_hand_at_the_knob_in_a_running_box(tmp_path: Path) -> None:
    others = set(left_by(os.getpid()))  # of a simulated box that tests before this one share
    session = tmp_path / "session"
    session.mkdir()
    soundfile.write(session / "Anna.wav", talker(), RATE_HZ, subtype="PCM_24")
    text = load_board("sim_preamps").path.read_text()
    board = tmp_path / "venue.toml"
    board.write_text(f"{text}is_phantom_on = true\nphantom_settle_ms = {SETTLE_MS}\n")
    turned_at_s: list[float] = []
    sums_db: list[float] = []  # of hardware and trim, where the strip is heard and nobody has turned anything
    job = RunJob(board=load_board(board), session=session, record=tmp_path / "recordings")
    with LiveRun(job) as box:
        panel = box.world.panel

        def look(picture: Picture) -> None:
            strip, gain = picture.params["channel"][0], panel.get("Mic 1 Gain")
            if picture.time_s > 5.0 and not strip["fader.is_muted"] and not turned_at_s:
                sums_db.append(gain + float(strip["input.trim_db"]))
            if gain and not turned_at_s and picture.time_s > 13.5:
                panel.turn("Mic 1 Gain", gain + 6)
                turned_at_s.append(picture.time_s)

        box.run(look, lambda: False)
        hardware_db = panel.get("Mic 1 Gain")
        assert panel.get("Mic 1 Phantom") == 1
        box.finish()
        (folder,) = box.recordings
    assert set(left_by(os.getpid())) <= others
    decisions = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    preamp = [d for d in decisions if d["parameter"].startswith("preamp.")]
    assert [(d["parameter"], d["source"]) for d in preamp] == [
        ("preamp.is_phantom_on", "rules"), ("preamp.gain_db", "rules"), ("preamp.gain_db", "engineer"),
    ]  # fmt: skip
    phantom, ours, hand = preamp
    assert ours["from"] == 0.0
    assert ours["to"] >= 20.0
    assert (hand["from"], hand["to"]) == (ours["to"], ours["to"] + 6.0)
    assert hardware_db == hand["to"], "the box turned a knob that a hand had turned"

    sound, _ = soundfile.read(folder / "inputs.wav", always_2d=True)
    mix, _ = soundfile.read(folder / "mix.wav", always_2d=True)
    at = round(phantom["time_s"] * RATE_HZ)
    inside = slice(at + RATE_HZ // 20, at + SETTLE_MS * RATE_HZ // 1000 - RATE_HZ // 20)
    assert np.abs(mix[inside]).max() == 0.0, "the mute around phantom power is not heard"
    assert np.abs(sound[inside]).max() > 0.001, "nobody talked meanwhile"
    assert np.abs(mix[inside.stop + RATE_HZ // 5 : inside.stop + RATE_HZ]).max() > 0.001, "the mute never ends"

    before = slice(int((ours["time_s"] - 1.7) * RATE_HZ), int((ours["time_s"] - 0.9) * RATE_HZ))
    after = slice(*(edge + round(2.5 * RATE_HZ) for edge in (before.start, before.stop)))  # a sentence later
    assert level_db(sound[after]) - level_db(sound[before]) > 20.0, "the converter hears no more than it did"
    assert max(sums_db) - min(sums_db) < 0.5, "the sum has jumped"
