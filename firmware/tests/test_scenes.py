"""Scenes: round trip, refusals, and what a power cut may leave."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import CONTRACT_ID, PARAMS
from firmware.control import slots
from firmware.control.control import Control
from firmware.control.mixer_state import MixerState, Mode
from firmware.control.scenes import MAX_SIZE_BYTES, Scene, as_toml, read_scene, write_scene
from firmware.errors import EvenhandError
from firmware.tests.control_plant import Source, setups, tuned

HEAD = f'contract_id = "{CONTRACT_ID}"\n'


def random_state(seed: int) -> MixerState:
    rng = np.random.default_rng(seed)
    state = MixerState()
    for slot in rng.choice(slots.N_SLOTS, 600, replace=False).tolist():
        state.write(slot, float(rng.uniform(slots.MINIMUM[slot], slots.MAXIMUM[slot])))
    for section in rng.choice(len(slots.SECTION_KEYS), 60, replace=False).tolist():
        state.mode[section] = rng.integers(0, 3)
        state.is_locked[section] = rng.random() < 0.5
        state.amount_percent[section] = round(float(rng.uniform(0, 100)), 1)
    return state


@pytest.mark.parametrize("seed", range(5))
def test_a_scene_round_trips_to_the_bit(tmp_path: Path, seed: int) -> None:
    state = random_state(seed)
    names, roles = {0: 'a "q" \\ \t\n\u00e9', 31: "Ö"}, {0: "kick", 5: "speech"}
    scene = Scene.of(state, title="Sunday", names=names, roles=roles)
    write_scene(scene, tmp_path / "a.toml")
    back = read_scene(tmp_path / "a.toml")
    assert (back.title, back.names, back.roles) == ("Sunday", names, roles)
    other = MixerState()
    back.apply(other)
    assert other.state_hash() == state.state_hash()


def small_scene(folder: Path) -> tuple[Path, Scene]:
    """Return a scene that the box has written."""
    scene = Scene(title="Sunday", values={("channel", 0, "fader.level_db"): -10.0}, names={0: "Vox"}, roles={0: "kick"})
    write_scene(scene, folder / "a.toml")
    return folder / "a.toml", scene


def test_no_flipped_bit_and_no_missing_end_makes_another_scene_of_one_that_the_box_has_written(tmp_path: Path) -> None:
    path, scene = small_scene(tmp_path)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for at in range(len(whole)):
        flipped = [whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for bit in range(8)]
        for damaged in (whole[:at], *flipped):
            path.write_bytes(damaged)
            try:
                assert read_scene(path) == scene, damaged
                assert at < first, "only words of the seal's own line do not matter"
            except EvenhandError:
                pass


def test_a_scene_that_was_edited_is_refused_until_the_line_is_deleted_that_no_longer_fits(tmp_path: Path) -> None:
    path, _ = small_scene(tmp_path)
    edited = path.read_text().replace("-10.0", "10.0")
    path.write_text(edited)
    with pytest.raises(EvenhandError, match=r"a\.toml: .*SHA-256 in its first line.*edited by hand.*delete that line"):
        read_scene(path)
    path.write_text(edited.partition("\n")[2])
    assert read_scene(path).values["channel", 0, "fader.level_db"] == 10.0


def test_a_fresh_mixer_is_a_short_file() -> None:
    assert as_toml(Scene.of(MixerState())).count("\n") <= 3


def test_a_foreign_scene_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "foreign.toml"
    path.write_text('contract_id = "000000000000"\n')
    with pytest.raises(
        EvenhandError, match=rf"foreign.toml: written for contract '000000000000', this box speaks '{CONTRACT_ID}'"
    ):
        read_scene(path)


HOSTILE = {
    "no number": ('[[channel]]\nindex = 1\n"fader.level_db" = nan', "channel 1 fader.level_db = nan is not a number"),
    "infinite": ('[[channel]]\nindex = 1\n"fader.level_db" = inf', "is not a number"),
    "out of range": ('[[channel]]\nindex = 1\n"fader.level_db" = 11.0', "fader.level_db = 11 is outside -90 to 10"),
    "huge": ('[[channel]]\nindex = 1\n"fader.level_db" = 1e300', "outside"),
    "a text": ('[[channel]]\nindex = 1\n"fader.level_db" = "loud"', "fader.level_db = loud is not a number"),
    "a toggle as number": ('[[channel]]\nindex = 1\n"gate.is_on" = 1', "it is true or false"),
    "a whole number": ('[[channel]]\nindex = 1\n"automix.group" = 1.5', "automix.group = 1.5 is not a whole number"),
    "no choice": ('[[channel]]\nindex = 1\n"eq.1.type" = "bel"', "is no choice; near: bell"),
    "unknown parameter": ('[[channel]]\nindex = 1\n"gate.treshold_dbfs" = -40', "near: gate.threshold_dbfs"),
    "unknown scope": ("[[chanel]]\nindex = 1", 'no scope "chanel"; near: channel'),
    "index 0": ("[[channel]]\nindex = 0", "it counts from 1 to 32"),
    "index 33": ("[[channel]]\nindex = 33", "it counts from 1 to 32"),
    "index true": ("[[channel]]\nindex = true", "it counts from 1 to 32"),
    "no index": ("[[channel]]\nname = 'x'", "it counts from 1 to 32"),
    "twice": ("[[channel]]\nindex = 2\n[[channel]]\nindex = 2", "channel 2 is there twice"),
    "not a list": ("[channel]\nindex = 2", r"channel is a list of tables: \[\[channel\]\]"),
    "unknown role": ('[[channel]]\nindex = 1\nrole = "kik"', 'no role "kik"; near: kick'),
    "unknown section": ('[[channel]]\nindex = 1\nsection.gaet = { mode = "auto" }', 'no section "gaet"; near: gate'),
    "unknown mode": ('[[channel]]\nindex = 1\nsection.gate = { mode = "maybe" }', "there are auto, assist, manual"),
    "unknown field": ('[[channel]]\nindex = 1\nsection.gate = { modus = "auto" }', 'no "modus"; near: mode'),
    "amount": ("[[channel]]\nindex = 1\nsection.gate = { amount_percent = 101 }", "outside 0 to 100"),
    "long name": ("[[channel]]\nindex = 1\nname = '" + "x" * 81 + "'", "at most 80 characters"),
    "not TOML": ("[[channel", "is not TOML"),
    "deep": ("a = " + "[" * 5000, "is not TOML"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_scene_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    text, reason = HOSTILE[case]
    path = tmp_path / "scene.toml"
    path.write_text(HEAD + text + "\n")
    with pytest.raises(EvenhandError, match=reason) as refused:
        read_scene(path)
    assert "scene.toml: " in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1 or case == "not TOML"


def test_bytes_that_are_no_text_and_files_too_large_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvenhandError, match="is not TOML"):
        read_scene(tmp_path / "bytes.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (MAX_SIZE_BYTES + 1))
    with pytest.raises(EvenhandError, match="larger than"):
        read_scene(tmp_path / "large.toml")
    with pytest.raises(EvenhandError, match="cannot be read: No such file"):
        read_scene(tmp_path / "none.toml")


def test_a_half_written_scene_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.toml"
    write_scene(Scene(title="old"), path)

    def disk_is_full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(EvenhandError, match="No space left on device; the scene from before stands"):
        write_scene(Scene(title="new"), path)
    assert read_scene(path).title == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.toml"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match="cannot be written: No such file"):
        write_scene(Scene(), tmp_path / "none" / "a.toml")


def test_every_parameter_can_be_stored(tmp_path: Path) -> None:
    values = {(p.scope, 0, p.name): p.maximum for p in PARAMS if p.maximum != p.default}
    write_scene(Scene(values=values), tmp_path / "all.toml")
    assert read_scene(tmp_path / "all.toml").values == pytest.approx(values)


def test_a_scene_brings_back_faders_locks_and_roles(tmp_path: Path) -> None:
    control = Control(setups("mic 1", "mic 2"), sample_rate_hz=48000.0)
    control.set_parameter("channel", 0, "fader.level_db", -12.5)
    control.set_locked("channel", 1, "pan", True)
    scene = control.scene("soundcheck")
    scene = Scene(title=scene.title, values=scene.values, permissions=scene.permissions, roles={1: "bass"})
    write_scene(scene, tmp_path / "a.toml")
    again = Control(setups("mic 1", "mic 2"), sample_rate_hz=48000.0, scene=read_scene(tmp_path / "a.toml"))
    assert again.state.get("channel", 0, "fader.level_db") == -12.5
    assert again.state.mode[again.state.section("channel", 0, "fader")] == Mode.MANUAL
    assert again.roles[1] == ("mic 2", "bass", 1.0)
    tuned(again, Source(-40.0), Source(-20.0)).run(5.0)
    assert again.state.get("channel", 0, "fader.level_db") == -12.5


def test_a_scene_s_faders_are_where_the_mix_begins(tmp_path: Path) -> None:
    values = {("channel", 0, "fader.level_db"): -7.5}
    control = Control(setups("vox", "bass"), sample_rate_hz=48000.0, scene=Scene(values=values))
    assert control.state.get("channel", 0, "fader.level_db") == -7.5


def test_a_pipe_is_no_scene_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scene.toml")
    with pytest.raises(EvenhandError, match="is not a regular file"):
        read_scene(tmp_path / "scene.toml")


def test_a_number_beyond_every_float_is_refused(tmp_path: Path) -> None:
    text = f'contract_id = "{CONTRACT_ID}"\n[[channel]]\nindex = 1\n"fader.level_db" = {"9" * 400}\n'
    (tmp_path / "scene.toml").write_text(text)
    with pytest.raises(EvenhandError, match="is not a number"):
        read_scene(tmp_path / "scene.toml")
