"""A live recording has the report of a render: strips as they were, to the bit; what was lost, said; no harm done."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from firmware import live_report
from firmware.__main__ import main
from firmware.control.control import Control
from firmware.live_report import DECISIONS, RUN, TRACK, keep_run, kept_run, write_live_report
from firmware.observation import ChannelSetup
from firmware.parameter_track import ParameterTrack
from firmware.recorder.read_back import RecordingReader
from firmware.recorder.recorder import Recorder, Settings
from firmware.replay import Replay
from firmware.report import Collector
from firmware.report.page import MAX_ROWS
from firmware.report_command import report_after_run
from firmware.system.virtual_card import Direction, Fault
from firmware.tests import record_rig
from firmware.tests.live_rig import LiveRig, LockstepControl, started, wait_for
from firmware.tests.stage import CHANNELS, RATE_HZ, TICK, Stage, noise_bursts

SECOND = RATE_HZ // TICK * TICK
ONE_BIT_OF_24 = 2.0**-23


class Listener(Collector):
    """A collector that keeps the strips."""

    def __init__(self, recording: RecordingReader) -> None:
        super().__init__(CHANNELS, recording.n_frames, RATE_HZ, TICK / RATE_HZ)
        self.heard: list[NDArray[np.float32]] = []

    def hear(self, block: NDArray[np.float32], strips: NDArray[np.float32], mixed: NDArray[np.float32]) -> None:
        super().hear(block, strips, mixed)
        self.heard.append(strips)


def replayed(folder: Path) -> tuple[NDArray[np.float32], Replay, Listener]:
    """Return all strips of a recording, by its own frames, and who replayed them."""
    with RecordingReader(folder) as recording:
        listener = Listener(recording)
        replay = Replay(recording, CHANNELS, folder / TRACK, listener)
        replay.run(lambda _: None)
        return np.concatenate(listener.heard), replay, listener


def errors(stage: Stage, folder: Path) -> dict[int, float]:
    """Return how far the replayed strips are off, tick by tick."""
    strips, _, _ = replayed(folder)
    found = {}
    with RecordingReader(folder) as recording:
        timeline = recording.timeline()
    for frame, played in stage.strips.items():
        position = timeline.position(frame)
        if position is not None:
            found[frame] = float(np.abs(strips[position : position + TICK] - played[: len(strips) - position]).max())
    return found


def report(folder: Path, **more: Any) -> str:
    record, setup, target_lufs = kept_run(folder)
    return write_live_report(folder, record=record, setup=setup, target_lufs=target_lufs, **more).read_text()


def notes(page: str) -> list[str]:
    found = re.search(r'<ul class="note">(.*?)</ul>', page, flags=re.S)
    assert found is not None
    return re.findall(r"<li>(.*?)</li>", found.group(1))


# -------------------------------------------------------------------------------------------------- the same strips


def test_replayed_strips_are_those_of_the_evening_to_the_bit(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.play(noise_bursts(6 * SECOND))
    folder = stage.close()
    off = errors(stage, folder)
    assert len(off) == 300
    assert set(off.values()) == {0.0}
    strips, replay, listener = replayed(folder)
    assert replay.error_db == -math.inf
    assert np.abs(strips).max() > 0.01, "nothing was heard"
    assert stage.control.decisions.n_decisions > 5, "nothing was decided: the replay had no parameter to follow"
    assert listener.n_points == 300
    assert listener.fader_db[-1].tolist() == pytest.approx(list(stage.control.state.column("fader.level_db", 3)))


def test_a_track_that_is_not_followed_would_be_noticed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.play(noise_bursts(6 * SECOND))
    folder = stage.close()
    with ParameterTrack(tmp_path / "still") as track:
        track.write(0, Control(CHANNELS, sample_rate_hz=float(RATE_HZ)).state.snapshot())
    (folder / TRACK).write_bytes((tmp_path / "still").read_bytes())
    assert replayed(folder)[1].error_db > -40.0


def test_frames_that_the_card_lost_leave_the_strips_behind_them_as_they_were(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.play(noise_bursts(2 * SECOND))
    stage.lose(777)
    stage.play(noise_bursts(2 * SECOND, seed=2))
    stage.lose(0)
    stage.lose(5000, cause=3)
    stage.play(noise_bursts(2 * SECOND, seed=3))
    folder = stage.close()
    assert set(errors(stage, folder).values()) == {0.0}
    strips, replay, listener = replayed(folder)
    assert len(strips) == 6 * SECOND + 777 + 5000
    assert not strips[2 * SECOND : 2 * SECOND + 777].any()
    assert replay.error_db == -math.inf
    assert listener.n_points == len(strips) // TICK, "time in the figures is no longer that of the recording"
    assert np.isnan(listener.fader_db[:, 0]).sum() in (5, 6), "5777 frames are unknown, not made up"
    said = notes(report(folder))
    assert said[1:] == [
        "Xrun, 2 times, at 0:02, 0:04: 0.02 s of sound lost, some of unknown length.",
        "The sound card was gone, once, at 0:04: 0.10 s of sound lost.",
    ]


def test_behind_what_only_the_recorder_lost_the_strips_find_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path, n_ring_frames=4 * TICK)
    stage.play(noise_bursts(2 * SECOND))
    stage.play(noise_bursts(SECOND, seed=2), is_recorded=False)
    stage.play(noise_bursts(4 * SECOND, seed=3))
    folder = stage.close()
    off = errors(stage, folder)
    assert {error for frame, error in off.items() if frame < 2 * SECOND} == {0.0}
    late = [error for frame, error in off.items() if frame >= 5 * SECOND]
    assert len(late) == 100
    assert max(late) < 1e-3, "two seconds later the compressors should have settled"
    said = notes(report(folder))
    assert said[1].startswith("The recorder or its disk was late, once, at 0:02: 0.9")
    assert "lies" in said[0]


def test_behind_a_new_engine_the_strips_are_those_of_a_new_engine(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.play(noise_bursts(2 * SECOND))
    stage.kill_engine(after_frames=20 * TICK)
    stage.play(noise_bursts(3 * SECOND, seed=2))
    folder = stage.close()
    off = errors(stage, folder)
    assert set(off.values()) == {0.0}
    assert len(off) == 250
    assert notes(report(folder))[1].startswith("The engine was started anew, once, at 0:02: 0.4")


def test_a_recording_that_began_late_finds_its_strips_and_its_decisions(tmp_path: Path) -> None:
    stage = Stage(tmp_path, records_at_once=False)
    stage.play(noise_bursts(3 * SECOND), is_recorded=False)
    stage.play(noise_bursts(4 * SECOND, seed=2))
    folder = stage.close()
    with RecordingReader(folder) as recording:
        assert 3 * SECOND < recording.first_frame <= 3 * SECOND + 2 * TICK  # those in which the recorder is noticed
        decisions, _ = live_report._decisions(folder / DECISIONS, recording)
    off = errors(stage, folder)
    assert max(error for frame, error in off.items() if frame >= 5 * SECOND) < 1e-3
    assert len(decisions) == stage.control.decisions.n_decisions
    for placed, decision in zip(decisions, stage.control.decisions, strict=True):
        in_recording_s = decision.time_s - recording.first_frame / RATE_HZ
        assert placed["time_s"] == pytest.approx(max(in_recording_s, 0.0), abs=0.001)


def test_a_live_box_with_xruns_replays_to_the_last_bit_of_its_recorded_mix(tmp_path: Path) -> None:
    """The engine process itself, its ring and its frame numbers; control ticks while the audio thread rests."""
    control = Control(CHANNELS, sample_rate_hz=float(RATE_HZ))
    (tmp_path / "recordings").mkdir()
    audio = noise_bursts(4 * SECOND)
    with LiveRig(CHANNELS, records=True) as rig:
        rig.card.schedule(Direction.CAPTURE, [(60_001, Fault.XRUN, 0), (120_345, Fault.XRUN, 0)])
        settings = Settings(ring=rig.ring_path, root=tmp_path / "recordings", reserve_bytes=0)
        with (
            started(rig, control) as lockstep,
            Recorder(record_rig.native(), settings, say=lambda _: None) as recorder,
            ParameterTrack(tmp_path / TRACK) as track,
        ):
            track.write(0, control.state.snapshot())
            wait_for(lambda: _is_recording(rig, recorder), "nothing was recorded")
            _play_by_period(rig, lockstep, audio, track, recorder)
            assert lockstep.segment.status().counters["xruns"] == 2
            recorder.step()
    (folder,) = (tmp_path / "recordings").iterdir()
    (folder / TRACK).write_bytes((tmp_path / TRACK).read_bytes())
    _, replay, _ = replayed(folder)
    assert replay.error_db == -math.inf
    assert replay.loudness.integrated_lufs > -40.0
    with RecordingReader(folder) as recording:
        assert [at.cause for at in recording.breaks] == ["xrun", "xrun"]


def _is_recording(rig: LiveRig, recorder: Recorder) -> bool:
    """Let a period pass, for the audio thread to see that somebody records."""
    recorder.step()
    if recorder.status()["is_recording"]:
        return True
    rig.card.feed(np.zeros((rig.period_frames, 4), np.float32))
    rig.advance(rig.period_frames)
    return False


def _play_by_period(
    rig: LiveRig, lockstep: LockstepControl, audio: NDArray[np.float32], track: ParameterTrack, recorder: Recorder
) -> None:
    before = lockstep.control.state.n_changes
    for start in range(0, len(audio), rig.period_frames):
        rig.card.feed(audio[start : start + rig.period_frames])
        rig.advance(rig.period_frames)
        frame = lockstep.segment.status().counters["frames"]
        if frame % TICK or frame == lockstep.frame:
            continue
        lockstep.tick(frame)
        recorder.step()
        if lockstep.control.state.n_changes != before:
            before = lockstep.control.state.n_changes
            track.write(frame, lockstep.control.state.snapshot())


# ---------------------------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage = Stage(tmp_path_factory.mktemp("evening"))
    stage.play(noise_bursts(2 * SECOND))
    stage.lose(SECOND)
    stage.play(noise_bursts(3 * SECOND, seed=2))
    return stage.close()


def test_loudness_and_waveform_are_those_of_the_recorded_mix(tmp_path: Path, evening: Path) -> None:
    """The recorded mix is made louder behind the replay's back: the page must show that."""
    mix, _ = soundfile.read(evening / "mix.wav", dtype="float32")
    copy = copied(evening, tmp_path)
    soundfile.write(copy / "mix.wav", mix * 0.5, RATE_HZ, subtype="PCM_24")
    (_, plain, shown), (_, louder, softer) = replayed(evening), replayed(copy)
    assert plain.loudness.integrated_lufs - louder.loudness.integrated_lufs == pytest.approx(6.02, abs=0.05)
    assert plain.loudness.true_peak_dbtp - louder.loudness.true_peak_dbtp == pytest.approx(6.02, abs=0.05)
    assert np.allclose(shown.wave * 0.5, softer.wave, atol=2 * ONE_BIT_OF_24)
    assert louder.error_db == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    ("error_db", "said"),
    [
        (-math.inf, "to the last bit"),
        (-46.6, "lies 47 dB under it"),
        (0.4, "not the recorded one (+0 dB): do not trust"),
    ],
)
def test_the_page_says_how_true_the_replay_is(error_db: float, said: str) -> None:
    assert said in live_report._fidelity(error_db)


def test_the_page_says_what_kind_of_evening_it_was(evening: Path) -> None:
    page = report(evening)
    assert "<title>Friday · Evenhand</title>" in page
    assert "live on 4 March 2026, 21:30" in page
    assert "3 channels, 0:06 at 48 kHz" in page
    assert re.search(r"<dt>Sound lost</dt><dd>1\.00 <i>s</i>", page)
    assert re.search(r"<dt>Input to output</dt><dd>3\.7 <i>ms</i>", page)
    assert "sound lost</span>" in page
    assert "evenhand-box run · contract" in page
    assert notes(page)[0].endswith("The replayed mix is the recorded one to the last bit.")
    assert notes(page)[1] == "Xrun, once, at 0:02: 1.00 s of sound lost."


def test_decisions_stand_where_they_are_heard_in_the_recording(tmp_path: Path, evening: Path) -> None:
    line = json.loads((evening / DECISIONS).read_text().splitlines()[0])
    copy = copied(evening, tmp_path)
    lines = [json.dumps({**line, "id": 7, "time_s": time_s, "cause": f"at {time_s}"}) for time_s in (1.0, 4.0, 5.0)]
    (copy / DECISIONS).write_text("\n".join([*lines, lines[0][:40]]))
    rows = re.findall(r'<tr id="d(\d+)".*?<td class="n">(\d:\d\d)<td>.*?at ([\d.]+)', report(copy))
    assert rows == [("0", "0:01", "1.0"), ("1", "0:05", "4.0"), ("2", "0:06", "5.0")]


def test_a_log_of_many_hours_is_counted_whole_and_kept_in_part(tmp_path: Path, evening: Path) -> None:
    line = json.loads((evening / DECISIONS).read_text().splitlines()[0])
    copy = copied(evening, tmp_path)
    with (copy / DECISIONS).open("w") as file:
        file.writelines(json.dumps({**line, "id": n, "time_s": 5.0 * n / 30_000}) + "\n" for n in range(30_000))
    with RecordingReader(copy) as recording:
        kept, counts = live_report._decisions(copy / DECISIONS, recording)
    assert sum(counts.values()) == 30_000
    assert [d["id"] for d in kept[:MAX_ROWS]] == list(range(MAX_ROWS))
    later = [d["id"] for d in kept[MAX_ROWS:]]
    assert 1000 < len(later) <= live_report.MAX_LATER_DECISIONS
    assert len(set(np.diff(later))) == 1, "the later ones are not spread evenly"
    assert later[-1] > 29_900
    page = report(copy)
    assert "<dt>Decisions</dt><dd>30000</dd>" in page
    assert "28000 later decisions are not shown; <code>decisions.jsonl</code> keeps all of them" in page


def test_channels_of_a_killed_control_are_told_from_the_parameters(tmp_path: Path, evening: Path) -> None:
    copy = copied(evening, tmp_path)
    record, setup, target_lufs = kept_run(copy)
    record["channels"] = [{"name": "Host", "role": "speech", "confidence": 1.0}]
    page = write_live_report(copy, record=record, setup=setup, target_lufs=target_lufs).read_text()
    assert all(f"<span>{name}</span>" in page for name in ("Host", "Kick", "Music"))


def test_a_recording_that_a_power_cut_ended_has_a_report(tmp_path: Path, evening: Path) -> None:
    copy = copied(evening, tmp_path)
    change(copy / "recording.json", state="recording", n_frames=0, ended_because="")
    markers = (copy / "markers.jsonl").read_bytes().splitlines(keepends=True)
    gap = next(i for i, line in enumerate(markers) if b'"gap"' in line)
    (copy / "markers.jsonl").write_bytes(b"".join(markers[: gap + 1]) + markers[gap][:30])
    (copy / TRACK).write_bytes((copy / TRACK).read_bytes()[:-3])
    assert notes(report(copy))[1] == "Xrun, once, at 0:02: 1.00 s of sound lost."


def test_pieces_are_bounded_and_cover_everything_once(evening: Path) -> None:
    with RecordingReader(evening) as recording:
        pieces = list(recording.pieces(TICK))
        assert max(len(p.mix) for p in pieces) == TICK
        assert [p.position_frames for p in pieces] == [
            sum(len(q.mix) for q in pieces[:number]) for number in range(len(pieces))
        ]
        assert sum(len(p.mix) for p in pieces) == recording.n_frames == 6 * SECOND
        assert [p.is_sound for p in pieces].count(False) == 50
        assert [p.position_frames for p in pieces if p.after] == [3 * SECOND]


# ------------------------------------------------------------------------------------------------------- the command


def copied(folder: Path, to: Path) -> Path:
    copy = to / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_the_command_makes_the_page_once_more_and_changes_nothing_else(
    tmp_path: Path, evening: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(evening, tmp_path)
    (copy / "report.html").unlink(missing_ok=True)
    before = digests(copy)
    assert main(["report", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"recording": str(copy), "report": str(copy / "report.html")}
    after = digests(copy)
    page = (copy / "report.html").read_bytes()
    assert after.pop("report.html")
    assert after == before
    assert main(["report", str(copy), "--out", str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "other.html").read_bytes() == page, "the same recording has two pages"
    assert "why it sounded as it did" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: (f / TRACK).unlink(), "has no parameters.track"),
        (lambda f: (f / TRACK).write_bytes(b"EHTRACK1" + b"another\0".ljust(16, b"\0")), "under contract another"),
        (lambda f: change(f / "recording.json", contract_id="0123"), "recorded under contract 0123"),
        (lambda f: change(f / "recording.json", first_frame=None), "older build"),
        (lambda f: (f / "recording.json").write_text("[]"), "is damaged"),
        (lambda f: (f / "recording.json").unlink(), "is no recording"),
        (lambda f: (f / "inputs.wav").write_bytes(b"RIFF"), "inputs.wav: cannot be opened"),
        (lambda f: (f / "mix.wav").unlink(), "mix.wav: cannot be opened"),
        (lambda f: (f / "mix.wav").write_bytes((f / "inputs.wav").read_bytes()), "do not belong together"),
        (lambda f: (f / RUN).unlink(), "only a run that came to its end"),
        (lambda f: change(f / RUN, channels=None), "run.json: is damaged"),
        (lambda f: change(f / "mixer.json", strips=[]), "is no mixer set-up"),
        (lambda f: change(f / "mixer.json", strips=[{"name": "x", "role": None, "card_channels": [0]}]), "4 inputs"),
    ],
)
def test_what_has_no_report_is_refused_in_one_line_and_stays_as_it_is(
    tmp_path: Path, evening: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], reason: str
) -> None:
    copy = copied(evening, tmp_path)
    (copy / "report.html").write_text("the old page")
    spoil(copy)
    before = digests(copy)
    assert main(["report", str(copy)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert reason in said.err
    assert digests(copy) == before


def test_a_damaged_track_is_refused_after_it_was_begun_and_leaves_the_old_page(
    tmp_path: Path, evening: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(evening, tmp_path)
    (copy / "report.html").write_text("the old page")
    track = bytearray((copy / TRACK).read_bytes())
    at = 24  # behind the head: frame, number of changes, changes of 6 bytes each
    for _ in range(20):
        at += 12 + 6 * int.from_bytes(track[at + 8 : at + 12], "little")
    track[at + 8 : at + 12] = b"\xff" * 4
    (copy / TRACK).write_bytes(track)
    assert main(["report", str(copy)]) == 1
    assert "damaged" in capsys.readouterr().err
    assert (copy / "report.html").read_text() == "the old page"


def test_what_a_run_leaves_comes_back_as_it_was(tmp_path: Path) -> None:
    stage_setup = Stage(tmp_path).setup
    keep_run(tmp_path, record={"channels": [], "xruns": 3}, setup=stage_setup, target_lufs=-18.0)
    assert kept_run(tmp_path) == ({"channels": [], "xruns": 3}, stage_setup, -18.0)


def test_a_run_ends_well_without_its_report(tmp_path: Path, evening: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = copied(evening, tmp_path)
    record, setup, target_lufs = kept_run(copy)
    told: dict[str, Any] = {"record": record, "setup": setup, "target_lufs": target_lufs, "is_quiet": True}
    assert report_after_run(copy, **told) == copy / "report.html"
    (copy / TRACK).unlink()
    before = digests(copy)
    assert report_after_run(copy, **told) is None
    assert capsys.readouterr().err.startswith("note: no report: ")
    assert digests(copy) == before


def test_a_later_part_of_a_long_run_shows_its_own_decisions(tmp_path: Path, evening: Path) -> None:
    copy = copied(evening, tmp_path)
    change(copy / "recording.json", first_frame=100 * RATE_HZ)
    markers = [json.loads(line) for line in (copy / "markers.jsonl").read_text().splitlines()]
    lines = [json.dumps({**m, "frame": 102 * RATE_HZ} if m["kind"] == "gap" else m) + "\n" for m in markers]
    (copy / "markers.jsonl").write_text("".join(lines))
    line = json.loads((evening / DECISIONS).read_text().splitlines()[0])
    lines = [json.dumps({**line, "time_s": time_s}) + "\n" for time_s in (1.0, 101.0, 104.0, 300.0)]
    (copy / DECISIONS).write_text("".join(lines))
    with RecordingReader(copy) as recording:
        decisions, counts = live_report._decisions(copy / DECISIONS, recording)
    assert [d["time_s"] for d in decisions] == [1.0, 5.0]
    assert sum(counts.values()) == 2


def test_progress_runs_up_to_its_end(evening: Path) -> None:
    seen: list[float] = []
    report(evening, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_strip_without_a_role_is_still_a_strip(tmp_path: Path) -> None:
    assert live_report._channel("nonsense", ChannelSetup(name="x"), Control(
        CHANNELS, sample_rate_hz=48000.0).state.params["channel"][0])["role"] == "other"  # fmt: skip


# ------------------------------------------------------------------------------------------------ what the model heard


def told_story() -> dict[str, Any]:
    spans = {
        "scene": [{"word": "music", "from_s": 0.5, "to_s": 5.0}],
        "genre": [{"word": "pop", "from_s": 0.5, "to_s": 5.0}],
        "section": [{"word": "verse", "from_s": 0.2, "to_s": 1.5}, {"word": "chorus", "from_s": 2.2, "to_s": 5.0}],
        "key": [],
        "tempo": [{"word": "118 BPM", "from_s": 2.5, "to_s": 5.0}],
    }
    return {"style": "natural", "trust": 0.97, "spans": spans}


def test_the_page_shows_what_the_model_heard_where_it_is_heard_in_the_recording(tmp_path: Path, evening: Path) -> None:
    copy = copied(evening, tmp_path)
    change(copy / "run.json", model="even 3", story=told_story())
    page = report(copy)
    assert "What the model heard" in page
    assert "even 3, natural; trusted 97 % at the end" in page
    # The card lost a second two seconds after the start: what came at 2.2 s stands at 3.2 s.
    assert re.search(r"<dt>Section</dt><dd><span>0:00 verse</span>, <span>0:03 chorus</span>", page)
    assert "118 BPM" in page
    assert re.search(r"<dt>Key</dt><dd>not told", page)


@pytest.mark.parametrize(
    "story", [None, 7, {}, {"spans": {}}, told_story() | {"style": "loud"}, told_story() | {"trust": math.nan},
              told_story() | {"spans": told_story()["spans"] | {"key": [{"word": 3, "from_s": 0.0, "to_s": 1.0}]}},
              told_story() | {"spans": told_story()["spans"] | {"key": [{"word": "C", "from_s": 2.0, "to_s": 1e300}]}}],
)  # fmt: skip
def test_a_story_that_is_none_is_left_out(tmp_path: Path, evening: Path, story: Any) -> None:
    copy = copied(evening, tmp_path)
    change(copy / "run.json", model="even 3", story=story)
    assert "What the model heard" not in report(copy)
