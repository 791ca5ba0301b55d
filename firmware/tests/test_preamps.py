"""Preamps are the card's own: set through ALSA, read back, and turned by other hands too."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_configs.board import Board, PreampSpec, load_board
from firmware.build_ffi import CONTROL_PLUGIN_SOURCES, build_card_plugin
from firmware.errors import EvenhandError
from firmware.system.preamps import Preamps, PreampState
from firmware.system.virtual_controls import VirtualControl, VirtualControls, controls_of

from .sound import install_alsa

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


@pytest.fixture
def preamps(panel: VirtualControls) -> Iterator[Preamps]:
    with Preamps(BANK, {"stage": panel.ctl}) as preamps:
        yield preamps


def open_preamps(specs: tuple[PreampSpec, ...], ctl: str) -> Preamps:
    return Preamps(specs, {spec.card: ctl for spec in specs})


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


# --------------------------------------------------------------------------------------------------------- switching


def test_phantom_power_is_switched_for_all_that_share_it(preamps: Preamps, panel: VirtualControls) -> None:
    preamps.set_phantom("stage", 2, True)
    assert panel.get("Phantom 1-2") == 1
    changes = preamps.step()
    assert [(c.channel, c.after.is_phantom_on, c.by_hand) for c in changes] == [(1, True, ()), (2, True, ())]


def test_a_pad_is_its_own_channels(preamps: Preamps) -> None:
    preamps.set_pad("stage", 3, True)
    (change,) = preamps.step()
    assert change.before == PreampState(gain_db=0.0, is_pad_on=False, is_phantom_on=None)
    assert change.after == PreampState(gain_db=0.0, is_pad_on=True, is_phantom_on=None)


def test_what_is_already_so_is_not_switched(preamps: Preamps) -> None:
    preamps.set_phantom("stage", 1, False)
    assert preamps.step() == ()


def test_a_switch_that_the_card_refuses_is_told(tmp_path: Path) -> None:
    controls = [
        VirtualControl(name=c.name, min_db=c.min_db, max_db=c.max_db, is_locked=c.name == "Mic 1 Pad")
        for c in controls_of(BANK)
    ]
    with (
        VirtualControls(tmp_path / "locked", controls) as panel,
        Preamps(BANK, {"stage": panel.ctl}) as preamps,
    ):
        preamps.set_pad("stage", 1, True)
        (change,) = preamps.step()
        assert change.refused == ("is_pad_on",)
        assert change.before == change.after
        assert preamps.step() == (), "told once"


def test_a_locked_gain_answers_with_what_it_is(tmp_path: Path) -> None:
    control = VirtualControl(name="Mic 1 Gain", min_db=0, max_db=60, value=20, is_locked=True)
    spec = PreampSpec(**{**vars(BANK[0]), "pad_control": None, "phantom_control": None})
    with VirtualControls(tmp_path / "locked", [control]) as panel, open_preamps((spec,), panel.ctl) as preamps:
        assert preamps.set_gain_db("stage", 1, 40.0) == 20.0


# ------------------------------------------------------------------------------------------------------- other hands


def test_a_hand_at_the_card_is_noticed_and_told_from_ours(preamps: Preamps, panel: VirtualControls) -> None:
    panel.turn("Mic 1 Gain", 17)
    preamps.set_gain_db("stage", 2, 5.0)
    one, two = preamps.step()
    assert (one.channel, one.after.gain_db, one.by_hand) == (1, 17.0, ("gain_db",))
    assert (two.channel, two.after.gain_db, two.by_hand) == (2, 5.0, ())
    assert preamps.step() == ()


def test_a_hand_that_turns_what_we_just_set_is_not_taken_for_ours(preamps: Preamps, panel: VirtualControls) -> None:
    preamps.set_gain_db("stage", 1, 5.0)
    panel.turn("Mic 1 Gain", 9)
    (change,) = preamps.step()
    assert (change.after.gain_db, change.by_hand, change.refused) == (9.0, ("gain_db",), ())


def test_another_program_is_a_hand_too(preamps: Preamps, panel: VirtualControls) -> None:
    script = f"import alsaaudio; alsaaudio.Mixer('Phantom 1-2', device={panel.ctl!r}).setrec(1)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert [c.after.is_phantom_on for c in preamps.step()] == [True, True]


def test_a_turned_knob_wakes_who_waits_for_it(preamps: Preamps, panel: VirtualControls) -> None:
    assert select.select(preamps.file_descriptors, [], [], 0.0)[0] == []
    panel.turn("Mic 3 Pad", 1)
    assert select.select(preamps.file_descriptors, [], [], WATCH_TIMEOUT_S)[0] != []
    preamps.step()
    assert select.select(preamps.file_descriptors, [], [], 0.0)[0] == [], "stepping settles the matter"


# ---------------------------------------------------------------------------------------------------------- trouble


def test_a_card_that_is_gone_is_told_once_and_found_again_when_it_is_back(
    preamps: Preamps, panel: VirtualControls
) -> None:
    preamps.set_gain_db("stage", 1, 33.0)
    panel.plug(is_in=False)
    with pytest.raises(EvenhandError, match="the card is gone"):
        preamps.step()
    with pytest.raises(EvenhandError, match=r"cannot be opened .* is the card plugged in\?"):
        open_preamps(BANK, panel.ctl)
    panel.plug(is_in=True)
    with pytest.raises(EvenhandError, match="the card is gone"):  # an old handle stays dead
        preamps.step()
    with open_preamps(BANK, panel.ctl) as again:
        assert again.state("stage", 1).gain_db == 33.0


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
        preamps.set_phantom("stage", 3, True)
    with pytest.raises(EvenhandError, match="channel 4 of card stage has no preamp"):
        preamps.set_gain_db("stage", 4, 0.0)


def test_a_card_that_is_not_there_has_no_preamps() -> None:
    with Preamps(BANK, {}) as preamps:
        assert preamps.places == ()


@pytest.mark.parametrize("name", ["raspberry_pi_4", "jetson_orin_nano"])
def test_the_controls_that_our_boards_name_can_be_used(name: str, tmp_path: Path) -> None:
    board: Board = load_board(name)
    with (
        VirtualControls(tmp_path / "panel", controls_of(board.preamps)) as panel,
        open_preamps(board.preamps, panel.ctl) as preamps,
    ):
        assert preamps.places == tuple(("scarlett", channel) for channel in range(1, 9))
        preamps.set_phantom("scarlett", 8, True)
        preamps.step()
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


@pytest.mark.parametrize("compiler", ["cc", "clang"])
def test_the_plugin_compiles_with_both_compilers(tmp_path: Path, compiler: str) -> None:
    built = build_card_plugin(tmp_path / "ctl.so", CONTROL_PLUGIN_SOURCES, compiler=compiler, flags=("-Wextra",))
    assert built.is_file()
