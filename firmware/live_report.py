"""The report of a live recording: what was played and why, in the page that a render has.

Loudness and waveform are those of the recorded mix; what the strips did comes from a replay of the recorded inputs.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import Outputs
from .errors import EvenhandError
from .mixer_setup import MixerSetup, read_setup, write_setup
from .model_story import placed
from .observation import TICK_MS, ChannelSetup, Loudness
from .recorder.read_back import Break, RecordingReader
from .recorder.timeline import Timeline
from .replay import Progress, Replay
from .report import Collector, Fact, write_page
from .report.families import family
from .report.page import MAX_ROWS
from .report.wording import clock
from .wav_writer import cannot_write

REPORT, RUN, MIXER = "report.html", "run.json", "mixer.json"
DECISIONS, TRACK = "decisions.jsonl", "parameters.track"
RUN_START_S = 60.0  # a recording whose first frame is younger began with its run: earlier decisions belong to it
MAX_RUN_BYTES = 1_000_000
MAX_LINE_BYTES = 20_000  # of a decision
MAX_LATER_DECISIONS = 4000  # kept beyond those of the table, for the figure
MAX_TIMES = 5  # at which a note says that sound was lost
_DECISION_KEYS = {"time_s", "scope", "index", "channel", "parameter", "from", "to", "cause", "confidence", "source"}


def keep_run(folder: Path, *, record: dict[str, Any], setup: MixerSetup, target_lufs: float) -> None:
    """Leave beside a recording what its report needs to know of the run.

    Raises
    ------
    EvenhandError
        When the disk does not take it.
    """
    try:
        write_setup(setup, folder / MIXER)
        text = json.dumps({"target_lufs": target_lufs, **record}, indent=1)
        with Outputs() as outputs:
            outputs.stage(folder / RUN).write_text(text + "\n", encoding="utf-8")
            outputs.commit()
    except OSError as error:
        raise cannot_write(folder / RUN, error) from None


def kept_run(folder: Path) -> tuple[dict[str, Any], MixerSetup, float]:
    """Return record, set-up and target that ``keep_run`` left.

    Raises
    ------
    EvenhandError
        When there are none, or they are damaged.
    """
    path = folder / RUN
    try:
        with path.open("rb") as file:
            record = json.loads(file.read(MAX_RUN_BYTES))
        target_lufs = float(record.pop("target_lufs"))
        if not (isinstance(record.get("channels"), list) and math.isfinite(target_lufs)):
            raise ValueError
    except OSError as error:
        raise EvenhandError(
            f"{path}: cannot be read ({error.strerror}); only a run that came to its end leaves what a report needs"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EvenhandError(f"{path}: is damaged") from None
    return record, read_setup(folder / MIXER), target_lufs


def write_live_report(
    folder: Path,
    *,
    record: dict[str, Any],
    setup: MixerSetup,
    target_lufs: float,
    out: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Path:
    """Write the report of the recording in ``folder`` and return where it lies; nothing else in there changes.

    Parameters
    ----------
    record
        What ``evenhand-box run --json`` prints.
    setup
        The strips that the recorded inputs feed.
    out
        Where to; by default ``report.html`` in the folder.

    Raises
    ------
    EvenhandError
        When the recording lacks something or is one of another contract; then no file has changed.
    """
    out = out or folder / REPORT
    with RecordingReader(folder) as recording, Outputs() as outputs:
        channels = [ChannelSetup(name=s.name, is_stereo=s.is_stereo, role=s.role) for s in setup.strips]
        _refuse(recording, channels)
        part = outputs.stage(out)
        collector = Collector(channels, recording.n_frames, recording.sample_rate_hz, TICK_MS / 1000)
        collector.breaks_s = _breaks_s(recording)
        replay = Replay(recording, channels, folder / TRACK, collector)
        replay.run(on_progress)
        decisions, counts = _decisions(folder / DECISIONS, recording)
        try:
            write_page(
                part,
                collected=collector,
                record=_page_record(record, recording, replay, channels),
                decisions=decisions,
                n_by_family=counts,
                target_lufs=target_lufs,
                title=recording.title,
                notes=[_fidelity(replay.error_db), *_break_notes(recording), *_restart_notes(record)],
                facts=_facts(record, recording),
                story=_story(record, recording),
                occasion=_occasion(recording.started),
                made_by="evenhand-box run",
                all_decisions=DECISIONS,
            )
        except OSError as error:
            raise cannot_write(out, error) from None
        outputs.commit()
    return out


def _refuse(recording: RecordingReader, channels: Sequence[ChannelSetup]) -> None:
    folder = recording.folder
    if not (folder / TRACK).is_file():
        raise EvenhandError(f"{folder}: has no {TRACK}; without it nobody knows what the channels were set to")
    n_lanes = sum(2 if c.is_stereo else 1 for c in channels)
    if n_lanes != recording.n_input_lanes:
        raise EvenhandError(
            f"{folder}: inputs.wav has {recording.n_input_lanes} inputs, the strips of its run take {n_lanes}"
        )


# ------------------------------------------------------------------------------------------------------- figures


def _page_record(
    record: dict[str, Any], recording: RecordingReader, replay: Replay, channels: Sequence[ChannelSetup]
) -> dict[str, Any]:
    loudness: Loudness = replay.loudness
    told = record.get("channels", [])
    return {
        "duration_s": recording.n_frames / recording.sample_rate_hz,
        "sample_rate_hz": recording.sample_rate_hz,
        "integrated_lufs": loudness.integrated_lufs,
        "loudness_range_lu": loudness.loudness_range_lu,
        "true_peak_dbtp": loudness.true_peak_dbtp,
        "model": str(record.get("model", "none")),
        "channels": [
            _channel(told[ch] if ch < len(told) else {}, channel, replay.params["channel"][ch])
            for ch, channel in enumerate(channels)
        ],
    }


def _channel(told: Any, channel: ChannelSetup, strip: np.void) -> dict[str, Any]:
    """Return what control said at its end; where it was killed before, what the parameters still tell."""
    known = {
        "name": channel.name,
        "role": channel.role or "other",
        "role_confidence": 0.0,
        "gain_db": float(strip["input.trim_db"] + strip["fader.level_db"]),
        "pan": float(strip["pan.position"]),
        "sends": {},
        "eq": [],
        "gate": None,
        "compressor": None,
        "reasons": [],
    }
    return known | {key: value for key, value in told.items() if key in known} if isinstance(told, dict) else known


def _facts(record: dict[str, Any], recording: RecordingReader) -> list[Fact]:
    facts = []
    if isinstance(frames := record.get("round_trip_frames"), int):
        facts.append(Fact(name="Input to output", figure=f"{frames / recording.sample_rate_hz * 1000:.1f}", unit="ms"))
    n_lost = sum(at.n_lost_frames or 0 for at in recording.breaks)
    if recording.breaks:
        facts.append(Fact(name="Sound lost", figure=f"{n_lost / recording.sample_rate_hz:.2f}", unit="s"))
    return facts


def _story(record: dict[str, Any], recording: RecordingReader) -> dict[str, Any] | None:
    """Return what a model took the music for, timed by the recording."""
    timeline, rate_hz = recording.timeline(), recording.sample_rate_hz
    duration_s = recording.n_frames / rate_hz

    def place_s(time_s: float) -> float | None:
        position = timeline.position(round(time_s * rate_hz))
        return None if position is None else min(position / rate_hz, duration_s)

    return placed(record.get("story"), place_s)


def _occasion(started: str) -> str:
    try:
        at = datetime.fromisoformat(started)
    except ValueError:
        return "live"
    return f"live on {at.day} {at:%B %Y}, {at:%H:%M}"


def _breaks_s(recording: RecordingReader) -> list[tuple[float, float]]:
    rate_hz = recording.sample_rate_hz
    return [
        (at.position_frames / rate_hz, (at.position_frames + at.n_silent_frames) / rate_hz) for at in recording.breaks
    ]


# --------------------------------------------------------------------------------------------------------- notes


def _fidelity(error_db: float) -> str:
    """Say how far the figures of the channels can be trusted."""
    said = "Loudness and waveform are those of the recording; the channels were replayed from its inputs and settings."
    if error_db == -math.inf:
        return f"{said} The replayed mix is the recorded one to the last bit."
    if error_db < 0.0:
        return f"{said} What the replayed mix has other than the recorded one lies {-error_db:.0f} dB under it."
    return f"{said} The replayed mix is not the recorded one ({error_db:+.0f} dB): do not trust the channels' figures."


def _break_notes(recording: RecordingReader) -> list[str]:
    by_cause: dict[str, list[Break]] = {}
    for at in recording.breaks:
        by_cause.setdefault(at.cause, []).append(at)
    return [_break_note(cause, breaks, recording.sample_rate_hz) for cause, breaks in by_cause.items()]


def _break_note(cause: str, breaks: Sequence[Break], rate_hz: int) -> str:
    often = "once" if len(breaks) == 1 else f"{len(breaks)} times"
    lost_s = sum(at.n_lost_frames or 0 for at in breaks) / rate_hz
    times = list(dict.fromkeys(clock(at.position_frames / rate_hz) for at in breaks))
    more = f" and {len(times) - MAX_TIMES} more" if len(times) > MAX_TIMES else ""
    unknown = ", some of unknown length" if any(at.n_lost_frames is None for at in breaks) else ""
    said = f"{cause[:1].upper()}{cause[1:]}, {often}, at {', '.join(times[:MAX_TIMES])}{more}"
    return f"{said}: {lost_s:.2f} s of sound lost{unknown}."


def _restart_notes(record: dict[str, Any]) -> list[str]:
    n_control = record.get("control_restarts")
    if not isinstance(n_control, int) or n_control < 1:
        return []
    often = "once" if n_control == 1 else f"{n_control} times"
    return [f"The control process was started anew {often}; the mix went on with the last settings meanwhile."]


# ----------------------------------------------------------------------------------------------------- decisions


def _decisions(path: Path, recording: RecordingReader) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return the first ``MAX_ROWS`` decisions and some of the later ones, timed by the recording; and a count of all.

    However long the run was, what is kept is bounded: the later ones are thinned out evenly.
    """
    first: list[dict[str, Any]] = []
    later: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    step = 1
    for number, decision in enumerate(_placed(path, recording)):
        decision["id"] = number  # those of the log begin anew with a control that begins anew
        counts[family(decision["parameter"])] += 1
        if number < MAX_ROWS:
            first.append(decision)
        elif (number - MAX_ROWS) % step == 0:
            later.append(decision)
            if len(later) > MAX_LATER_DECISIONS:
                later, step = later[::2], 2 * step
    return first + later, counts


def _placed(path: Path, recording: RecordingReader) -> Iterator[dict[str, Any]]:
    """Yield decisions with ``time_s`` counted from the start of the recording; those of other recordings are left."""
    rate_hz, duration_s = recording.sample_rate_hz, recording.n_frames / recording.sample_rate_hz
    timeline: Timeline = recording.timeline()
    has_run_start = recording.first_frame < RUN_START_S * rate_hz
    for decision in _logged(path):
        position = timeline.position(round(decision["time_s"] * rate_hz))
        if position is None and not has_run_start:
            continue
        time_s = (position or 0) / rate_hz
        if time_s <= duration_s + 1.0:  # the last ones are told when the mix has ended
            decision["time_s"] = min(time_s, duration_s)
            yield decision


def _logged(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES):
                if decision := _decision(line):
                    yield decision
    except FileNotFoundError:
        return
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be read ({error.strerror})") from None


def _decision(line: bytes) -> dict[str, Any] | None:
    """Return the decision in a line; a killed control may have left half of one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not record.keys() >= _DECISION_KEYS:
        return None
    numbers = [record[key] for key in ("time_s", "index", "from", "to", "confidence")]
    are_numbers = all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
    are_words = all(isinstance(record[key], str) for key in ("scope", "channel", "parameter", "cause", "source"))
    return record if are_numbers and are_words and record["time_s"] >= 0 else None
