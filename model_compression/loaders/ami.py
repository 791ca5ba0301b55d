"""AMI meetings: headsets, array microphones, and when each person spoke by the word transcripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .audio import AudioFile
from .documents import xml_root
from .session import LoadedChannel, LoadedSession, Span, folders

JOINED_S = 0.3  # a shorter silence between words is no end of speech
AGENTS = "ABCDE"  # speaker of headset 0, 1, ...
_HEADSET = re.compile(r"\.Headset-(\d)\.wav$")


def sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield each meeting of ``root`` or ``root/amicorpus``; transcripts in ``words`` beside or above it."""
    base = root / "amicorpus" if (root / "amicorpus").is_dir() else root
    for folder in folders(base, "*/audio", "AMI meetings"):
        meeting = folder.parent.name
        channels = []
        for path in sorted(folder.glob(f"{meeting}.Headset-*.wav")):
            number = int(_HEADSET.search(path.name)[1])  # type: ignore[index]  # the glob saw to it
            words = next((p for p in _words(root, base, meeting, AGENTS[number]) if p.is_file()), None)
            channels.append(
                LoadedChannel(
                    name=f"Headset-{number}", label="headset", role="speech", parts=(AudioFile(path=path),),
                    activity=None if words is None else speech_spans(words),
                )
            )  # fmt: skip
        channels += [
            LoadedChannel(
                name=path.name.split(".")[1], label="array microphone", role="ambience", parts=(AudioFile(path=path),)
            )
            for path in sorted(folder.glob(f"{meeting}.Array*.wav"))
        ]
        mix = folder / f"{meeting}.Mix-Headset.wav"
        yield LoadedSession(
            set_name="ami",
            name=meeting,
            channels=tuple(channels),
            mix=AudioFile(path=mix) if mix.is_file() else None,
            scene_kind="speech",
            has_bleed=True,
        )


def _words(root: Path, base: Path, meeting: str, agent: str) -> list[Path]:
    name = f"{meeting}.{agent}.words.xml"
    return [place / "words" / name for place in (root, base, root.parent, base / meeting)]


def speech_spans(path: Path) -> tuple[Span, ...]:
    """Return when the words of a transcript sound, close ones joined; without punctuation and other sounds."""
    times = sorted(
        (float(word.attrib["starttime"]), float(word.attrib["endtime"]))
        for word in xml_root(path).iter("w")
        if word.attrib.get("punc") != "true" and "starttime" in word.attrib and "endtime" in word.attrib
    )
    spans: list[Span] = []
    for begin_s, end_s in times:
        if spans and begin_s - spans[-1][1] < JOINED_S:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end_s))
        else:
            spans.append((begin_s, end_s))
    return tuple(spans)
