"""One box through an update or a step back: what is asked of it, and how it shows that it is well again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from .boxes import PairedBox
from .bundle_file import BundleFile
from .console import BACK_S, progress
from .device import Device
from .errors import BoxAbsentError, HostError, RefusedError
from .sending import PATIENCE_S, send_bundle

LOOK_S = 0.5
EVENTS_S = 15
T = TypeVar("T")


def spare_slot(status: dict[str, Any]) -> dict[str, Any] | None:
    """Return the slot that a box does not run from, of its status; none where it has no slots."""
    return next((slot for slot in status["update"]["slots"] if not slot["is_booted"]), None)


class Course:
    """What happens to one box.

    Parameters
    ----------
    box
        Which one.
    is_quiet
        Show nothing of how far it is.
    on_line
        Is told each stage.
    back_s
        How long it may take to be back and well. It may be silent for a part of that while a bundle is sent.
    """

    def __init__(
        self,
        box: PairedBox,
        *,
        is_quiet: bool,
        on_line: Callable[[str], None],
        back_s: float = BACK_S,
    ) -> None:
        self._box, self._is_quiet, self._on_line, self._back_s = box, is_quiet, on_line, back_s

    def update(
        self, bundle: BundleFile, sha256: str, *, even_if_sounding: bool, is_again: bool, restarts: bool
    ) -> dict[str, Any]:
        """Send, verify, install, restart, and wait until the box is well; return what became of it.

        Raises
        ------
        HostError
            When it stops on the way; the box goes on with what it ran before.
        """
        with Device.of(self._box) as device:
            before = device.get("status")
            record = {"id": self._box.box_id, "name": self._box.name, "from": before["version"], "to": bundle.version}
            if before["version"] == bundle.version and not is_again:
                if before["update"]["is_trial"]:
                    self._await_well(device, before, bundle.version, has_restarted=False)
                return {**record, "state": "skipped", "reason": f"{bundle.version} runs already"}
            self._install(device, bundle, sha256, before, even_if_sounding=even_if_sounding, is_again=is_again)
            if not restarts:
                return {**record, "state": "installed", "reason": "runs from the next restart on"}
            self._restart(device, "restart", before["instance"], even_if_sounding=even_if_sounding)
            self._await_well(device, before, bundle.version, slot=spare_slot(before))
        return {**record, "state": "updated"}

    def roll_back(self, *, even_if_sounding: bool) -> dict[str, Any]:
        """Make the box run what it ran before its last update."""
        with Device.of(self._box) as device:
            before = device.get("status")
            told = self._restart(device, "rollback", before["instance"], even_if_sounding=even_if_sounding)
            now = self._await_well(device, before, told.get("version"), slot=spare_slot(before))
        return {"id": self._box.box_id, "name": self._box.name, "from": before["version"], "to": now["version"]}

    def restart(self, *, even_if_sounding: bool) -> None:
        """Restart the box and wait until it answers."""
        with Device.of(self._box) as device:
            before = device.get("status")
            self._restart(device, "restart", before["instance"], even_if_sounding=even_if_sounding)
            self._await_well(device, before, before["version"])

    # ----------------------------------------------------------------------------------------------------- within

    def _install(
        self, device: Device, bundle: BundleFile, sha256: str, before: dict[str, Any], *, even_if_sounding: bool,
        is_again: bool,
    ) -> None:  # fmt: skip
        update = before["update"]
        if update["state"] == "installed" and update.get("version") == bundle.version:
            self._say(f"{bundle.version} is installed already, only the restart is missing")
            return
        if update["state"] != "installing":
            what = f"{self._box.name}: send"
            patience_s = max(PATIENCE_S, 0.15 * self._back_s)
            with progress(what, bundle.size_bytes, is_quiet=self._is_quiet) as on_step:
                had_bytes = self._once_free(lambda: send_bundle(device, bundle, sha256, on_step, patience_s))
            if 0 < had_bytes < bundle.size_bytes:
                self._say(f"went on from {had_bytes} of {bundle.size_bytes} bytes")
            self._once_free(lambda: device.post("verify", again=is_again), is_slow=True)
            self._say("signature, board, version and content are right")
            update = self._begin(device, bundle, even_if_sounding=even_if_sounding, again=is_again)
        if update["state"] == "installed":
            self._say("installed")
        else:
            self._follow(device, int(update["last_event"]))

    def _begin(self, device: Device, bundle: BundleFile, **how: bool) -> dict[str, Any]:
        """Let the box install, and return how far it is: an answer that is lost does not tell whether it has begun."""
        began_s = time.monotonic()
        while True:
            try:
                return device.post("install", **how)
            except BoxAbsentError:
                if time.monotonic() - began_s > self._back_s:
                    raise
            time.sleep(LOOK_S)
            with suppress(BoxAbsentError):
                update = dict(device.get("status")["update"])
                if update["state"] in ("installing", "installed") and update.get("version") == bundle.version:
                    return update

    def _once_free(self, ask: Callable[[], T], *, is_slow: bool = False) -> T:
        """Return what ``ask`` does, once the box is not busy; ``is_slow``: it may take longer than an answer may."""
        began_s = time.monotonic()
        while True:
            try:
                return ask()
            except (BoxAbsentError, RefusedError) as error:
                is_at_it = is_slow if isinstance(error, BoxAbsentError) else error.facts.get("is_busy", False)
                if not is_at_it or time.monotonic() - began_s > self._back_s:
                    raise
            time.sleep(LOOK_S)

    def _follow(self, device: Device, after: int) -> None:
        """Show how the installation goes, to its end; the box goes on with it, whoever watches."""
        with progress(f"{self._box.name}: install", 100, is_quiet=self._is_quiet) as on_step:
            absent_s: float | None = None
            while True:
                try:
                    told = device.get("events", after=after, wait_s=EVENTS_S)
                except BoxAbsentError:
                    absent_s = absent_s or time.monotonic()
                    if time.monotonic() - absent_s > self._back_s:
                        raise
                    time.sleep(LOOK_S)
                    continue
                absent_s, after = None, int(told["last_event"])
                for event in told["events"]:
                    if event["kind"] == "failed":
                        raise HostError(f"{self._box.name}: {event['reason']}")
                    if event["kind"] == "installed":
                        self._say("installed")
                        return
                    on_step(float(event.get("percent", 0)), str(event.get("step", "")))
                state = None if told["events"] else device.get("status")["update"]["state"]
                if state == "installed":
                    self._say("installed")
                    return
                if state in ("idle", "failed"):
                    raise HostError(f"{self._box.name}: the installation was cut off; the same command tries it again")

    def _restart(self, device: Device, verb: str, instance: str, *, even_if_sounding: bool) -> dict[str, Any]:
        told: dict[str, Any] | None = None
        began_s = time.monotonic()
        while told is None:
            try:
                told = device.post(verb, even_if_sounding=even_if_sounding)
            except BoxAbsentError:
                if time.monotonic() - began_s > self._back_s:
                    raise
                time.sleep(LOOK_S)
                with suppress(BoxAbsentError):
                    if device.get("status")["instance"] != instance:  # it has heard us
                        told = {}
        self._say("restarts")
        return told

    def _await_well(
        self, device: Device, before: dict[str, Any], version: str | None, *, slot: dict[str, Any] | None = None,
        has_restarted: bool = True,
    ) -> dict[str, Any]:  # fmt: skip
        """Return the status of a box that runs ``version``, by now another instance, and has shown that it is well.

        ``slot``: from where; two slots may hold one version.
        """
        began_s, is_trial_told = time.monotonic(), False
        while time.monotonic() - began_s < self._back_s:
            try:
                status = device.get("status")
            except (BoxAbsentError, RefusedError):
                time.sleep(LOOK_S)
                continue
            if has_restarted and status["instance"] == before["instance"]:
                time.sleep(LOOK_S)
                continue
            update = status["update"]
            booted = next((each for each in update["slots"] if each["is_booted"]), None)
            is_back = slot is not None and booted is not None and booted["bootname"] != slot["bootname"]
            if is_back or version not in (None, status["version"]):
                of = f" of slot {booted['bootname']}" if is_back and booted and version == status["version"] else ""
                back = f"is back on {status['version']}{of} by itself"
                raise HostError(f"{self._box.name}: {back}: {version} did not start, or was not well; `evenhand logs`")
            has_slots = before["update"]["slots"] or update["slots"]
            if update["is_trial"] is False or not has_slots:  # None: a box that goes down cannot tell any more
                self._say(f"runs {status['version']}")
                return status
            if update["is_trial"] and not is_trial_told:
                self._say(f"runs {status['version']} on trial")
                is_trial_told = True
            time.sleep(LOOK_S)
        raise BoxAbsentError(
            f"{self._box.name}: not back and well after {self._back_s:.0f} s; look at it, `evenhand status`"
        )

    def _say(self, text: str) -> None:
        self._on_line(f"{self._box.name}: {text}")
