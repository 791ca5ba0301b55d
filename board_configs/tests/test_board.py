"""A board file means what it says, and what cannot be is refused in one line that says what to try."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from board_configs.board import BoardError, CardMatch, InputSpec, board_names, load_board
from board_configs.spec import MAX_STRIPS, OUTPUTS

LIMITER_FRAMES = 48  # the only latency that the mixer adds
SMALL = """\
title = "Bench"
machine = "any"

[audio]
sample_rate_hz = 48000
period_frames = 64
n_periods = 2

[[card]]
key = "stage"
pcm = "hw:CARD=USB,DEV=0"
n_capture = 8
n_playback = 4

[budget]
max_round_trip_frames = 176
min_served_percent = 99.0
max_wake_p999_us = 200.0
"""
STAGE = 'key = "stage"\npcm = "hw:CARD=USB,DEV=0"\n'
SECOND = (
    '[[card]]\nkey = "laptop"\npcm = "hw:CARD=UAC2Gadget,DEV=0"\nrole = "secondary"\nn_capture = 2\nn_playback = 2\n'
)
PREAMP = "[[preamp]]\nchannels = [1, 2]\n"
GAIN = 'gain_control = "Mic {channel}"\nmin_gain_db = 0\nmax_gain_db = 60\n'


def write(tmp_path: Path, text: str, name: str = "bench.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | str) -> str:
    with pytest.raises(BoardError) as caught:
        load_board(path)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------ the boards we have


def test_all_promised_boards_are_here() -> None:
    assert set(board_names()) == {
        "raspberry_pi_4",
        "raspberry_pi_5",
        "jetson_orin_nano",
        "pc_rig",
        "qemu_arm64",
        "sim",
        "sim_preamps",
    }


@pytest.mark.parametrize("name", board_names())
def test_a_board_we_ship_is_sound(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert {"main_l", "main_r", "record_l", "record_r"} <= {o.name for o in board.outputs}, "nobody hears or keeps it"
    ahead = board.audio.n_periods * board.audio.period_frames
    assert board.budget.max_round_trip_frames >= ahead + LIMITER_FRAMES
    assert not board.main_card.match.is_empty or board.main_card.pcm == "virtual", "the card is not known again"
    wired = {(i.card, i.channel) for i in board.inputs}
    is_wired = board.main_card.n_capture is None or {(p.card, p.channel) for p in board.preamps} <= wired
    assert is_wired, "a preamp amplifies what no strip hears"


def test_the_simulated_box_takes_what_the_session_brings() -> None:
    board = load_board("sim")
    assert (board.machine, board.main_card.pcm, board.main_card.n_capture, board.inputs) == ("any", "virtual", None, ())
    assert (board.audio.sample_rate_hz, board.audio.period_frames, board.audio.n_periods) == (48000, 64, 2)
    assert [o.name for o in board.outputs] == list(OUTPUTS)
    assert [o.channel for o in board.outputs] == list(range(1, 13))


def test_a_board_cannot_be_changed_after_it_was_checked() -> None:
    board = load_board("sim")
    with pytest.raises(dataclasses.FrozenInstanceError):
        board.audio.period_frames = 16  # type: ignore[misc]


def test_reading_a_board_needs_the_standard_library_alone() -> None:
    script = (
        "import sys; before = set(sys.modules); from board_configs.board import load_board; load_board('sim');"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(new - sys.stdlib_module_names, 'difflib' in new)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'board_configs'} False"


# ------------------------------------------------------------------------------------------------- what a file means


def test_without_maps_channels_go_straight_through(tmp_path: Path) -> None:
    board = load_board(write(tmp_path, SMALL + SECOND))
    assert [(i.strip, i.card, i.channel) for i in board.inputs] == [
        *((n, "stage", n) for n in range(1, 9)), (9, "laptop", 1), (10, "laptop", 2),
    ]  # fmt: skip
    assert [(o.name, o.card, o.channel) for o in board.outputs] == [
        ("main_l", "stage", 1), ("main_r", "stage", 2), ("record_l", "stage", 3), ("record_r", "stage", 4),
    ]  # fmt: skip


def test_a_map_orders_strips_by_their_number(tmp_path: Path) -> None:
    maps = (
        '[[input]]\nstrip = 2\nchannel = 1\nname = "Anna"\n'
        "[[input]]\nstrip = 1\nchannel = 7\nis_stereo = true\n"
        '[[output]]\nname = "main_l"\nchannel = 2\n[[output]]\nname = "main_l"\nchannel = 1\n'
    )
    board = load_board(write(tmp_path, SMALL + maps))
    assert board.inputs == (
        InputSpec(strip=1, card="stage", channel=7, name=None, is_stereo=True),
        InputSpec(strip=2, card="stage", channel=1, name="Anna", is_stereo=False),
    )
    assert [(o.name, o.channel) for o in board.outputs] == [("main_l", 2), ("main_l", 1)], "a bus may feed two channels"


def test_a_card_is_known_by_the_id_in_its_pcm_unless_told_otherwise(tmp_path: Path) -> None:
    assert load_board(write(tmp_path, SMALL)).main_card.match == CardMatch(id="USB")
    told = SMALL.replace(STAGE, STAGE + 'match = { usb = "1235:821d", long_name = "*Scarlett*" }\n')
    match = load_board(write(tmp_path, told)).main_card.match
    assert match == CardMatch(usb="1235:821d", long_name="*Scarlett*")


def test_a_preamp_table_describes_a_bank(tmp_path: Path) -> None:
    bank = PREAMP + GAIN + 'phantom_control = "Phantom 1-2"\n'
    one, two = load_board(write(tmp_path, SMALL + bank)).preamps
    assert (one.channel, one.gain_control, one.phantom_control) == (1, "Mic 1", "Phantom 1-2")
    assert (two.channel, two.gain_control, two.phantom_control) == (2, "Mic 2", "Phantom 1-2")
    assert (two.min_gain_db, two.max_gain_db, two.pad_control, two.phantom_settle_ms) == (0.0, 60.0, None, 1500.0)


def test_32_strips_are_allowed_and_one_more_is_not(tmp_path: Path) -> None:
    assert len(load_board(write(tmp_path, SMALL.replace("n_capture = 8", "n_capture = 32"))).inputs) == MAX_STRIPS
    message = refusal(write(tmp_path, SMALL.replace("n_capture = 8", "n_capture = 40")))
    assert message.endswith("bench.toml: 40 input channels; a mixer has at most 32")


def test_a_card_with_more_channels_than_strips_is_fine_with_a_map(tmp_path: Path) -> None:
    text = SMALL.replace("n_capture = 8", "n_capture = 64") + "[[input]]\nstrip = 1\nchannel = 64\n"
    assert load_board(write(tmp_path, text)).inputs[0].channel == 64


# ---------------------------------------------------------------------------------------------------------- refusals


def test_an_unknown_board_is_answered_with_near_misses() -> None:
    assert refusal("raspbery_pi_5").startswith('no board "raspbery_pi_5"; did you mean raspberry_pi_5')
    assert "known are jetson_orin_nano, pc_rig, qemu_arm64" in refusal("zx81")


@pytest.mark.parametrize("name", ["", "..", "sim\0", "SIM"])
def test_a_strange_name_is_refused_and_never_a_path(name: str) -> None:
    assert refusal(name).startswith("no board ")


def test_errors_call_a_file_as_the_user_did(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, SMALL.replace("48000", "44000"), "raspberry_pi_5.toml")
    monkeypatch.chdir(tmp_path)
    assert (
        refusal("raspberry_pi_5.toml")
        == "raspberry_pi_5.toml: sample_rate_hz = 44000 is not one of 44100, 48000, 96000"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Bench"\n', "", "title is missing; it must be a text"),
        ('title = "Bench"', 'title = "\\n"', "title must have 1 to 128 printable characters"),
        ('machine = "any"', 'machine = "arm64"', 'unknown machine "arm64"; did you mean aarch64?'),
        ('machine = "any"', "machine = true", "machine must be a text, not true"),
        ('machine = "any"', 'machine = "any"\nmachines = 1', 'unknown key "machines"; did you mean machine?'),
        ('machine = "any"', 'machine = "any"\nmachine = "any"', "is not TOML"),
        ("rate_hz = 48000", "rate_hz = 44000", "sample_rate_hz = 44000 is not one of 44100, 48000, 96000"),
        ("sample_rate_hz = 48000", "sample_rate_hz = 48000.0", "sample_rate_hz must be a whole number, not 48000.0"),
        ("sample_rate_hz = 48000", "rate_hz = 48000", "sample_rate_hz is missing"),
        ("period_frames = 64", "period_frames = 65", "period_frames = 65 is not one of 16, 32, 48, 64, 96, 128"),
        ("n_periods = 2", "n_periods = 1", "n_periods = 1 lies outside 2 to 8"),
        ("n_periods = 2", "n_periods = true", "n_periods must be a whole number, not true"),
        ("n_periods = 2", 'n_periods = 2\nformats = ["S24_LE"]', 'unknown format "S24_LE"; did you mean'),
        ("n_periods = 2", "n_periods = 2\nformats = []", "formats is empty; name at least one of S32_LE"),
        ("n_periods = 2", 'n_periods = 2\nformats = ["S16_LE", "S16_LE"]', "formats names \"S16_LE\" twice"),
        ("n_periods = 2", "n_periods = 2\nformats = [16]", "formats must be a list of texts"),
        ("n_periods = 2", "n_periods = 2\nn_period = 2", 'unknown key "n_period"; did you mean n_periods'),
        ("[audio]", "[[audio]]", "audio must be a table; write [audio] above its lines"),
        ("[[card]]", "[card]", "card must be a list of tables; write [[card]] above each"),
        ("hw:CARD=USB", "hw:1", "card 1: pcm = \"hw:1,DEV=0\" names a card by its index"),
        ("hw:CARD=USB", "hw:CARD=1", "names a card by its index, which may change; write hw:CARD=ID"),
        ("hw:CARD=USB", "plughw:CARD=USB", "converts behind the mixer's back"),
        (STAGE, STAGE + 'ctl = "hw:0"\n', 'ctl = "hw:0" names a card by its index'),
        (STAGE, STAGE + "match = {}\n", "card 1: match: asks nothing; name at least one of id, driver, usb, long_name"),
        (STAGE, STAGE + 'match = { usb = "1235:821D" }\n', 'usb = "1235:821D" must be vendor:product'),
        (STAGE, STAGE + 'match = { serial = "7" }\n', 'unknown key "serial"; '),
        (STAGE, STAGE + 'role = "secondary"\n', '0 cards have role = "main"; one must'),
        ("n_capture = 8", "n_capture = 65", "card 1: n_capture = 65 lies outside 0 to 64"),
        ("n_capture = 8", 'n_capture = "all"', "n_capture must be a whole number, not \"all\""),
        ("n_capture = 8", "n_capture = 0", "the main card must capture and play"),
        ("n_playback = 4", "n_playback = 0", "the main card must capture and play"),
        ("176", "127", "max_round_trip_frames = 127 cannot be kept: 2 periods of 64 frames are 128"),
        ("99.0", "101", "budget: min_served_percent = 101 lies outside 0 to 100"),
        ("99.0", "nan", "budget: min_served_percent = nan lies outside 0 to 100"),
        ("200.0", '"fast"', "budget: max_wake_p999_us must be a number, not \"fast\""),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert SMALL.count(old) == 1, "the case changes nothing, or more than it says"
    told = refusal(write(tmp_path, SMALL.replace(old, new)))
    assert message in told
    assert told.startswith(str(tmp_path / "bench.toml"))
    assert "\n" not in told


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("[[card]]\n" + STAGE + "n_capture = 1\nn_playback = 1\n", 'card 2: key "stage" is taken by an earlier card'),
        (SECOND.replace("secondary", "main"), '2 cards have role = "main"; one must'),
        (SECOND * 4, "5 cards; write 1 to 4 [[card]] tables"),
        ("[[input]]\nstrip = 1\nchannel = 9\n", 'input 1: channel 9 does not exist: card "stage" captures 8 channels'),
        ("[[input]]\nstrip = 1\nchannel = 8\nis_stereo = true\n", "input 1: channel 9 does not exist"),
        ("[[input]]\nstrip = 1\nchannel = 0\n", "input 1: channel = 0 lies outside 1 to 64"),
        ("[[input]]\nstrip = 1\nchannel = 1\nis_stereo = 1\n", "input 1: is_stereo must be true or false, not 1"),
        ("[[input]]\nstrip = 2\nchannel = 1\n", "input: no strip 1; strips count from 1 without a gap"),
        ("[[input]]\nstrip = 33\nchannel = 1\n", "input 1: strip = 33 lies outside 1 to 32"),
        ("[[input]]\nstrip = 1\nchannel = 1\n" * 2, "input 2: strip 1 is fed twice"),
        (
            "[[input]]\nstrip = 1\nchannel = 1\nis_stereo = true\n[[input]]\nstrip = 2\nchannel = 2\n",
            'input 2: channel 2 of card "stage" is already taken by strip 1',
        ),
        ('[[input]]\nstrip = 1\nchannel = 1\ncard = "sage"\n', 'unknown card "sage"; did you mean stage?'),
        ("".join(f"[[input]]\nstrip = {n}\nchannel = {n}\n" for n in range(1, 41)), "40 input channels; a mixer has"),
        ('[[output]]\nname = "main"\nchannel = 1\n', 'output 1: unknown name "main"; did you mean main_r or main_l'),
        ('[[output]]\nname = "main_l"\nchannel = 5\n', 'channel 5 does not exist: card "stage" plays 4 channels'),
        (
            '[[output]]\nname = "main_l"\nchannel = 1\n[[output]]\nname = "main_r"\nchannel = 1\n',
            'output 2: channel 1 of card "stage" is already taken by main_l',
        ),
        ("[cores]\naudio = -1\n", "cores: audio = -1 lies outside 0 to 255"),
        ("[cores]\naudio = 3\ncontrol = [3, 0]\n", "cores: core 3 is the audio thread's alone"),
        ("[cores]\naudio = 3\nanalysis = 3\n", "cores: core 3 is the audio thread's alone"),
        ("[cores]\ncontrol = [0, 0]\n", "cores: control names 0 twice"),
        ("[cores]\ncontrol = [999]\n", "cores: control names a core outside 0 to 255"),
        ("[cores]\ncontrol = [true]\n", "cores: control must be a list of whole numbers"),
        (PREAMP, "preamp 1: a preamp needs channels and one of gain_control"),
        (PREAMP + GAIN.replace(" {channel}", ""), 'gain_control = "Mic" is the same for 2 channels'),
        (PREAMP + GAIN.replace("max_gain_db = 60\n", ""), "gain_control, min_gain_db and max_gain_db belong together"),
        (PREAMP + GAIN.replace("= 60", "= 0"), "min_gain_db = 0 is not below max_gain_db = 0"),
        ((PREAMP + GAIN) * 2, 'preamp 2: channel 1 of card "stage" is already taken by another preamp'),
        (PREAMP.replace("2]", "9]") + GAIN, "preamp 1: channel 9 does not exist"),
        (PREAMP + GAIN + "phantom_settle_ms = 1e9\n", "phantom_settle_ms = 1000000000.0 lies outside 0 to 10000"),
        ('[update]\nscheme = "trybot"\n', 'update: unknown scheme "trybot"; did you mean tryboot?'),
        ('[update]\nscheme = "tryboot"\nslots = ["a"]\n', 'update: scheme "tryboot" has 2 slots, not 1'),
        ('[update]\nslots = ["a", "b"]\n', 'update: scheme "none" has 0 slots, not 2'),
        ('[update]\nscheme = "uefi"\nslots = ["a", "../b"]\n', "update: slots must be short names"),
    ],
)  # fmt: skip
def test_what_is_added_and_cannot_be_is_refused(tmp_path: Path, added: str, message: str) -> None:
    told = refusal(write(tmp_path, SMALL + added))
    assert message in told
    assert "\n" not in told


def test_a_file_that_is_no_board_is_refused(tmp_path: Path) -> None:
    assert "no such file; boards by name are" in refusal(tmp_path / "none.toml")
    assert "is not a regular file" in refusal(tmp_path)
    (tmp_path / "big.toml").write_bytes(b"#" * 300_000)
    assert "is larger than 256 KiB" in refusal(tmp_path / "big.toml")
    (tmp_path / "latin.toml").write_bytes('title = "Bühne"'.encode("latin-1"))
    assert "is not UTF-8 at byte 10" in refusal(tmp_path / "latin.toml")
    assert "a board is called after its file" in refusal(write(tmp_path, SMALL, "My Board.toml"))
    assert "a number too long or a list too deep" in refusal(write(tmp_path, f"title = {'[' * 5000}{']' * 5000}"))
    assert "a number too long or a list too deep" in refusal(write(tmp_path, f"title = {'1' * 5000}"))


# ------------------------------------------------------------------------------------------------------------- image

UPDATE = '\n[update]\nscheme = "qemu_rom"\nslots = ["a", "b"]\n'
IMAGE = '\n[image]\nkernel = "linux-image-arm64"\nconsole = "ttyAMA0"\nboot_mib = 80\nroot_mib = 512\n'


def test_image_is_what_the_file_says_and_none_where_it_says_nothing(tmp_path: Path) -> None:
    assert load_board(write(tmp_path, SMALL)).image is None
    image = load_board(write(tmp_path, SMALL + UPDATE + IMAGE)).image
    assert (image.kernel, image.console, image.modules) == ("linux-image-arm64", "ttyAMA0", ())
    assert (image.boot_mib, image.root_mib) == (80, 512)
    assert image.health_seconds == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL + IMAGE, 'no image is built for scheme "none"'),
        (SMALL + UPDATE + IMAGE.replace("80", "33"), "boot_mib = 33 lies outside 34 to 1024"),
        (SMALL + UPDATE + IMAGE.replace("linux-image-arm64", "linux image; rm"), "kernel has a name that cannot be"),
        (SMALL + UPDATE + IMAGE + 'modules = ["snd-aloop", "../x"]\n', "modules has a name that cannot be"),
        (SMALL + UPDATE + IMAGE + "size = 1\n", 'unknown key "size"'),
    ],
)
def test_image_that_cannot_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(write(tmp_path, text))
