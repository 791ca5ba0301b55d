"""The boxes that this laptop is paired with, in a file that only its user may read."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import typer

from .errors import HostError
from .files import replaced

FOLDER_VARIABLE = "EVENHAND_CONFIG"


@dataclass(frozen=True, kw_only=True)
class PairedBox:
    """How a box is reached, and what it knows us by."""

    box_id: str
    name: str
    board: str
    host: str
    port: int
    fingerprint: str  # SHA-256 of its certificate
    token: str
    is_cabled: bool = False  # just now, over a serial cable; not kept

    @property
    def address(self) -> str:
        """Host and port, as people write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Boxes:
    """What is kept in ``boxes.json`` of the user's folder for settings (``$EVENHAND_CONFIG`` names another)."""

    def __init__(self, folder: Path | None = None) -> None:
        named = os.environ.get(FOLDER_VARIABLE)
        self._path = (folder or Path(named or typer.get_app_dir("evenhand"))) / "boxes.json"
        self._boxes = self._read()

    def all(self) -> list[PairedBox]:
        """Return every box, by name."""
        return sorted(self._boxes, key=lambda box: (box.name, box.box_id))

    def find(self, words: list[str], *, is_all: bool = False) -> list[PairedBox]:
        """Return the boxes that are meant by name, id or address; the only one there is when nothing was said.

        Raises
        ------
        HostError
            When there is none of that name, or more than one.
        """
        if not self._boxes:
            raise HostError("no box is paired with this laptop; `evenhand discover` finds boxes, `evenhand pair` pairs")
        if is_all:
            if words:
                raise HostError("--all and names: either all boxes or those named")
            return self.all()
        if not words and len(self._boxes) > 1:
            raise HostError(f"which box? {', '.join(box.name for box in self.all())}; name one, or say --all")
        found = [self._one(word) for word in words] if words else self.all()
        return list(dict.fromkeys(found))

    def _one(self, word: str) -> PairedBox:
        found = [box for box in self._boxes if word in (box.box_id, box.name, box.host, box.address)]
        if len(found) == 1:
            return found[0]
        if found:
            raise HostError(
                f"{word}: {len(found)} boxes are called so: {', '.join(b.box_id for b in found)}; say which"
            )
        near = difflib.get_close_matches(word, [box.name for box in self._boxes], 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(box.name for box in self.all())}"
        raise HostError(f"{word}: no box of that name, id or address is paired; {hint}")

    def keep(self, box: PairedBox) -> None:
        """Remember a box, in place of what was known of it."""
        self._write([*(b for b in self._boxes if b.box_id != box.box_id), box])

    def move(self, box: PairedBox, host: str, port: int) -> PairedBox:
        """Remember that a box has another address now."""
        moved = replace(box, host=host, port=port)
        self.keep(moved)
        return moved

    def forget(self, box: PairedBox) -> None:
        """Forget a box."""
        self._write([b for b in self._boxes if b.box_id != box.box_id])

    def _read(self) -> list[PairedBox]:
        try:
            told = json.loads(self._path.read_text(encoding="utf-8"))
            return [PairedBox(**entry) for entry in told["boxes"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError):
            raise HostError(f"{self._path}: cannot be read; move it away and pair again") from None

    def _write(self, boxes: list[PairedBox]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HostError(f"{self._path.parent}: {error.strerror}; ${FOLDER_VARIABLE} names another folder") from None
        with replaced(self._path, mode=0o600) as file:
            kept = [{key: value for key, value in asdict(box).items() if key != "is_cabled"} for box in boxes]
            file.write(json.dumps({"boxes": kept}, indent=1).encode())
        self._boxes = boxes
