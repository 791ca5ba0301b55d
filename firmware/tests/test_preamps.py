"""Preamps are the card's own: set through ALSA, read back, switched only while mute, and turned by other hands too."""

from __future__ import annotations

import asyncio
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_configs.board import Board, PreampSpec, load_board
from firmware.errors import EvenhandError
from firmware.system.preamp_watch import PreampWatch
from firmware.system.preamps import MUTE_LEAD_MS, PAD_SETTLE_MS, Place, PreampChange, Preamps, PreampState
from firmware.system.virtual_controls import SOURCE, VirtualControl, VirtualControls, build_plugin, controls_of

from .sound import install_alsa

LEAD_S = MUTE_LEAD_MS / 1000.0
WATCH_TIMEOUT_S = 20.0  # how long an event may take before the test gives up; none gates on how soon it comes
BANK = tuple(
    PreampSpec(
        card="stage",
        channel=channel,
        gain_control=f"Mic {channel} Gain",
        min_gain_db=0.0,
        max_gain_db=60.0,
        pad_control=f"Mic {channel} Pad",
        phantom_control="Phantom 1-2" if channel < 3 else None,
        phantom_settle_ms=900.0,
    )
    for channel in (1, 2, 3)
)


@pytest.fixture(scope="module", autouse=True)
def alsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALSA_CONFIG_PATH", install_alsa(tmp_path_factory.mktemp("alsa")))
        yield


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[VirtualControls]:
    with VirtualControls(tmp_path / "panel", controls_of(BANK)) as panel:
        yield panel


class Mutes(list[tuple[tuple[Place, ...], float]]):
    def __call__(self, places: tuple[Place, ...], duration_ms: float) -> None:
        self.append((places, duration_ms))


@pytest.fixture
def mutes() -> Mutes:
    return Mutes()


@pytest.fixture
def preamps(panel: VirtualControls, mutes: Mutes) -> Iterator[Preamps]:
    with Preamps(BANK, {"stage": panel.ctl}, mutes) as preamps:
        yield preamps


def open_preamps(specs: tuple[PreampSpec, ...], ctl: str) -> Preamps:
    return Preamps(specs, {spec.card: ctl for spec in specs}, Mutes())


# -------------------------------------------------------------------------------------------------------------- gain


def test_gain_is_what_the_card_made_of_it(preamps: Preamps, panel: VirtualControls) -> None:
    assert preamps.set_gain_db("stage", 2, 30.0) == 30.0
    assert panel.get("Mic 2 Gain") == 30
    assert preamps.set_gain_db("stage", 2, 30.4) in (30.0, 31.0), "the card has whole steps"
    assert panel.get("Mic 1 Gain") == 0


def test_gain_stays_inside_what_the_board_allows(panel: VirtualControls) -> None:
    careful = PreampSpec(**{**vars(BANK[0]), "min_gain_db": 10.0, "max_gain_db": 40.0})  # the card has 0 to 60
    with open_preamps((careful,), panel.ctl) as preamps:
        assert preamps.set_gain_db("stage", 1, 99.0) == 40.0
        assert preamps.set_gain_db("stage", 1, -99.0) == 10.0


def test_setting_gain_mutes_nothing(preamps: Preamps, mutes: Mutes) -> None:
    preamps.set_gain_db("stage", 1, 12.0)
    preamps.step(1.0)
    assert mutes == []


# --------------------------------------------------------------------------------------------------------- switching


def test_phantom_power_comes_only_when_its_channels_are_mute(
    preamps: Preamps, panel: VirtualControls, mutes: Mutes
) -> None:
    preamps.set_phantom("stage", 2, True, now_s=10.0)
    assert mutes == [((("stage", 1), ("stage", 2)), MUTE_LEAD_MS + 900.0)], "both channels share the switch"
    assert preamps.step(10.0 + 0.9 * LEAD_S) == ()
    assert panel.get("Phantom 1-2") == 0
    changes = preamps.step(10.0 + LEAD_S)
    assert panel.get("Phantom 1-2") == 1
    assert [(c.channel, c.after.is_phantom_on, c.is_ours) for c in changes] == [(1, True, True), (2, True, True)]
    assert preamps.next_due_s is None


def test_a_pad_mutes_its_own_channel(preamps: Preamps, mutes: Mutes) -> None:
    preamps.set_pad("stage", 3, True, now_s=0.0)
    assert mutes == [((("stage", 3),), MUTE_LEAD_MS + PAD_SETTLE_MS)]
    (change,) = preamps.step(LEAD_S)
    assert change.before == PreampState(gain_db=0.0, is_pad_on=False, is_phantom_on=None)
    assert change.after == PreampState(gain_db=0.0, is_pad_on=True, is_phantom_on=None)


def test_what_is_already_so_is_neither_muted_nor_switched(preamps: Preamps, mutes: Mutes) -> None:
    preamps.set_phantom("stage", 1, False, now_s=0.0)
    assert (mutes, preamps.next_due_s) == ([], None)


def test_a_wish_taken_back_in_time_is_not_fulfilled(preamps: Preamps, panel: VirtualControls) -> None:
    preamps.set_phantom("stage", 1, True, now_s=0.0)
    preamps.set_phantom("stage", 2, False, now_s=0.5 * LEAD_S)
    assert preamps.step(2 * LEAD_S) == ()
    assert panel.get("Phantom 1-2") == 0


def test_a_switch_that_the_card_refuses_is_told(tmp_path: Path, mutes: Mutes) -> None:
    controls = [
        VirtualControl(name=c.name, min_db=c.min_db, max_db=c.max_db, is_locked=c.name == "Mic 1 Pad")
        for c in controls_of(BANK)
    ]
    with (
        VirtualControls(tmp_path / "locked", controls) as panel,
        Preamps(BANK, {"stage": panel.ctl}, mutes) as preamps,
    ):
        preamps.set_pad("stage", 1, True, now_s=0.0)
        (change,) = preamps.step(LEAD_S)
        assert change.refused == ("is_pad_on",)
        assert change.before == change.after
        assert preamps.step(2 * LEAD_S) == (), "told once"


def test_a_locked_gain_answers_with_what_it_is(tmp_path: Path) -> None:
    control = VirtualControl(name="Mic 1 Gain", min_db=0, max_db=60, value=20, is_locked=True)
    spec = PreampSpec(**{**vars(BANK[0]), "pad_control": None, "phantom_control": None})
    with VirtualControls(tmp_path / "locked", [control]) as panel, open_preamps((spec,), panel.ctl) as preamps:
        assert preamps.set_gain_db("stage", 1, 40.0) == 20.0


# ------------------------------------------------------------------------------------------------------- other hands


def test_a_hand_at_the_card_is_noticed_and_told_from_ours(preamps: Preamps, panel: VirtualControls) -> None:
    panel.turn("Mic 1 Gain", 17)
    preamps.set_gain_db("stage", 2, 5.0)
    one, two = preamps.step(0.0)
    assert (one.channel, one.after.gain_db, one.is_ours) == (1, 17.0, False)
    assert (two.channel, two.after.gain_db, two.is_ours) == (2, 5.0, True)
    assert preamps.step(0.0) == ()


def test_a_hand_that_turns_what_we_just_set_is_not_taken_for_ours(preamps: Preamps, panel: VirtualControls) -> None:
    preamps.set_gain_db("stage", 1, 5.0)
    panel.turn("Mic 1 Gain", 9)
    (change,) = preamps.step(0.0)
    assert (change.after.gain_db, change.is_ours, change.refused) == (9.0, False, ())


def test_another_program_is_a_hand_too(preamps: Preamps, panel: VirtualControls) -> None:
    script = f"import alsaaudio; alsaaudio.Mixer('Phantom 1-2', device={panel.ctl!r}).setrec(1)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert [c.after.is_phantom_on for c in preamps.step(0.0)] == [True, True]


def test_a_turned_knob_wakes_who_waits_for_it(preamps: Preamps, panel: VirtualControls) -> None:
    assert select.select(preamps.file_descriptors, [], [], 0.0)[0] == []
    panel.turn("Mic 3 Pad", 1)
    assert select.select(preamps.file_descriptors, [], [], WATCH_TIMEOUT_S)[0] != []
    preamps.step(0.0)
    assert select.select(preamps.file_descriptors, [], [], 0.0)[0] == [], "stepping settles the matter"


def test_in_a_loop_knobs_are_heard_and_switches_come_by_themselves(preamps: Preamps, panel: VirtualControls) -> None:
    async def evening() -> list[PreampChange]:
        changes: asyncio.Queue[PreampChange] = asyncio.Queue()
        lost: list[EvenhandError] = []
        loop = asyncio.get_running_loop()
        with PreampWatch(preamps, loop, changes.put_nowait, lost.append):
            panel.turn("Mic 3 Gain", 40)
            heard = [await asyncio.wait_for(changes.get(), WATCH_TIMEOUT_S)]
            preamps.set_phantom("stage", 1, True, loop.time())
            heard += [await asyncio.wait_for(changes.get(), WATCH_TIMEOUT_S) for _ in range(2)]
        assert lost == []
        return heard

    knob, *phantom = asyncio.run(evening())
    assert (knob.channel, knob.after.gain_db, knob.is_ours) == (3, 40.0, False)
    assert [(c.channel, c.after.is_phantom_on, c.is_ours) for c in phantom] == [(1, True, True), (2, True, True)]


# ---------------------------------------------------------------------------------------------------------- trouble


def test_a_card_that_is_gone_is_told_once_and_found_again_when_it_is_back(
    preamps: Preamps, panel: VirtualControls
) -> None:
    preamps.set_gain_db("stage", 1, 33.0)
    panel.plug(is_in=False)
    with pytest.raises(EvenhandError, match="the card is gone"):
        preamps.step(0.0)
    with pytest.raises(EvenhandError, match=r"cannot be opened .* is the card plugged in\?"):
        open_preamps(BANK, panel.ctl)
    panel.plug(is_in=True)
    with pytest.raises(EvenhandError, match="the card is gone"):  # an old handle stays dead
        preamps.step(0.0)
    with open_preamps(BANK, panel.ctl) as again:
        assert again.state("stage", 1).gain_db == 33.0


def test_in_a_loop_an_unplugged_card_is_told_once(preamps: Preamps, panel: VirtualControls) -> None:
    async def evening() -> str:
        lost: asyncio.Queue[EvenhandError] = asyncio.Queue()
        with PreampWatch(preamps, asyncio.get_running_loop(), lambda _change: None, lost.put_nowait):
            panel.plug(is_in=False)
            error = await asyncio.wait_for(lost.get(), WATCH_TIMEOUT_S)
            await asyncio.sleep(0)
            assert lost.empty()
        return str(error)

    assert "the card is gone" in asyncio.run(evening())


def test_a_misspelt_control_is_answered_with_near_misses(panel: VirtualControls) -> None:
    spec = PreampSpec(**{**vars(BANK[0]), "gain_control": "Mic 1 Gian"})
    with pytest.raises(EvenhandError, match='"Mic 1 Gian": the card has no such control; did you mean Mic 1 Gain'):
        open_preamps((spec,), panel.ctl)


def test_a_switch_is_no_gain(panel: VirtualControls) -> None:
    spec = PreampSpec(**{**vars(BANK[0]), "gain_control": "Mic 1 Pad", "pad_control": None})
    with pytest.raises(EvenhandError, match='control "Mic 1 Pad" is no volume'):
        open_preamps((spec,), panel.ctl)


def test_what_a_preamp_lacks_is_refused(preamps: Preamps) -> None:
    with pytest.raises(EvenhandError, match="channel 3 of card stage has no phantom that the box can set"):
        preamps.set_phantom("stage", 3, True, now_s=0.0)
    with pytest.raises(EvenhandError, match="channel 4 of card stage has no preamp"):
        preamps.set_gain_db("stage", 4, 0.0)


def test_a_card_that_is_not_there_has_no_preamps(mutes: Mutes) -> None:
    with Preamps(BANK, {}, mutes) as preamps:
        assert preamps.places == ()


@pytest.mark.parametrize("name", ["raspberry_pi_4", "jetson_orin_nano"])
def test_the_controls_that_our_boards_name_can_be_used(name: str, tmp_path: Path) -> None:
    board: Board = load_board(name)
    with (
        VirtualControls(tmp_path / "panel", controls_of(board.preamps)) as panel,
        open_preamps(board.preamps, panel.ctl) as preamps,
    ):
        assert preamps.places == tuple(("scarlett", channel) for channel in range(1, 9))
        preamps.set_phantom("scarlett", 8, True, now_s=0.0)
        preamps.step(LEAD_S)
        assert preamps.state("scarlett", 8).is_phantom_on
        assert not preamps.state("scarlett", 1).is_phantom_on


# --------------------------------------------------------------------------------------------------------- the plug-in


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"EVENCTL1",
        b"EVENCTL2" + bytes(1000),
        b"EVENCTL1" + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"x" * 72,
        b"EVENCTL1" + (2**31 - 1).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"x" * 720,
        b"EVENCTL1" + (0).to_bytes(4, "little") + (1).to_bytes(4, "little"),
    ],
)
def test_a_file_that_holds_no_controls_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "panel").write_bytes(content)
    with pytest.raises(EvenhandError, match="cannot be opened"):
        open_preamps(BANK, f"evenhand:{tmp_path / 'panel'}")


def test_the_plugin_compiles_with_both_compilers(tmp_path: Path) -> None:
    assert SOURCE.is_file()
    assert build_plugin(tmp_path, compiler="clang").is_file()
