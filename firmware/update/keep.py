"""Small files of the agent: JSON that is replaced whole, and is begun anew when it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..atomic import Outputs

MAX_SIZE_BYTES = 256 * 1024


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file, or an empty one when there is none that can be read."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_SIZE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace the file, for nobody but us to read.

    Raises
    ------
    EvenhandError
        When the disk does not take it; the old one stands.
    """
    with Outputs() as outputs:
        part = outputs.stage(path)
        part.chmod(0o600)
        part.write_text(json.dumps(value, allow_nan=False, indent=1) + "\n", encoding="utf-8")
        outputs.commit()
