"""The course of an update: verify, install, restart; and one step back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from .events import Events
from .rauc import Rauc, System
from .refusal import Refusal
from .sounding import Ear
from .upload import Upload
from .verity import check_payload

MAX_NOTES_CHARACTERS = 16_000


class Updater:
    """What may be done to the slots, one thing at a time.

    Parameters
    ----------
    rauc
        The updater itself.
    upload
        Where the bundle comes from.
    ear
        Whether a show is on.
    events
        Is told how far it is.
    version
        Of what runs here.
    restart_request
        File that makes the machine restart when it appears; who sees to that is root, and we are not.
    """

    def __init__(
        self, rauc: Rauc, upload: Upload, ear: Ear, events: Events, *, version: str, restart_request: Path
    ) -> None:
        self._rauc, self._upload, self._ear, self._events = rauc, upload, ear, events
        self._version, self._restart_request = version, restart_request
        self._busy: str | None = None
        self._job: asyncio.Task[None] | None = None
        self.progress: dict[str, Any] = {"state": "idle"}

    def refuse_while_busy(self) -> None:
        """Raise Refusal while the slots are worked on."""
        if self._busy:
            raise Refusal(409, f"the box is {self._busy}; wait for it", is_busy=True)

    def refuse_while_sounding(self, *, even_if_sounding: bool) -> None:
        """Raise Refusal while a show is on, unless it was said that this does not matter."""
        if not even_if_sounding and (why := self._ear.why_not_now):
            raise Refusal(409, f"{why}; wait for the end of the show, or say --even-if-sounding", is_sounding=True)

    async def system(self) -> System:
        """Return what boots."""
        return await asyncio.to_thread(self._rauc.system)

    async def verify(self, *, is_again: bool = False) -> dict[str, Any]:
        """Return what the bundle is, once everything about it that can be checked is right. Touches nothing.

        Raises
        ------
        Refusal
            With the reason; the bundle is dropped when no version of this box could ever take it.
        """
        self.refuse_while_busy()
        if not self._upload.is_complete:
            raise Refusal(409, "no complete bundle is here; send one first")
        about = self._upload.verified
        if about is None:
            self._upload.refuse_while_written()
            self._busy = "verifying a bundle"
            try:
                about = await asyncio.to_thread(self._inspect)
            except Refusal as refusal:
                if refusal.status == 422:  # it is the bundle, not a RAUC that does not answer
                    self._upload.drop()
                raise
            finally:
                self._busy = None
            self._upload.set_verified(about)
        self._refuse_version(about["version"], is_again=is_again)
        return about

    def _inspect(self) -> dict[str, Any]:
        manifest = self._rauc.info(self._upload.path)
        compatible, ours = str(manifest.get("compatible", "")), self._rauc.system().compatible
        if compatible != ours:
            raise Refusal(422, f"the bundle is for {compatible[:60]}, this box is {ours}; take the one for this board")
        check_payload(self._upload.path)
        return {
            "version": str(manifest.get("version", ""))[:60],
            "compatible": compatible,
            "notes": str(manifest.get("description") or "")[:MAX_NOTES_CHARACTERS],
        }

    def _refuse_version(self, version: str, *, is_again: bool) -> None:
        try:
            theirs, ours = Version(version), Version(self._version)
        except InvalidVersion:
            raise Refusal(422, f"{version!r} is no version that can be compared with {self._version}") from None
        if theirs < ours:
            raise Refusal(
                422, f"the bundle is {version}, older than the {self._version} that runs; `evenhand rollback` goes back"
            )
        if theirs == ours and not is_again:
            raise Refusal(409, f"{version} runs already; --again installs it once more", is_installed=True)

    # ------------------------------------------------------------------------------------------------- changing

    async def install(self, *, even_if_sounding: bool, is_again: bool) -> dict[str, Any]:
        """Begin to install the bundle that was verified; how it goes is told as events."""
        about = await self.verify(is_again=is_again)
        self.refuse_while_sounding(even_if_sounding=even_if_sounding)
        system = await self.system()
        self.refuse_while_busy()
        if system.is_trial is None:
            raise Refusal(503, "which slot starts next cannot be told; wait a minute, then try again")
        if system.is_trial:
            raise Refusal(409, "what runs has not shown yet that it is well; wait a minute, then try again")
        self._busy = f"installing {about['version']}"
        self._tell("installing", version=about["version"], percent=0)
        self._job = asyncio.create_task(self._install(about["version"]))
        return self.progress

    async def _install(self, version: str) -> None:
        loop = asyncio.get_running_loop()

        def on_step(percent: int, step: str) -> None:
            loop.call_soon_threadsafe(lambda: self._tell("installing", version=version, percent=percent, step=step))

        try:
            await asyncio.to_thread(self._rauc.install, self._upload.path, on_step)
            self._upload.drop()
        except Refusal as refusal:
            await asyncio.sleep(0)
            self._tell("failed", version=version, reason=refusal.reason)
        except Exception as error:
            self._tell("failed", version=version, reason=f"{type(error).__name__}: {error}")
            raise
        else:
            await asyncio.sleep(0)  # the last step, told from the other thread
            self._tell("installed", version=version, percent=100)
        finally:
            self._busy = None

    async def rollback(self, *, even_if_sounding: bool) -> dict[str, Any]:
        """Make the other slot the next one, and ask for a restart."""
        self.refuse_while_busy()
        self.refuse_while_sounding(even_if_sounding=even_if_sounding)
        self._busy = "going back"
        try:
            system = await self.system()
            if system.other is None or not system.other.is_good:
                state = "there is none" if system.other is None else f"{system.other.bootname} is not good"
                raise Refusal(409, f"nothing to go back to: of the other slot, {state}; send an update instead")
            await asyncio.to_thread(self._rauc.mark_other_active)
            self._ask_restart()
        finally:
            self._busy = None
        self._tell("restarting", version=system.other.version)
        return {"version": system.other.version, "slot": system.other.bootname}

    async def restart(self, *, even_if_sounding: bool) -> None:
        """Ask for a restart of the machine."""
        self.refuse_while_busy()
        self.refuse_while_sounding(even_if_sounding=even_if_sounding)
        self._ask_restart()
        self._tell("restarting", version=None)

    def _ask_restart(self) -> None:
        try:
            self._restart_request.touch()
        except OSError as error:
            raise Refusal(500, f"{self._restart_request}: {error.strerror}; restart the box by hand") from None

    def _tell(self, state: str, **facts: Any) -> None:
        self.progress = {"state": state, **facts}
        self._events.tell(state, **facts)
