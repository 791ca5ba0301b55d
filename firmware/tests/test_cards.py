"""A board's cards are found again whatever their index, and asked what they offer before anybody opens them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_configs.board import Board, load_board
from firmware.errors import EvenhandError
from firmware.system.board_fit import board_pcm
from firmware.system.cards import BoardCard, find_board_cards, list_cards
from firmware.system.offers import CAPTURE, PLAYBACK, Offer, choose_format, probe

from .sound import CARDS, SECOND_SCARLETT, install_alsa, write_cards

ROOT = Path(__file__).parents[2]
BENCH = """\
title = "Bench"
machine = "any"
[audio]
sample_rate_hz = 48000
period_frames = 64
n_periods = 2
[[card]]
key = "stage"
pcm = "stiff"
n_capture = 8
n_playback = 4
[budget]
max_round_trip_frames = 2000
min_served_percent = 99.0
max_wake_p999_us = 200.0
"""


@pytest.fixture(scope="module", autouse=True)
def alsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALSA_CONFIG_PATH", install_alsa(tmp_path_factory.mktemp("alsa")))
        yield


def bench(tmp_path: Path, *changes: tuple[str, str]) -> Board:
    text = BENCH
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "bench.toml").write_text(text)
    return load_board(tmp_path / "bench.toml")


def only_card(board: Board) -> BoardCard:
    (card,) = find_board_cards(board, ())
    return card


# ------------------------------------------------------------------------------------------------------------ finding


def test_cards_are_listed_as_the_kernel_knows_them(tmp_path: Path) -> None:
    hdmi, usb = list_cards(write_cards(tmp_path))
    assert (hdmi.id, hdmi.usb, hdmi.capture_pcms) == ("vc4hdmi0", None, ())
    assert hdmi.playback_pcms == ("hw:CARD=vc4hdmi0,DEV=0",)
    assert (usb.index, usb.id, usb.driver, usb.usb) == (1, "USB", "USB-Audio", "1235:821d")
    assert usb.long_name == "Focusrite Scarlett 18i20 4th Gen at usb-0000:01:00.0-1.1, high speed"
    assert usb.capture_pcms == usb.playback_pcms == ("hw:CARD=USB,DEV=0",)


@pytest.mark.parametrize("text", [None, "", "--- no soundcards ---\n", "\0\xff garbage [ ]: \n"])
def test_a_machine_without_cards_has_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        write_cards(tmp_path, text, {})
    assert list_cards(tmp_path) == ()


def test_a_card_keeps_its_place_when_index_and_id_change(tmp_path: Path) -> None:
    board = load_board("raspberry_pi_4")
    for text, index in ((CARDS, 1), (CARDS.replace(" 1 [USB  ", " 7 [USB_1"), 7)):
        (card,) = find_board_cards(board, list_cards(write_cards(tmp_path / str(index), text, {index: "1235:821d"})))
        assert card.found is not None
        assert card.pcm == f"hw:CARD={card.found.id},DEV=0"
        assert card.ctl == f"hw:CARD={card.found.id}"
    assert card.pcm == "hw:CARD=USB_1,DEV=0"


def test_a_card_is_known_by_a_pattern_of_its_name(tmp_path: Path) -> None:
    pi_5 = load_board("raspberry_pi_5")
    fitting = (
        " 0 [sndrpihifiberry]: RPi-simple - snd_rpi_hifiberry_dac8x\n                      snd_rpi_hifiberry_dac8x\n"
    )
    (card,) = find_board_cards(pi_5, list_cards(write_cards(tmp_path, fitting, {})))
    assert card.pcm == "hw:CARD=sndrpihifiberry,DEV=0"
    other = fitting.replace("dac8x", "dacplus")  # the same id, and two channels
    with pytest.raises(EvenhandError, match="no card matches"):
        find_board_cards(pi_5, list_cards(write_cards(tmp_path, other, {})))


def test_a_missing_main_card_is_told_with_what_is_there(tmp_path: Path) -> None:
    board = load_board("jetson_orin_nano")
    with pytest.raises(EvenhandError) as caught:
        find_board_cards(board, list_cards(write_cards(tmp_path)))
    assert str(caught.value) == (
        'jetson_orin_nano.toml: card scarlett: no card matches usb = "1235:8215"; this machine has: '
        "vc4hdmi0 (vc4-hdmi, vc4-hdmi-0), USB (USB-Audio 1235:821d, Scarlett 18i20 4th Gen)"
    )
    with pytest.raises(EvenhandError, match="this machine has no sound card"):
        find_board_cards(board, ())


def test_two_cards_of_a_kind_are_not_guessed_between(tmp_path: Path) -> None:
    write_cards(tmp_path, CARDS + SECOND_SCARLETT, {1: "1235:821d", 2: "1235:821d"})
    with pytest.raises(EvenhandError, match=r"2 cards match usb = .*USB .*USB_1 .*add the id of one to match"):
        find_board_cards(load_board("raspberry_pi_4"), list_cards(tmp_path))


def test_a_missing_secondary_card_is_left_out(tmp_path: Path) -> None:
    second = '[[card]]\nkey = "laptop"\npcm = "hw:CARD=UAC2Gadget"\nrole = "secondary"\nn_capture = 0\nn_playback = 2\n'
    board = bench(tmp_path, ("[budget]", f"{second}[budget]"))
    assert [c.spec.key for c in find_board_cards(board, ())] == ["stage"]


# ------------------------------------------------------------------------------------------------------------ offers


def test_a_card_says_what_it_offers() -> None:
    assert probe("stiff", CAPTURE) == Offer(
        formats=("S32_LE", "S24_3LE"), sample_rates_hz=(48000, 96000), n_channels=(8,)
    )
    assert probe("stiff", PLAYBACK) == Offer(
        formats=("S32_LE", "S16_LE"), sample_rates_hz=(48000, 96000), n_channels=(4,)
    )


def test_a_device_without_bounds_is_not_counted_through() -> None:
    offer = probe("null", CAPTURE)
    assert (offer.n_channels[0], offer.n_channels[-1]) == (1, 64)
    assert offer.sample_rates_hz == (44100, 48000, 96000)


def test_a_board_gets_the_first_format_that_its_card_has_both_ways(tmp_path: Path) -> None:
    ours = bench(tmp_path, ("n_periods = 2", 'n_periods = 2\nformats = ["S24_3LE", "S16_LE", "S32_LE"]'))
    assert choose_format(ours, only_card(ours)) == "S32_LE"
    anything = bench(
        tmp_path, ('"stiff"', '"null"'), ("n_periods = 2", 'n_periods = 2\nformats = ["S16_LE", "S32_LE"]')
    )
    assert choose_format(anything, only_card(anything)) == "S16_LE"
    assert choose_format(load_board("sim"), only_card(load_board("sim"))) == "S32_LE"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("48000", "44100", "bench.toml: sample_rate_hz = 44100 is not offered by stiff; it offers 48000, 96000"),
        ("n_capture = 8", "n_capture = 6", "bench.toml: n_capture = 6 is not offered by stiff; it offers 8"),
        ("n_playback = 4", "n_playback = 6", "bench.toml: n_playback = 6 is not offered by stiff; it offers 4"),
        (
            "n_periods = 2",
            'n_periods = 2\nformats = ["S16_LE", "S24_3LE"]',
            "bench.toml: formats = S16_LE, S24_3LE is not offered by stiff; it offers S32_LE",
        ),
        (
            "period_frames = 64",
            "period_frames = 16",
            "bench.toml: period_frames = 16 is not offered by stiff; the nearest for capture is 32",
        ),
    ],
)
def test_what_a_card_does_not_offer_is_told_with_what_it_does(tmp_path: Path, old: str, new: str, message: str) -> None:
    board = bench(tmp_path, (old, new))
    with pytest.raises(EvenhandError) as caught:
        choose_format(board, only_card(board))
    assert str(caught.value) == message


def test_the_engine_is_given_the_name_that_the_card_has_today_once_it_offers_all(tmp_path: Path) -> None:
    renamed = ('pcm = "stiff"', 'pcm = "hw:CARD=Old,DEV=0"\nmatch = { usb = "1235:821d" }')
    root = write_cards(tmp_path)
    assert board_pcm(bench(tmp_path, renamed), root) == "hw:CARD=USB,DEV=0"
    with pytest.raises(EvenhandError, match=r"sample_rate_hz = 44100 is not offered by hw:CARD=USB,DEV=0"):
        board_pcm(bench(tmp_path, renamed, ("48000", "44100")), root)


def test_alsa_lib_says_nothing_beside_our_own_errors(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EvenhandError, match=r"^nowhere: cannot be opened for capture"):
        probe("nowhere", CAPTURE)
    assert capfd.readouterr().err == ""


def test_a_pcm_that_is_not_there_is_told_by_its_name() -> None:
    with pytest.raises(EvenhandError, match=r"^nowhere: cannot be opened for capture: "):
        probe("nowhere", CAPTURE)


def test_a_card_in_use_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIFF_IS_BUSY", "1")
    with pytest.raises(EvenhandError, match=r"busy .*; is another program using it\?$"):
        probe("stiff", PLAYBACK)


def test_without_pyalsaaudio_cards_are_found_and_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "alsaaudio.py").write_text("raise ImportError('libasound.so.2: cannot open shared object file')\n")
    script = (
        "from firmware.system.cards import list_cards; from firmware.system.offers import probe; list_cards()\n"
        "from firmware.errors import EvenhandError\n"
        "try: probe('null', 'capture')\n"
        "except EvenhandError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("pyalsaaudio cannot be loaded (libasound.so.2: cannot open")
    assert "pip install pyalsaaudio" in done.stdout


def test_pyalsaaudio_is_loaded_in_one_file_of_the_box_only() -> None:
    sources = [p for p in (ROOT / "firmware").rglob("*.py") if not {"tests", "bench"} & set(p.parts)]
    opens = re.compile(r"""^\s*(import|from) alsaaudio|import_module\("alsaaudio""", re.MULTILINE)
    loading = [p.name for p in sources if opens.search(p.read_text())]
    assert loading == ["alsa.py"]
