"""Which release this is."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path


def project_version() -> str:
    """Return the version of the installed package, or of the source tree."""
    try:
        return metadata.version("evenhand")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
