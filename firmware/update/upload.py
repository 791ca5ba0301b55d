"""The bundle that is on its way in: one at a time, taken up where it stopped, never larger than announced."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import EvenhandError
from .keep import read_json, write_json
from .refusal import Refusal

MAX_BUNDLE_BYTES = 2 << 30
KEPT_FREE_BYTES = 64 << 20  # what an upload leaves to settings and logs
SYNC_EVERY_BYTES = 16 << 20
WRITE_BYTES = 1 << 20
ABANDONED_S = 60.0  # without a byte; then another laptop may begin another one
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Upload:
    """A bundle in ``folder``, with what is known about it.

    ``bundle.part`` grows to ``bundle.raucb``; ``upload.json`` says what it is to become and how much of it is safe on
    the disk: after a power cut only that counts.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = MAX_BUNDLE_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._max_bytes, self._clock = folder, max_bytes, clock
        self._part, self.path, self._about = folder / "bundle.part", folder / "bundle.raucb", folder / "upload.json"
        self._state = read_json(self._about)
        self._is_written = False
        self._touched_s, self._laptop = -ABANDONED_S, ""
        self._take_up()

    # ------------------------------------------------------------------------------------------------ looking

    @property
    def is_complete(self) -> bool:
        """Whether all of it is there, and is what was announced."""
        return bool(self._state.get("is_complete"))

    @property
    def verified(self) -> dict[str, Any] | None:
        """What verification found out about it, or None before."""
        return self._state.get("verified")

    def as_record(self) -> dict[str, Any]:
        """Return what there is; ``size_bytes`` 0 when there is nothing."""
        return {
            "id": self._state.get("sha256", ""),
            "name": self._state.get("name", ""),
            "size_bytes": self._state.get("size_bytes", 0),
            "offset_bytes": self._offset_bytes,
            "is_complete": self.is_complete,
            "verified": self.verified,
        }

    # ------------------------------------------------------------------------------------------------ changing

    def announce(self, request: dict[str, Any], laptop: str) -> dict[str, Any]:
        """Begin an upload, or go on with the same one; ``laptop`` may give up its own for another one at any time.

        Raises
        ------
        Refusal
            When it would not fit, or another laptop's is under way.
        """
        size_bytes, sha256, name = (request.get(key) for key in ("size_bytes", "sha256", "name"))
        if type(size_bytes) is not int or size_bytes <= 0:
            raise Refusal(400, "size_bytes: a whole number of bytes")
        if not (isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)):
            raise Refusal(400, "sha256: 64 hexadecimal digits")
        if not (isinstance(name, str) and len(name) <= 200 and name.isprintable()):
            raise Refusal(400, "name: a text of at most 200 characters")
        if size_bytes > self._max_bytes:
            raise Refusal(413, f"{size_bytes} bytes announced; a bundle has at most {self._max_bytes}")
        is_same = (self._state.get("sha256"), self._state.get("size_bytes")) == (sha256, size_bytes)
        if not is_same:
            is_theirs = laptop != self._laptop and self._clock() - self._touched_s < ABANDONED_S
            if self._is_written or (self._state and not self.is_complete and is_theirs):
                raise Refusal(409, f"another upload is under way; wait {ABANDONED_S:.0f} s, or let it finish")
            self._refuse_lack_of_room(size_bytes)
            self.drop()
            self._keep({"size_bytes": size_bytes, "sha256": sha256, "name": name, "synced_bytes": 0})
        self._touched_s, self._laptop = self._clock(), laptop
        return self.as_record()

    async def append(
        self, upload_id: str, offset_bytes: int, size_bytes: int | None, body: AsyncIterator[bytes]
    ) -> None:
        """Write what comes behind what is there.

        Raises
        ------
        Refusal
            When it does not begin where the last one ended, would become too long, or the disk is full. What came
            before that stays.
        """
        self._refuse_foreign(upload_id)
        now_bytes = self._offset_bytes
        if offset_bytes != now_bytes or self.is_complete:
            raise Refusal(409, f"the upload stands at {now_bytes} bytes; go on from there", **self.as_record())
        left_bytes = self._state["size_bytes"] - now_bytes
        if size_bytes is not None and size_bytes > left_bytes:
            raise Refusal(413, f"{size_bytes} bytes sent, {left_bytes} are missing; send what was announced")
        self._is_written = True
        try:
            await self._write(body, left_bytes)
        finally:
            self._is_written = False
            self._touched_s = self._clock()
        if self._offset_bytes == self._state["size_bytes"]:
            await asyncio.to_thread(self._complete)

    def set_verified(self, about: dict[str, Any]) -> None:
        """Keep what verification found out."""
        self._keep({**self._state, "verified": about})

    def drop(self) -> None:
        """Forget the bundle and free its room."""
        self._keep({})
        for path in (self._part, self.path):
            path.unlink(missing_ok=True)

    def refuse_while_written(self) -> None:
        """Raise Refusal when somebody is sending."""
        if self._is_written:
            raise Refusal(409, "the bundle is being sent just now; wait for it")

    # ---------------------------------------------------------------------------------------------------- within

    @property
    def _offset_bytes(self) -> int:
        if self.is_complete:
            return int(self._state["size_bytes"])
        try:
            return self._part.stat().st_size
        except OSError:
            return 0

    def _take_up(self) -> None:
        """Go on after a start: what was not synced may be anything."""
        if self.is_complete and not self.path.exists():
            self._state = {}
        if not self._state:
            for path in (self._part, self.path):
                path.unlink(missing_ok=True)
        elif self._part.exists() and self._part.stat().st_size > int(self._state.get("synced_bytes", 0)):
            os.truncate(self._part, int(self._state.get("synced_bytes", 0)))

    async def _write(self, body: AsyncIterator[bytes], left_bytes: int) -> None:
        waiting = bytearray()
        file = await asyncio.to_thread(self._part.open, "ab")
        try:
            async for data in body:
                left_bytes -= len(data)
                if left_bytes < 0:
                    raise Refusal(413, "more bytes than were announced; they are not taken")
                waiting += data
                if len(waiting) >= WRITE_BYTES:
                    await asyncio.to_thread(self._put, file, bytes(waiting))
                    waiting.clear()
        finally:
            # A connection that broke leaves what it brought, so that less is sent again.
            with suppress(Refusal):
                await asyncio.to_thread(self._put, file, bytes(waiting), is_last=True)
            file.close()

    def _put(self, file: Any, data: bytes, *, is_last: bool = False) -> None:
        try:
            file.write(data)
            file.flush()
            at_bytes = os.fstat(file.fileno()).st_size
            if is_last or at_bytes - int(self._state["synced_bytes"]) >= SYNC_EVERY_BYTES:
                os.fsync(file.fileno())
                self._keep({**self._state, "synced_bytes": at_bytes})
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise Refusal(507, "the box's disk is full; remove recordings and send it again") from None

    def _complete(self) -> None:
        with self._part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self._state["sha256"]:
            self.drop()
            raise Refusal(422, f"all came, and it is not what was announced (sha256 {digest[:16]}...); send it again")
        self._part.replace(self.path)
        self._keep({**self._state, "is_complete": True})

    def _keep(self, state: dict[str, Any]) -> None:
        if state:
            write_json(self._about, state)
        else:
            self._about.unlink(missing_ok=True)
        self._state = state

    def _refuse_foreign(self, upload_id: str) -> None:
        if self._is_written:
            raise Refusal(409, "somebody is sending this bundle already")
        if not self._state or self._state["sha256"] != upload_id:
            raise Refusal(404, "no such upload; announce it first")

    def _refuse_lack_of_room(self, size_bytes: int) -> None:
        try:
            free_bytes = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise EvenhandError(f"{self._folder}: {error.strerror}") from None
        free_bytes += sum(path.stat().st_size for path in (self._part, self.path) if path.exists())
        if size_bytes > free_bytes - KEPT_FREE_BYTES:
            raise Refusal(
                507, f"{size_bytes >> 20} MiB do not fit: {max(0, free_bytes - KEPT_FREE_BYTES) >> 20} MiB are free "
                "for updates; remove recordings"
            )  # fmt: skip
