"""Which release this is."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path


def own_version() -> str:
    """Return the version of what is installed, or of the source tree that it runs from."""
    try:
        return metadata.version("evenhand")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
