"""``evenhand-box render`` as a person meets it: a mix and its reasons, or one line that says why not."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile

from firmware.__main__ import main
from firmware.inference.choice import DEFAULT_MODEL, NONE
from firmware.render_job import channel_file_name
from firmware.tests.test_default_model import title_of
from firmware.wav_writer import WavWriter

ROOT = Path(__file__).parents[2]
RATE_HZ = 48000
KEYS = {
    "duration_s", "sample_rate_hz", "realtime_factor", "integrated_lufs", "loudness_range_lu", "true_peak_dbtp",
    "model", "channels",
}  # fmt: skip
CHANNEL_KEYS = {
    "name", "role", "role_confidence", "gain_db", "pan", "sends", "eq", "gate", "compressor", "reasons",
}  # fmt: skip


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three channels of different length, format and rate."""
    folder = tmp_path_factory.mktemp("session")
    random = np.random.default_rng(5)
    time_s = np.arange(6 * RATE_HZ) / RATE_HZ
    pulse = np.exp(-8.0 * (time_s % 0.5))
    soundfile.write(folder / "kick.wav", 0.5 * pulse * np.sin(2 * np.pi * 60 * time_s), RATE_HZ, subtype="PCM_24")
    voice = 0.1 * np.sign(np.sin(2 * np.pi * 180 * time_s)) * (1 + np.sin(2 * np.pi * 4 * time_s))
    soundfile.write(folder / "vocal.flac", voice[: 4 * RATE_HZ], RATE_HZ)
    keys = np.cumsum(random.normal(0.0, 0.003, (3 * 44100, 2)), axis=0)
    soundfile.write(folder / "keys.ogg", keys - keys.mean(axis=0), 44100)
    return folder


@pytest.fixture(scope="module")
def rendered(session: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a render with every output, and its JSON."""
    out = tmp_path_factory.mktemp("out")
    job = run(
        "render", session, "--out", out / "mix.wav", "--report", out / "r.html", "--decisions", out / "d.jsonl",
        "--channels-out", out / "channels", "--json",
    )  # fmt: skip
    assert job.returncode == 0, job.stderr
    assert job.stderr == ""
    return out, json.loads(job.stdout)


def run(*args: object, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "firmware", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=before, check=False)


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run in this process and return the one line of a refusal."""
    assert main(["render", *map(str, args)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


# ---------------------------------------------------------------------------------------------------- what comes out


def test_the_mix_is_24_bit_at_the_rate_and_as_long_as_the_longest_channel(rendered: tuple[Path, Any]) -> None:
    info = soundfile.info(rendered[0] / "mix.wav")
    assert (info.subtype, info.channels, info.samplerate, info.frames) == ("PCM_24", 2, RATE_HZ, 6 * RATE_HZ)


def test_json_is_one_object_with_the_promised_keys(rendered: tuple[Path, dict[str, Any]]) -> None:
    record = rendered[1]
    of_model = DEFAULT_MODEL != NONE
    assert set(record) == KEYS | ({"story"} if of_model else set())
    assert [set(c) for c in record["channels"]] == [CHANNEL_KEYS | ({"importance"} if of_model else set())] * 3
    assert [channel["name"] for channel in record["channels"]] == ["keys", "kick", "vocal"]
    assert record["duration_s"] == 6.0
    assert record["model"] == title_of(DEFAULT_MODEL)
    assert all(channel["reasons"] for channel in record["channels"])


def test_the_figures_describe_the_written_file(rendered: tuple[Path, dict[str, Any]]) -> None:
    audio, rate_hz = soundfile.read(rendered[0] / "mix.wav")
    meter = pyloudnorm.Meter(rate_hz)
    assert rendered[1]["integrated_lufs"] == pytest.approx(meter.integrated_loudness(audio), abs=0.1)
    assert rendered[1]["true_peak_dbtp"] >= 20 * np.log10(np.abs(audio).max()) - 0.01
    assert rendered[1]["true_peak_dbtp"] <= -1.0


def test_a_second_run_writes_the_same_bytes(session: Path, rendered: tuple[Path, Any], tmp_path: Path) -> None:
    assert main(["render", str(session), "--out", str(tmp_path / "mix.wav"), "--json"]) == 0
    assert (tmp_path / "mix.wav").read_bytes() == (rendered[0] / "mix.wav").read_bytes()


def test_the_mix_lines_up_with_the_session(tmp_path: Path) -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[20000] = 0.5
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "click.wav", click, RATE_HZ, subtype="PCM_24")
    job = ["--amount", "0", "--out", str(tmp_path / "mix.wav"), "--channels-out", str(tmp_path / "ch"), "--json"]
    assert main(["render", str(tmp_path / "s"), *job]) == 0
    for path in (tmp_path / "mix.wav", tmp_path / "ch" / "01 click.wav"):
        audio, _ = soundfile.read(path)
        assert np.abs(audio).max(axis=1).argmax() == 20000, path.name


def test_every_channel_is_written_behind_its_fader(rendered: tuple[Path, Any]) -> None:
    folder = rendered[0] / "channels"
    assert names(folder) == {"01 keys.wav", "02 kick.wav", "03 vocal.wav"}
    for path in folder.iterdir():
        audio, _ = soundfile.read(path)
        assert audio.shape == (6 * RATE_HZ, 2)
        assert np.abs(audio).max() > 0.001


def test_decisions_are_json_lines_in_order_of_time(rendered: tuple[Path, Any]) -> None:
    lines = [json.loads(line) for line in (rendered[0] / "d.jsonl").read_text().splitlines()]
    assert lines
    assert all(
        {"time_s", "channel", "parameter", "from", "to", "cause", "evidence", "confidence"} <= set(d) for d in lines
    )
    assert [d["id"] for d in lines] == list(range(len(lines)))
    page = (rendered[0] / "r.html").read_text()
    assert all(f'id="d{d["id"]}"' in page for d in lines)


def test_nothing_but_the_outputs_is_left(rendered: tuple[Path, Any]) -> None:
    assert names(rendered[0]) == {"mix.wav", "r.html", "d.jsonl", "channels"}


def test_the_loudness_follows_the_target(session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for target in ("-23", "-14"):
        assert main(["render", str(session), "--out", str(tmp_path / "m.wav"), "--target-lufs", target, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["integrated_lufs"])
    assert found[1] - found[0] > 3.0, f"9 LU between the targets became {found[1] - found[0]:.1f}"


def test_not_numbers_in_a_session_are_silenced_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = np.random.default_rng(1).normal(0, 0.1, RATE_HZ).astype(np.float32)
    audio[[5, 1000, 30000]] = [np.nan, np.inf, -np.inf]
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "a.wav", audio, RATE_HZ, subtype="FLOAT")
    assert main(["render", str(tmp_path / "s"), "--out", str(tmp_path / "m.wav")]) == 0
    assert "3 samples of the session were no numbers" in capsys.readouterr().err
    assert np.isfinite(soundfile.read(tmp_path / "m.wav")[0]).all()


@pytest.mark.parametrize("n_frames", [1, 47, 959, 961])
@pytest.mark.parametrize("rate_hz", [44100, 96000])
def test_the_shortest_session_has_a_mix(tmp_path: Path, n_frames: int, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(n_frames, 0.1), rate_hz)
    out = tmp_path / "out"
    out.mkdir()
    assert main(["render", str(tmp_path / "a.wav"), "--out", str(out / "m.wav"), "--json"]) == 0
    assert soundfile.info(out / "m.wav").frames == n_frames


def test_a_mix_too_large_for_wav_is_rf64(tmp_path: Path) -> None:
    for n_frames, magic in ((100, b"RIFF"), (1 << 30, b"RF64")):
        with WavWriter(tmp_path / "p", tmp_path / "p", sample_rate_hz=RATE_HZ, n_channels=2, n_frames=n_frames) as file:
            file.write(np.zeros((100, 2), np.float32))
        assert (tmp_path / "p").read_bytes()[:4] == magic


# ---------------------------------------------------------------------------------------------------- what is refused


def test_a_bad_session_is_refused_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "no audio" in refused(capsys, tmp_path / "empty", "--out", tmp_path / "m.wav")
    (tmp_path / "empty" / "a.wav").write_text("words\nand more words")
    assert "a.wav" in refused(capsys, tmp_path / "empty", "--out", tmp_path / "m.wav")
    assert names(tmp_path) == {"empty"}


def test_a_file_that_breaks_in_the_middle_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 2 * RATE_HZ)
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "a.flac", noise, RATE_HZ)
    content = (tmp_path / "s" / "a.flac").read_bytes()
    (tmp_path / "s" / "a.flac").write_bytes(content[: len(content) // 2])
    said = refused(
        capsys,
        tmp_path / "s",
        "--out",
        tmp_path / "m.wav",
        "--channels-out",
        tmp_path / "c",
        "--report",
        tmp_path / "r",
    )
    assert "it is damaged" in said
    assert names(tmp_path) == {"s"}


@pytest.mark.parametrize(("args", "expected"), [
    (["--out", "{out}/nowhere/m.wav"], "does not exist; make it"),
    (["--out", "{out}"], "the mix is a WAV file"),
    (["--out", "{out}/m.mp3"], "call it m.wav"),
    (["--out", "{session}/kick.wav"], "would be overwritten"),
    (["--out", "{session}/mix.wav"], "would be a channel next time"),
    (["--out", "{out}/link.wav"], "would be overwritten"),
    (["--out", "{out}/m.wav", "--report", "{out}/m.wav"], "named for two outputs"),
    (["--out", "{out}/m.wav", "--report", "{session}/kick.wav"], "would be overwritten"),
    (["--out", "{out}/m.wav", "--channels-out", "{out}/a/b"], "does not exist; make it"),
    (["--out", "{out}/m.wav", "--channels-out", "{session}/kick.wav"], "is a file, not a folder"),
    (["--out", "{out}/m.wav", "--model", "some.bundle"], "some.bundle: cannot be read"),
    (["--out", "{out}/m.wav", "--scene", "{out}/none.toml"], "none.toml"),
    (["--out", "/dev/full.wav", "--report", "/dev/full"], "not a regular file"),
])  # fmt: skip
def test_an_impossible_job_is_refused_and_leaves_nothing(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], expected: str
) -> None:
    os.link(session / "kick.wav", tmp_path / "link.wav")
    before = {p.name: p.read_bytes() for p in session.iterdir()}
    assert expected in refused(capsys, session, *(a.format(out=tmp_path, session=session) for a in args))
    assert names(tmp_path) == {"link.wav"}
    assert {p.name: p.read_bytes() for p in session.iterdir()} == before


@pytest.mark.parametrize("limit_bytes", [20_000, 1_000_000])
def test_a_full_disk_is_told_and_leaves_the_old_mix(session: Path, tmp_path: Path, limit_bytes: int) -> None:
    (tmp_path / "m.wav").write_text("the mix of yesterday")

    def a_small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    job = run("render", session, "--out", tmp_path / "m.wav", "--report", tmp_path / "r.html", before=a_small_disk)
    assert job.returncode == 1
    assert job.stderr.startswith("error: ")
    assert "free some space" in job.stderr
    assert job.stderr.count("\n") == 1
    assert names(tmp_path) == {"m.wav"}
    assert (tmp_path / "m.wav").read_text() == "the mix of yesterday"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_kill_in_the_middle_leaves_nothing_that_looks_finished(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "long.wav", np.full((600 * RATE_HZ, 1), 0.01), RATE_HZ, subtype="PCM_16")
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "firmware", "render", str(tmp_path / "s"), "--out", str(out / "m.wav")]

    def heed_interrupts() -> None:  # a test run in the background hands down that they are ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

    job = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    part = out / ".m.wav.part"
    for _ in range(600):
        if part.exists() and part.stat().st_size > 100_000:
            break
        time.sleep(0.05)
    job.send_signal(number)
    _, said = job.communicate()
    if number == signal.SIGKILL:
        assert names(out) <= {".m.wav.part"}
        return
    assert job.returncode == 1
    assert said.startswith("error: render: stopped before the end")
    assert names(out) == set()


@pytest.mark.parametrize("args", [
    [], ["render"], ["rendr"], ["render", "s"], ["render", "s", "--out", "m.wav", "--target-lufs", "loud"],
    ["render", "s", "--out", "m.wav", "--target-lufs", "nan"], ["render", "s", "--out", "m.wav", "--amount", "101"],
    ["render", "s", "--out", "m.wav", "--automix", "karaoke"],
])  # fmt: skip
def test_wrong_usage_leaves_with_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(args)
    assert left.value.code == 2
    assert "usage: evenhand-box" in capsys.readouterr().err


def test_help_shows_a_worked_example_and_the_version_names_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    for args, expected in ((["render", "--help"], "evenhand-box render ~/"), (["--version"], "contract ")):
        with pytest.raises(SystemExit) as left:
            main(args)
        assert left.value.code == 0
        assert expected in capsys.readouterr().out


def test_a_channel_file_name_stays_in_its_folder() -> None:
    assert channel_file_name(0, "../../etc/passwd\n") == "01 ______etc_passwd_.wav"
    assert channel_file_name(31, "") == "32 channel.wav"


def test_a_standard_output_that_takes_nothing_is_told(session: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        job = subprocess.run(
            [sys.executable, "-m", "firmware", "render", str(session), "--out", str(tmp_path / "mix.wav"), "--json"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert job.returncode == 1
    assert job.stderr.startswith("error: standard output: cannot be written (No space left on device); ")
    assert job.stderr.count("\n") == 1


def test_closed_standard_streams_do_not_hurt_a_render(
    session: Path, rendered: tuple[Path, Any], tmp_path: Path
) -> None:
    command = 'exec "$0" -m firmware render "$1" --out "$2" --report "$3" <&- >&- 2>&-'
    report = tmp_path / "r.html"
    job = subprocess.run(
        ["sh", "-c", command, sys.executable, str(session), str(tmp_path / "mix.wav"), str(report)],
        cwd=ROOT,
        check=False,
    )
    assert job.returncode == 0
    assert (tmp_path / "mix.wav").read_bytes() == (rendered[0] / "mix.wav").read_bytes()
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("out", ["", "..", "loop.wav"])
def test_an_output_that_is_no_file_name_is_refused(
    session: Path, tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    assert "name " in refused(capsys, session, "--out", out)
    assert names(tmp_path) == {"loop.wav"}
