"""Keeps the state in a file, for the next time the power comes on; a slow or full disk never holds up a tick."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import NamedTuple

from firmware.errors import EvenhandError

from .control import Control
from .mixer_state import MixerState
from .scenes import MAX_NAME_LENGTH, Scene, read_scene, write_scene
from .seal import is_broken

# The last state, the one before it, and the newest from when it is whole until it is the last: never one file alone.
LAST, BEFORE, NEXT = "last.toml", "before.toml", "next.toml"
EVERY_S = 10.0  # a ride moves all the time: more often would wear out a memory card
MAX_LOOKED_AT = 10  # files that were set aside, newest first

_ASIDE = re.compile(r"set-aside-(\d{1,6})\.toml")


class _Job(NamedTuple):
    key: tuple[str, ...]
    state: MixerState
    names: dict[int, str]
    roles: dict[int, str]


class Autosave:
    """Writes ``last.toml`` of a folder when something changed.

    Use as a context manager: leaving writes what is not written yet, and waits for a slow disk ``patience_s`` for what
    it is doing and once more for that.

    Parameters
    ----------
    folder
        Belongs to this control alone.
    every_s
        The least time between two looks at the state, and between two tries when the disk refuses.
    write
        Replaces a file whole or not at all, or raises EvenhandError.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_s: float = EVERY_S,
        patience_s: float = 2.0,
        write: Callable[[Scene, Path], None] = write_scene,
    ) -> None:
        self.path = folder / LAST
        self.every_s, self.patience_s, self._write = every_s, patience_s, write
        self._looked_s: float | None = None
        self._written: tuple[str, ...] | None = None  # key of what is on the disk
        self._is_refused = False  # since the last success; one line tells of it
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._is_idle = Event()
        self._is_idle.set()
        self._control: Control | None = None
        self._thread = Thread(target=self._work, name="autosave", daemon=True)  # a dead disk must not hold up the end
        self._thread.start()

    def look(self, control: Control, time_s: float) -> list[str]:
        """Once a tick: see to it that what changed gets written, and return what the log should say, mostly nothing."""
        self._control = control
        is_due = self._looked_s is None or abs(time_s - self._looked_s) >= self.every_s
        if is_due and self._is_idle.is_set():
            self._looked_s = time_s
            self._hand_over(control)
        return self._news()

    def _hand_over(self, control: Control) -> None:
        roles = control.roles_given
        key = (
            control.state.state_hash(),
            control.state.preamp_gain_db.tobytes().hex(),
            *(f"{ch} {role}" for ch, role in roles.items()),
        )
        if key == self._written:
            return
        names = {ch: setup.name[:MAX_NAME_LENGTH] for ch, setup in enumerate(control.channels)}
        self._is_idle.clear()
        self._jobs.put(_Job(key, control.state.copy(), names, roles))

    def _news(self) -> list[str]:
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines

    # ------------------------------------------------------------------------------------------- on the other thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                scene = Scene.of(job.state, title="last state", names=job.names, roles=job.roles)
                self.path.parent.mkdir(parents=True, exist_ok=True)
                whole = self.path.with_name(NEXT)
                self._write(scene, whole)  # may take long; the two from before stay two files meanwhile
                self._keep_the_one_before()
                whole.replace(self.path)
            except Exception as error:  # whatever it is, the mixer goes on and the next state is tried
                self._tell_refusal(error)
            else:
                self._written = job.key
                if self._is_refused:
                    self._lines.put(f"{self.path}: written again")
                self._is_refused = False
            self._is_idle.set()

    def _keep_the_one_before(self) -> None:
        link = self.path.with_name(f".{BEFORE}.link.part")
        with suppress(OSError):
            if self.path.is_file() and is_broken(self.path.read_bytes()):
                return  # the disk has changed it meanwhile: the one before is the better one
            link.unlink(missing_ok=True)
            try:
                link.hardlink_to(self.path)
            except OSError:  # no links on this disk, or none to a file that is somebody else's
                link = self.path  # it may move: the newest is whole, so there still are two
            link.replace(self.path.with_name(BEFORE))

    def _tell_refusal(self, error: Exception) -> None:
        if not self._is_refused:
            reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
            what = str(error) if isinstance(error, EvenhandError) else f"{self.path}: cannot be written: {reason}"
            self._lines.put(f"{what}; tried again every {self.every_s:g} s")
        self._is_refused = True

    # ----------------------------------------------------------------------------------------------------- the end

    def __enter__(self) -> Autosave:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_idle.wait(self.patience_s) and self._control is not None:
            self._hand_over(self._control)
        self._jobs.put(None)
        self._thread.join(self.patience_s)


# ------------------------------------------------------------------------------------------------------- the start


def load_last(
    folder: Path, names: Sequence[str], restored: Path | None = None
) -> tuple[Scene | None, list[str]]:  # fmt: skip
    """Return the newest state in the folder that this box can use, or None, and what the log should say.

    What cannot be used is set aside, never deleted. A channel that has another name now begins afresh. ``restored`` is
    what a backup brought: it becomes the last state, and that one the state before.
    """
    notes: list[str] = []
    if restored is not None and restored.is_file():
        notes.append(_take_over(folder, restored))
    for name in (LAST, BEFORE, NEXT):
        for part in folder.glob(f".{name}.*part"):  # of a process that was killed while it wrote
            with suppress(OSError):
                part.unlink()
    for path in _candidates(folder):
        try:
            scene = read_scene(path)
        except EvenhandError as error:
            notes.append(_set_aside(path, str(error)))
            continue
        if path.name != LAST:
            notes.append(f"{path}: taken for the last state")
        return _for_channels(scene, names, notes), notes
    return None, notes


def _take_over(folder: Path, restored: Path) -> str:
    try:
        read_scene(restored)
        for path in (folder / LAST, folder / NEXT):
            if path.exists():
                path.replace(folder / BEFORE)
        restored.replace(folder / LAST)
    except EvenhandError as error:
        with suppress(OSError):
            restored.unlink()
        return f"the backup's state is not used: {error}"
    except OSError as error:
        return f"{restored}: cannot be taken over: {error.strerror}; the state from before stands"
    return f"{restored}: restored from a backup"


def _candidates(folder: Path) -> list[Path]:
    newest_first = sorted(_set_aside_in(folder).items(), reverse=True)[:MAX_LOOKED_AT]
    paths = [folder / NEXT, folder / LAST, folder / BEFORE, *(path for _, path in newest_first)]
    return [path for path in paths if os.path.lexists(path)]


def _set_aside_in(folder: Path) -> dict[int, Path]:
    matches = [(_ASIDE.fullmatch(path.name), path) for path in folder.glob("set-aside-*.toml")]
    return {int(match[1]): path for match, path in matches if match}


def _set_aside(path: Path, reason: str) -> str:
    if _ASIDE.fullmatch(path.name):
        return reason
    number = max(_set_aside_in(path.parent), default=0) + 1
    place = path.with_name(f"set-aside-{number}.toml")
    try:
        path.rename(place)
    except OSError as error:
        return f"{reason}; cannot be set aside: {error.strerror}"
    return f"{reason}; set aside as {place.name}"


def _for_channels(scene: Scene, names: Sequence[str], notes: list[str]) -> Scene:
    now = {ch: name[:MAX_NAME_LENGTH] for ch, name in enumerate(names)}
    others = {ch for ch, name in scene.names.items() if now.get(ch) != name}
    notes += [f"channel {ch + 1} was {scene.names[ch]}, is {now[ch]}: begins afresh" for ch in sorted(others & {*now})]
    return replace(
        scene,
        values={key: v for key, v in scene.values.items() if key[0] != "channel" or key[1] not in others},
        permissions={
            key: p for key, p in scene.permissions.items() if key.scope != "channel" or key.index not in others
        },
        names={ch: name for ch, name in scene.names.items() if ch not in others},
        roles={ch: role for ch, role in scene.roles.items() if ch not in others},
        preamp_gain_db={ch: gain_db for ch, gain_db in scene.preamp_gain_db.items() if ch not in others},
    )
