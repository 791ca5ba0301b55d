"""Sessions: what a folder, a file and a session.toml become, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from firmware.errors import EvenhandError
from firmware.session_reader import SessionReader
from firmware.session_toml import MAX_SIZE_BYTES
from firmware.sessions import Session, natural_key, open_session

RATE_HZ = 48000


def tone(freq_hz: float = 440.0, duration_s: float = 0.5, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    return (0.25 * np.sin(2 * np.pi * freq_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)).astype(np.float32)


def write(path: Path, audio: NDArray[np.float32], rate_hz: int = RATE_HZ, subtype: str | None = "PCM_24") -> Path:
    soundfile.write(path, audio, rate_hz, subtype=subtype)
    return path


def read_all(session: Session, n_frames: int = 4800) -> NDArray[np.float32]:
    with SessionReader(session) as reader:
        return np.concatenate([block.copy() for block in reader.blocks(n_frames)])


def names(session: Session) -> list[str]:
    return [strip.name for strip in session.strips]


def refusal(place: Path) -> str:
    with pytest.raises(EvenhandError) as caught:
        read_all(open_session(place))
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------------------------------------------- what it becomes


def test_a_folder_becomes_one_strip_a_file_in_natural_order(tmp_path: Path) -> None:
    for name in ("ch 10.wav", "ch 2.flac", "ch 1.wav", "Band.wav"):
        write(tmp_path / name, tone(), subtype=None)
    (tmp_path / "notes.txt").write_text("not audio")
    (tmp_path / "._ch 1.wav").write_text("what another system leaves behind")
    assert names(open_session(tmp_path)) == ["Band", "ch 1", "ch 2", "ch 10"]


def test_natural_order_never_compares_a_number_with_a_word() -> None:
    assert sorted(["2", "b2", "10", "b10", "a", "2b", "②"], key=natural_key) == ["2", "2b", "10", "a", "b2", "b10", "②"]


def test_a_stereo_file_is_one_stereo_strip(tmp_path: Path) -> None:
    write(tmp_path / "keys.wav", np.stack([tone(300), tone(500)], axis=1))
    write(tmp_path / "vox.wav", tone(700))
    session = open_session(tmp_path)
    assert [c.is_stereo for c in session.channels] == [True, False]
    np.testing.assert_allclose(read_all(session), np.stack([tone(300), tone(500), tone(700)], axis=1), atol=2e-7)


@pytest.mark.parametrize("is_named", [True, False], ids=["file", "folder"])
def test_one_multichannel_file_becomes_a_mono_strip_a_channel(tmp_path: Path, is_named: bool) -> None:
    audio = np.stack([tone(100.0 * n) for n in range(1, 6)], axis=1)
    path = write(tmp_path / "desk.wav", audio)
    session = open_session(path if is_named else tmp_path)
    assert names(session) == [f"desk {n}" for n in range(1, 6)]
    np.testing.assert_allclose(read_all(session), audio, atol=2e-7)


def test_files_with_one_stem_keep_their_suffix_as_a_name(tmp_path: Path) -> None:
    write(tmp_path / "kick.wav", tone())
    write(tmp_path / "kick.flac", tone())
    assert names(open_session(tmp_path)) == ["kick.flac", "kick.wav"]


def test_short_channels_end_in_silence_and_the_longest_sets_the_length(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", tone(duration_s=0.5))
    write(tmp_path / "short.wav", tone(duration_s=0.2))
    session = open_session(tmp_path)
    audio = read_all(session)
    assert len(audio) == session.n_frames == 24000
    assert np.abs(audio[9600:, 1]).max() == 0.0
    assert np.abs(audio[9500:9600, 1]).max() > 0.1


@pytest.mark.parametrize(("rates", "expected"), [
    ((44100, 44100), 44100), ((96000, 96000), 96000), ((48000, 48000), 48000),
    ((44100, 48000), 48000), ((16000, 16000), 48000), ((192000, 192000), 48000),
])  # fmt: skip
def test_the_rate_is_what_all_files_agree_on_if_the_engine_has_it(
    tmp_path: Path, rates: tuple[int, int], expected: int
) -> None:
    for number, rate_hz in enumerate(rates):
        write(tmp_path / f"{number}.wav", tone(rate_hz=rate_hz), rate_hz)
    session = open_session(tmp_path)
    assert session.sample_rate_hz == expected
    assert session.duration_s == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 96000, 192000])
def test_resampled_channels_line_up_with_the_others(tmp_path: Path, rate_hz: int) -> None:
    write(tmp_path / "a.wav", tone(440), RATE_HZ)
    write(tmp_path / "b.wav", tone(440, rate_hz=rate_hz), rate_hz)
    audio = read_all(open_session(tmp_path), n_frames=4801)
    inner = slice(2400, -2400)  # filters ring at the ends
    assert np.abs(audio[inner, 0] - audio[inner, 1]).max() < 1e-4


def test_samples_do_not_depend_on_the_block_size(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(rate_hz=RATE_HZ))
    write(tmp_path / "b.flac", tone(rate_hz=44100), 44100, None)
    write(tmp_path / "c.ogg", tone(rate_hz=44100), 44100, None)
    write(tmp_path / "d.mp3", tone(rate_hz=48000), 48000, None)
    session = open_session(tmp_path)
    whole = read_all(session, n_frames=session.n_frames)
    np.testing.assert_array_equal(read_all(session, 960)[:, [0, 3]], whole[:, [0, 3]])
    np.testing.assert_array_equal(read_all(session, 960), read_all(session, 960))
    np.testing.assert_allclose(read_all(session, 960), whole, atol=1e-6)  # the resampler's blocks differ


def test_not_numbers_are_silenced_before_the_resampler_and_counted(tmp_path: Path) -> None:
    bad = tone(rate_hz=44100)
    bad[[100, 5000]] = [np.nan, np.inf]
    write(tmp_path / "a.wav", bad, 44100, "FLOAT")
    write(tmp_path / "b.wav", tone())
    with SessionReader(open_session(tmp_path)) as reader:
        audio = np.concatenate(list(reader.blocks(4800)))
        assert np.isfinite(audio).all()
        assert reader.n_scrubbed == 2


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("n_channels", [1, 2, 7])
def test_every_kind_of_wav_reads_as_soundfile_reads_it(
    tmp_path: Path, subtype: str, endian: str, n_channels: int
) -> None:
    audio = np.random.default_rng(3).uniform(-1.0, 1.0, (5000, n_channels))
    audio[:2] = [[1.0], [-1.0]]
    soundfile.write(tmp_path / "a.wav", audio, RATE_HZ, subtype=subtype, endian=endian)
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(read_all(open_session(tmp_path), 999), expected)


def test_a_wav_from_a_pipe_is_taken_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "piped.wav", tone())
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[4:8] = content[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert open_session(path).n_frames == 24000


# ---------------------------------------------------------------------------------------------------- session.toml


def test_session_toml_names_orders_and_gives_roles(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    write(tmp_path / "b.wav", tone())
    (tmp_path / "session.toml").write_text(
        'name = "Friday"\nsample_rate_hz = 96000\n[[channel]]\nname = "Anna"\nfile = "b.wav"\nrole = "vocal_lead"\n'
        '[[channel]]\nfile = "a.wav"\n'
    )
    session = open_session(tmp_path)
    assert [(c.name, c.role) for c in session.channels] == [("Anna", "vocal_lead"), ("a", None)]
    assert (session.name, session.sample_rate_hz) == ("Friday", 96000)
    assert names(open_session(tmp_path / "session.toml")) == ["Anna", "a"]


def test_a_link_makes_a_stereo_strip_left_first(tmp_path: Path) -> None:
    audio = np.stack([tone(100.0 * n) for n in range(1, 4)], axis=1)
    write(tmp_path / "desk.wav", audio)
    (tmp_path / "session.toml").write_text(
        '[[channel]]\nchannel = 3\nlink = "Keys"\n[[channel]]\nchannel = 1\nname = "Vox"\n'
        '[[channel]]\nchannel = 2\nlink = "Keys"\nrole = "piano"\n'
    )
    session = open_session(tmp_path)
    assert [(c.name, c.is_stereo, c.role) for c in session.channels] == [("Keys", True, "piano"), ("Vox", False, None)]
    np.testing.assert_allclose(read_all(session), audio[:, [2, 1, 0]], atol=2e-7)


def test_a_session_toml_without_channels_keeps_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    (tmp_path / "session.toml").write_text("sample_rate_hz = 44100\n")
    assert names(open_session(tmp_path)) == ["a"]
    assert open_session(tmp_path).sample_rate_hz == 44100


def test_a_session_is_called_after_its_folder_and_the_one_above_where_that_says_nothing(tmp_path: Path) -> None:
    for place, expected in (("friday", "friday"), ("friday/tracks", "friday / tracks")):
        (tmp_path / place).mkdir()
        write(tmp_path / place / "a.wav", tone())
        assert open_session(tmp_path / place).name == expected


@pytest.mark.parametrize(("text", "expected"), [
    ('[[channel]]\nfile = "a.wav"\nrole = "vocals"', "did you mean vocal_lead"),
    ('[[channel]]\nfile = "a.wav"\nrole = "xyzzy"', "known are speech"),
    ('[[channel]]\nfile = "a.wav"\nrole = 3', "role must be a text"),
    ('[[channel]]\nfile = "a.wav"\ncolour = "red"', 'unknown key "colour"'),
    ('[[chanel]]\nfile = "a.wav"', "did you mean channel"),
    ('channel = "a.wav"', "must be a list of [[channel]] tables"),
    ('channel = ["a.wav"]', "must be a table"),
    ("sample_rate_hz = 44000", "the engine offers 44100, 48000, 96000"),
    ("name = 3", "name must be a text"),
    ("sample_rate_hz = true", "must be a whole number"),
    ("sample_rate_hz = -1", "is not offered"),
    ('[[channel]]\nfile = "../a.wav"', "leaves the session folder"),
    ('[[channel]]\nfile = "/etc/passwd"', "leaves the session folder"),
    ('[[channel]]\nfile = "b.wav"', "did you mean a.wav"),
    ('[[channel]]\nfile = ""', "must be the name of an audio file"),
    ('[[channel]]\nfile = "a.wav"\nname = "two\\nlines"', "printable"),
    ('[[channel]]\nfile = "a.wav"\nname = ""', "printable"),
    ('[[channel]]\nfile = "a.wav"\nchannel = 2', "a.wav has 1"),
    ('[[channel]]\nfile = "a.wav"\nchannel = 0', "count from 1"),
    ('[[channel]]\nfile = "a.wav"\nlink = "pair"', "exactly two mono ones"),
    ('[[channel]]\nfile = "a.wav"\n[[channel]]\nfile = "a.wav"', "give each its own name"),
    ("[[channel]\n", "is not TOML"),
    ("a = " + "[" * 5000, "nested too deeply"),
    ("# " + "x" * MAX_SIZE_BYTES, "is larger than"),
])  # fmt: skip
def test_a_wrong_session_toml_is_refused_with_the_place_and_a_hint(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path / "a.wav", tone())
    (tmp_path / "session.toml").write_text(text)
    message = refusal(tmp_path)
    assert expected in message
    assert "session.toml" in message


def test_a_session_toml_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    (tmp_path / "session.toml").write_bytes(b'[[channel]]\nname = "\xff"')
    assert "UTF-8" in refusal(tmp_path)


@pytest.mark.parametrize("has_toml", [True, False])
def test_a_link_out_of_the_session_folder_is_refused(tmp_path: Path, has_toml: bool) -> None:
    write(tmp_path / "secret.wav", tone())
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "a.wav").symlink_to(tmp_path / "secret.wav")
    if has_toml:
        (folder / "session.toml").write_text('[[channel]]\nfile = "a.wav"')
    assert "leaves the session folder" in refusal(folder)


# ---------------------------------------------------------------------------------------------------- bad audio


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "no audio in it" in refusal(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    assert "among its 1 files" in refusal(tmp_path)
    assert "no such session" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"these are words", b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", bytes(5000)])
def test_what_is_no_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    assert "a.wav" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", ["wav", "rf64"])
@pytest.mark.parametrize("n_kept_bytes", [50000, 200])
def test_a_truncated_wav_is_refused(tmp_path: Path, suffix: str, n_kept_bytes: int) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(), RATE_HZ, subtype="PCM_24", format=suffix.upper())
    path.write_bytes(path.read_bytes()[:n_kept_bytes])
    assert "truncated" in refusal(tmp_path)


def test_a_truncated_flac_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.random.default_rng(1).normal(0, 0.1, 48000).astype("f4"), subtype=None)
    path.write_bytes(path.read_bytes()[:60000])
    assert "48000 frames; it is damaged" in refusal(tmp_path)


def test_a_recording_that_was_never_closed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = bytes(4)
    path.write_bytes(content)
    assert "was not closed" in refusal(tmp_path)


def test_audio_without_frames_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.zeros(0, np.float32))
    assert "holds no audio" in refusal(tmp_path)


def test_more_than_32_channels_are_refused_however_they_come(tmp_path: Path) -> None:
    path = write(tmp_path / "wide.wav", np.zeros((100, 33), np.float32) + 0.1)
    assert "33 channels" in refusal(path)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(33):
        write(folder / f"{number}.wav", tone(duration_s=0.01))
    assert "33 audio files" in refusal(folder)


def test_32_stereo_strips_are_taken(tmp_path: Path) -> None:
    for number in range(32):
        write(tmp_path / f"{number}.wav", np.stack([tone(duration_s=0.01)] * 2, axis=1))
    assert read_all(open_session(tmp_path)).shape == (480, 64)


def test_a_multichannel_file_among_others_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    write(tmp_path / "b.wav", np.stack([tone()] * 3, axis=1))
    assert "b.wav: has 3 channels" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone()).chmod(0)
    assert "right to read it" in refusal(tmp_path)


def test_a_file_that_vanishes_or_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(duration_s=4.0))
    session = open_session(tmp_path)
    with SessionReader(session) as reader:
        blocks = reader.blocks(9600)
        next(blocks)
        os.truncate(path, 100_000)
        with pytest.raises(EvenhandError, match="was changed while it was read"):
            list(blocks)
    path.unlink()
    with pytest.raises(EvenhandError, match=r"a\.wav"), SessionReader(session):
        pass


def test_a_hostile_file_name_becomes_a_printable_channel_name(tmp_path: Path) -> None:
    write(tmp_path / "a\nb\x1b[31m.wav", tone())
    assert names(open_session(tmp_path)) == ["a?b?[31m"]
    (tmp_path / "a\nb\x1b[31m.wav").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    assert names(open_session(tmp_path)) == ["?"]
    assert len(read_all(open_session(tmp_path))) == 24000


def test_an_aiff_called_wav_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE_HZ, format="AIFF")
    assert "is AIFF" in refusal(tmp_path)


@pytest.mark.parametrize(("name", "reason"), [("2.wav", " is a pipe"), ("session.toml", ": is not a regular file")])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str, reason: str) -> None:
    write(tmp_path / "1.wav", tone())
    os.mkfifo(tmp_path / name)
    assert f"{name}{reason}" in refusal(tmp_path)


def test_a_link_that_leads_nowhere_is_told_instead_of_a_mix_without_it(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", tone())
    (tmp_path / "2.wav").symlink_to("2.wav")
    assert "2.wav is a link that leads nowhere" in refusal(tmp_path)
    (tmp_path / "2.wav").unlink()
    (tmp_path / "2.wav").symlink_to("gone.wav")
    assert "2.wav is a link that leads nowhere" in refusal(tmp_path)


def test_a_folder_called_wav_is_no_channel(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", tone())
    (tmp_path / "2.wav").mkdir()
    assert names(open_session(tmp_path)) == ["1"]


def test_a_named_pipe_is_not_called_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "session.toml").write_text('[[channel]]\nfile = "a.wav"\n')
    assert "channel 1: a.wav is a pipe" in refusal(tmp_path)


def test_a_file_name_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    (tmp_path / "session.toml").write_text(f'[[channel]]\nfile = "{"a" * 5000}.wav"\n')
    assert "channel 1: file cannot be looked up" in refusal(tmp_path)


def test_a_number_beyond_the_parser_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    (tmp_path / "session.toml").write_text("sample_rate_hz = " + "9" * 5000)
    assert "thousands of digits" in refusal(tmp_path)


def test_a_session_shorter_than_a_frame_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(duration_s=1 / 384000, rate_hz=384000), rate_hz=384000)
    assert "over before the first frame" in refusal(tmp_path)


def test_a_name_too_long_for_the_system_is_refused(tmp_path: Path) -> None:
    assert "cannot be looked into (File name too long)" in refusal(tmp_path / ("a" * 5000))


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path)


def test_a_decoder_does_not_talk_over_our_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.mp3", tone(duration_s=3.0), RATE_HZ)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content[: len(content) // 3])
    assert "ends or breaks" in refusal(tmp_path)
    assert capfd.readouterr().err == ""
