"""What can be asked of a box: the table of requests, who may make them, and what answers."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_configs.board import Board
from dsp_kernels.contract.generated.contract import CONTRACT_ID

from .backup import MAX_BACKUP_BYTES, make_backup, read_backup, restore
from .checkup import checkup
from .dumps import Dumps
from .events import Events
from .http import Answer, Request
from .logs import read_log
from .pairing import Pairing
from .refusal import Refusal
from .sounding import Ear
from .stores import MAX_SIZE_BYTES, Recordings, Scenes
from .updater import Updater
from .upload import Upload

VERSION = "v1"
ANY = "*"  # a segment of a path that names something


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which box this is."""

    box_id: str
    name: str
    version: str
    fingerprint: str  # SHA-256 of its certificate

    def as_record(self, board: Board) -> dict[str, str]:
        """Return what anybody may know."""
        return {
            "product": "evenhand", "id": self.box_id, "name": self.name, "board": board.name, "version": self.version,
            "contract_id": CONTRACT_ID, "api": VERSION,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things lie on this box."""

    data: Path
    settings: Path
    recordings: Path
    decisions: Path
    journalctl: str
    dumps: Path = Path("/var/lib/systemd/coredump")
    machine: Path = Path("/")  # where its files begin: /sys and /proc are read for the checkup


Handler = Callable[[Request], Awaitable[Answer]]


class Api:
    """Answers requests. Everything but ``hello`` and ``pair`` asks for a token."""

    def __init__(
        self, identity: Identity, board: Board, places: Places, *, pairing: Pairing, upload: Upload, updater: Updater,
        events: Events, ear: Ear,
    ) -> None:  # fmt: skip
        self._identity, self._board, self._places = identity, board, places
        self._pairing, self._upload, self._updater, self._events, self._ear = pairing, upload, updater, events, ear
        self._scenes, self._recordings = Scenes(places.data / "scenes"), Recordings(places.recordings)
        self._dumps = Dumps(places.dumps, places.journalctl)
        self._is_pairing = asyncio.Lock()
        self._instance = secrets.token_hex(4)  # tells one start of this box from the next
        self._open: dict[tuple[str, ...], Handler] = {
            ("GET", "hello"): self._hello,
            ("POST", "pair"): self._pair,
        }
        self._closed: dict[tuple[str, ...], Handler] = {
            ("GET", "pair"): self._pairing_code,
            ("DELETE", "pair"): self._forget,
            ("GET", "status"): self._status,
            ("GET", "upload"): self._upload_state,
            ("POST", "upload"): self._announce,
            ("DELETE", "upload"): self._drop,
            ("PATCH", "upload", ANY): self._append,
            ("POST", "verify"): self._verify,
            ("POST", "install"): self._install,
            ("POST", "rollback"): self._rollback,
            ("POST", "restart"): self._restart,
            ("GET", "events"): self._tell_events,
            ("GET", "backup"): self._backup,
            ("POST", "restore"): self._restore,
            ("GET", "logs", ANY): self._logs,
            ("GET", "dumps"): self._list_dumps,
            ("GET", "dumps", ANY): self._get_dump,
            ("GET", "checkup"): self._checkup,
            ("GET", "scenes"): self._list_scenes,
            ("GET", "scenes", ANY): self._get_scene,
            ("PUT", "scenes", ANY): self._put_scene,
            ("DELETE", "scenes", ANY): self._delete_scene,
            ("GET", "recordings"): self._list_recordings,
            ("GET", "recordings", ANY, ANY): self._get_recording,
        }

    async def answer(self, request: Request) -> Answer:
        """Return what is asked for.

        Raises
        ------
        Refusal
            When there is no such thing, or whoever asks may not have it.
        """
        if handler := _find(self._open, request):
            return await handler(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        paired = self._pairing.who(token) if scheme.lower() == "bearer" else None
        if paired is None:
            raise Refusal(401, "this box does not know you; pair with it first: `evenhand pair`")
        if handler := _find(self._closed, request):
            request.laptop = paired.token_id
            return await handler(request)
        raise Refusal(404, f"{request.method} /{'/'.join(request.segments)[:80]}: no such thing in api {VERSION}")

    # ----------------------------------------------------------------------------------------------- who is there

    async def _hello(self, _: Request) -> Answer:
        return Answer(value=self._identity.as_record(self._board))

    async def _pair(self, request: Request) -> Answer:
        asked = await request.json()
        if self._is_pairing.locked():  # each try takes memory and time: one after the other
            raise Refusal(429, "somebody else is pairing just now; try again", retry_s=1.0)
        async with self._is_pairing:
            given = await asyncio.to_thread(self._pairing.pair, asked, self._identity.fingerprint)
        return Answer(value={**given, **self._identity.as_record(self._board)})

    async def _pairing_code(self, _: Request) -> Answer:
        return Answer(value={"code": self._pairing.shown_code, "paired": self._pairing.names})

    async def _forget(self, request: Request) -> Answer:
        self._pairing.forget(request.headers["authorization"].partition(" ")[2])
        return Answer(value={})

    async def _status(self, _: Request) -> Answer:
        try:
            system = await self._updater.system()
            slots: dict[str, Any] = {
                "slots": [vars(slot) for slot in system.slots], "is_trial": system.is_trial, "trouble": None,
            }  # fmt: skip
        except Refusal as refusal:
            slots = {"slots": [], "is_trial": None, "trouble": refusal.reason}
        self._ear.listen()  # the state of this moment, as the counters are, and not of half a second ago
        status = self._ear.status()
        return Answer(value={
            **self._identity.as_record(self._board),
            "instance": self._instance,
            "update": {**self._updater.progress, "upload": self._upload.as_record(), **slots,
                       "last_event": self._events.n_told},
            "engine": {"state": self._ear.engine_state, "counters": status.counters if status else {}},
            "sound": {"peak_dbfs": self._ear.peak_dbfs, "why_not_now": self._ear.why_not_now},
            "disk": {"free_bytes": shutil.disk_usage(self._places.data).free},
            "paired": self._pairing.names,
        })  # fmt: skip

    # ----------------------------------------------------------------------------------------------------- update

    async def _upload_state(self, _: Request) -> Answer:
        return Answer(value=self._upload.as_record())

    async def _announce(self, request: Request) -> Answer:
        asked = await request.json()
        self._updater.refuse_while_busy()
        return Answer(value=await asyncio.to_thread(self._upload.announce, asked, request.laptop))

    async def _append(self, request: Request) -> Answer:
        try:
            offset_bytes = int(request.headers.get("upload-offset", ""))
        except ValueError:
            raise Refusal(400, "Upload-Offset: how many bytes are there already") from None
        self._updater.refuse_while_busy()
        await self._upload.append(request.segments[2], offset_bytes, request.size_bytes, request.body())
        return Answer(value=self._upload.as_record())

    async def _drop(self, _: Request) -> Answer:
        self._updater.refuse_while_busy()
        self._upload.refuse_while_written()
        await asyncio.to_thread(self._upload.drop)
        return Answer(value=self._upload.as_record())

    async def _verify(self, request: Request) -> Answer:
        asked = await request.json()
        return Answer(value=await self._updater.verify(is_again=_flag(asked, "again")))

    async def _install(self, request: Request) -> Answer:
        asked = await request.json()
        begun = await self._updater.install(
            even_if_sounding=_flag(asked, "even_if_sounding"), is_again=_flag(asked, "again")
        )
        return Answer(status=202, value={**begun, "last_event": self._events.n_told - 1})

    async def _rollback(self, request: Request) -> Answer:
        asked = await request.json()
        return Answer(value=await self._updater.rollback(even_if_sounding=_flag(asked, "even_if_sounding")))

    async def _restart(self, request: Request) -> Answer:
        asked = await request.json()
        await self._updater.restart(even_if_sounding=_flag(asked, "even_if_sounding"))
        return Answer(value={})

    async def _tell_events(self, request: Request) -> Answer:
        after, wait_s = _number(request, "after", 0, 1 << 53), _number(request, "wait_s", 0, 60)
        return Answer(value={"events": await self._events.after(after, wait_s), "last_event": self._events.n_told})

    # ------------------------------------------------------------------------------------- what makes this box this

    async def _backup(self, _: Request) -> Answer:
        content = await asyncio.to_thread(
            make_backup, self._places.data, self._places.settings, version=self._identity.version,
            contract_id=CONTRACT_ID, box=self._identity.name,
        )  # fmt: skip
        return Answer(data=_once(content), size_bytes=len(content))

    async def _restore(self, request: Request) -> Answer:
        content = await request.read(MAX_BACKUP_BYTES)
        self._updater.refuse_while_busy()
        backup = await asyncio.to_thread(read_backup, content, version=self._identity.version)
        written = await asyncio.to_thread(restore, backup, self._places.data, self._places.settings)
        self._events.tell("restored", files=len(written["files"]))
        return Answer(value={**written, "header": backup.header})

    async def _list_scenes(self, _: Request) -> Answer:
        return Answer(value={"scenes": await asyncio.to_thread(self._scenes.listed)})

    async def _get_scene(self, request: Request) -> Answer:
        content = (await asyncio.to_thread(self._scenes.get, request.segments[2])).encode()
        return Answer(data=_once(content), size_bytes=len(content))

    async def _put_scene(self, request: Request) -> Answer:
        text = await request.read(MAX_SIZE_BYTES)
        await asyncio.to_thread(self._scenes.put, request.segments[2], text)
        return Answer(value={})

    async def _delete_scene(self, request: Request) -> Answer:
        await asyncio.to_thread(self._scenes.delete, request.segments[2])
        return Answer(value={})

    # ------------------------------------------------------------------------------------------------- looking in

    async def _logs(self, request: Request) -> Answer:
        text = await asyncio.to_thread(
            read_log, request.segments[2], _number(request, "lines", 200, 1 << 31),
            journalctl=self._places.journalctl, decisions=self._places.decisions,
        )  # fmt: skip
        return Answer(data=_once(text.encode()), size_bytes=len(text.encode()))

    async def _list_dumps(self, _: Request) -> Answer:
        return Answer(value={"dumps": await asyncio.to_thread(self._dumps.listed)})

    async def _get_dump(self, request: Request) -> Answer:
        name, consent = request.segments[2], request.query.get("consent", "")
        span = request.headers.get("range")
        answer = await asyncio.to_thread(self._dumps.answer, name, consent, span)
        if span is None or span.startswith("bytes=0-"):  # not each time that it goes on
            self._events.tell("dump given", name=name, laptop=request.laptop)
        return answer

    async def _checkup(self, _: Request) -> Answer:
        self._ear.listen()
        findings = await asyncio.to_thread(checkup, self._board, self._places.data, self._ear, self._places.machine)
        return Answer(value={"findings": findings, "time_s": time.time()})

    async def _list_recordings(self, _: Request) -> Answer:
        return Answer(value={"recordings": await asyncio.to_thread(self._recordings.listed)})

    async def _get_recording(self, request: Request) -> Answer:
        recording, name = request.segments[2:4]
        return await asyncio.to_thread(self._recordings.answer, recording, name, request.headers.get("range"))


def _find(table: dict[tuple[str, ...], Handler], request: Request) -> Handler | None:
    asked = request.segments
    if asked[0] != VERSION:
        return None
    words = (request.method, *asked[1:])
    for route, handler in table.items():
        if len(route) == len(words) and all(a in (ANY, b) for a, b in zip(route, words, strict=True)):
            return handler
    return None


def _flag(asked: dict[str, Any], name: str) -> bool:
    value = asked.get(name, False)
    if not isinstance(value, bool):
        raise Refusal(400, f"{name}: true or false")
    return value


def _number(request: Request, name: str, otherwise: int, maximum: int) -> int:
    text = request.query.get(name, str(otherwise))
    if not (text.isdecimal() and len(text) < 18 and int(text) <= maximum):
        raise Refusal(400, f"{name}: a whole number up to {maximum}")
    return int(text)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
