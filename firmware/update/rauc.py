"""What RAUC knows and does, through its own command: the only door to the updater.

The service behind it checks every bundle again; nothing here is trusted by it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .refusal import Refusal

ANSWER_S = 60.0
INSTALL_S = 3600.0
STEP = re.compile(r"^\s*(\d{1,3})%\s+(.*\S)")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Half of the box that can be booted."""

    name: str  # rootfs.0
    bootname: str  # A
    is_booted: bool
    is_good: bool
    version: str | None  # of the bundle that was installed here, None where none was


@dataclass(frozen=True, kw_only=True)
class System:
    """What boots, and what will."""

    compatible: str
    slots: tuple[Slot, ...]
    primary: str | None  # slot that is booted next, as long as nobody asks for a trial

    @property
    def booted(self) -> Slot | None:
        """The slot that runs."""
        return next((slot for slot in self.slots if slot.is_booted), None)

    @property
    def other(self) -> Slot | None:
        """The slot that does not run."""
        return next((slot for slot in self.slots if not slot.is_booted), None)

    @property
    def is_trial(self) -> bool | None:
        """Whether what runs has not shown yet that it is well: the next start would be the other slot's.

        None while that cannot be told: a box that goes down has its boot selection unmounted before its agent ends.
        """
        if self.booted is None or self.primary is None:
            return None
        return self.primary != self.booted.name


class Rauc:
    """RAUC's command.

    Parameters
    ----------
    executable
        ``rauc``, or what stands for it.
    options
        More words for each call, such as ``--keyring=FILE``.
    """

    def __init__(self, executable: str, options: Sequence[str] = ()) -> None:
        self._command = [executable, *options]

    def system(self) -> System:
        """Return what boots.

        Raises
        ------
        Refusal
            When RAUC does not answer.
        """
        told = self._json("status", "--detailed", "--output-format=json", status=503)
        slots = [_slot(name, slot) for entry in told.get("slots", []) for name, slot in entry.items()]
        return System(
            compatible=str(told.get("compatible", "")),
            slots=tuple(slot for slot in slots if slot is not None),
            primary=told.get("boot_primary"),
        )

    def info(self, bundle: Path) -> dict[str, Any]:
        """Return the manifest of a bundle whose signature this box trusts.

        Raises
        ------
        Refusal
            With RAUC's reason.
        """
        return self._json("info", "--output-format=json", str(bundle))

    def mark_other_active(self) -> None:
        """Make the slot that does not run the one that is booted next."""
        self._run("status", "mark-active", "other")

    def install(self, bundle: Path, on_step: Callable[[int, str], None]) -> None:
        """Install a bundle into the slot that does not run; takes minutes.

        Raises
        ------
        Refusal
            With RAUC's reason.
        """
        try:
            child = subprocess.Popen(
                [*self._command, "install", str(bundle)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace",
            )  # fmt: skip
        except OSError as error:
            raise _absent(self._command[0], error) from None
        lines: list[str] = []
        with child:
            assert child.stdout is not None
            for line in child.stdout:
                lines = [*lines[-40:], line]
                if step := STEP.match(line):
                    on_step(min(100, int(step[1])), step[2])
        if child.returncode != 0:
            raise Refusal(422, f"not installed: {_reason(lines)}")

    def _json(self, *words: str, status: int = 422) -> dict[str, Any]:
        try:
            told = json.loads(self._run(*words, status=status))
        except ValueError:
            raise Refusal(500, f"{self._command[0]} {words[0]}: says what cannot be read") from None
        return told if isinstance(told, dict) else {}

    def _run(self, *words: str, status: int = 422) -> str:
        try:
            done = subprocess.run(
                [*self._command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=ANSWER_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Refusal(504, f"{self._command[0]} {words[0]}: no answer in {ANSWER_S:.0f} s") from None
        except OSError as error:
            raise _absent(self._command[0], error) from None
        if done.returncode != 0:
            raise Refusal(status, _reason((done.stderr + done.stdout).splitlines()))
        return done.stdout


def _slot(name: str, told: dict[str, Any]) -> Slot | None:
    if not told.get("bootname"):  # the boot partition of a slot goes with it
        return None
    bundle = told.get("slot_status", {}).get("bundle", {})
    return Slot(
        name=name,
        bootname=str(told["bootname"]),
        is_booted=told.get("state") == "booted",
        is_good=told.get("boot_status") == "good",
        version=bundle.get("version"),
    )


def _reason(lines: Sequence[str]) -> str:
    """Return the last thing that RAUC said about what went wrong."""
    said = [line.strip() for line in lines if line.strip()]
    errors = [line.partition("LastError:")[2].strip() for line in said if "LastError:" in line]
    rest = [line for line in said if not re.search(r"rauc-Message|WARNING|^\s*\d+%|^Installing `", line)]
    return (errors or rest or said or ["no reason was given"])[-1][:400]


def _absent(command: str, error: OSError) -> Refusal:
    return Refusal(501, f"{command}: {error.strerror}; no image was written here, so nothing updates it")
