"""Python packages for the box: fetched for its processor, held to the digests of the lock, laid out as pip would."""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from firmware.errors import EvenhandError

from .recipe import wheels_lock
from .target import ARM64, Target
from .tools import call

PYTHON = "3.11"  # Debian 12's
SOURCE = " # source\n"  # the end of a line whose package has no wheel
HEAD = (
    "# Wheels of the image with their digests; written by: python -m firmware.image lock\n"
    "# pip refuses what has another digest.\n"
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """A Python package in the image, for the bill of materials."""

    name: str
    version: str
    license: str
    sha256: str


def fetch(folder: Path, target: Target = ARM64) -> list[Path]:
    """Return the files that the target's lock names, fetched into ``folder``; those that are there are taken from it.

    Raises
    ------
    EvenhandError
        When one is not to be had, or has another digest.
    """
    lock = wheels_lock(target)
    if not lock.exists():
        raise EvenhandError(f"{lock.name}: is not there; python -m firmware.image lock")
    folder.mkdir(parents=True, exist_ok=True)
    text = lock.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    wanted = read_digests(text)
    here = {digest_of(path): path for path in folder.iterdir() if path.suffix in (".whl", ".gz")}
    if set(wanted) - set(here):
        for is_source in (False, True):
            part = folder / "requirements.txt"
            part.write_text("".join(line for line in lines if line.endswith(SOURCE) is is_source), encoding="utf-8")
            _download(folder, ["--no-deps", "--require-hashes", "-r", str(part)], target, is_source=is_source)
        here = {digest_of(path): path for path in folder.iterdir() if path.suffix in (".whl", ".gz")}
    missing = [name for digest, name in wanted.items() if digest not in here]
    if missing:
        raise EvenhandError(f"{lock.name}: {missing[0]} came with another digest; python -m firmware.image lock")
    return sorted(here[digest] for digest in wanted)


def lock_text(folder: Path, wheels: Iterable[str], sources: Iterable[str], target: Target) -> str:
    """Fetch the newest wheels that fit, with what they need, into ``folder``, and return a lock of them."""
    folder.mkdir(parents=True, exist_ok=True)
    _download(folder, list(wheels), target)
    _download(folder, ["--no-deps", *sources], target, is_source=True)
    lines = []
    for path in sorted(folder.iterdir()):
        name, version = re.split(r"-(?=\d)", path.name.removesuffix(".tar.gz"), maxsplit=1)
        end = SOURCE if path.suffix == ".gz" else "\n"
        lines.append(f"{name.replace('_', '-')}=={version.split('-')[0]} --hash=sha256:{digest_of(path)}{end}")
    return HEAD + "".join(sorted(lines))


def read_digests(text: str) -> dict[str, str]:
    """Return the digests of a lock and what has each."""
    found = re.findall(r"^(\S+==\S+) --hash=sha256:([0-9a-f]{64})(?: # source)?$", text, re.MULTILINE)
    return {digest: name for name, digest in found}


def digest_of(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(
    files: Iterable[Path], site_packages: Path, is_removed: Callable[[str], bool] = lambda _: False
) -> list[Package]:  # fmt: skip
    """Unpack wheels into ``site_packages`` and return what they are; their programs are left out.

    What ``is_removed`` says of a file's place is left out too, and a wheel of which nothing is left then is none.
    """
    packages = []
    for wheel in files:
        with zipfile.ZipFile(wheel) as archive:
            places = {name: place for name in archive.namelist() if (place := _place(name)) and not is_removed(place)}
            if all(place.split("/")[0].endswith(".dist-info") for place in places.values()):
                continue
            for name, place in places.items():
                target = site_packages / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
            packages.append(_package(archive, wheel))
    return packages


def _place(name: str) -> str | None:
    if name.endswith("/") or ".." in Path(name).parts or name.startswith("/"):
        return None
    parts = name.split("/")
    if parts[0].endswith(".data"):  # what does not belong beside the modules
        return "/".join(parts[2:]) if parts[1] in ("purelib", "platlib") else None
    if name.startswith("ai_edge_litert/vendors/"):  # for accelerators, with libraries of their makers that nobody has
        return None
    if "tests" in parts[1:] and not parts[0].endswith(".dist-info"):  # of NumPy and Matplotlib, tens of megabytes
        return None
    return name


def _package(archive: zipfile.ZipFile, wheel: Path) -> Package:
    name = next(n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
    headers = HeaderParser().parsestr(archive.read(name).decode("utf-8", "replace"))
    licenses = (headers.get("License-Expression") or headers.get("License") or "").split("\n")
    return Package(
        name=headers["Name"], version=headers["Version"], license=licenses[0].strip(), sha256=digest_of(wheel)
    )


def _download(folder: Path, more: list[str], target: Target, *, is_source: bool = False) -> None:
    kind = ["--no-binary=:all:"] if is_source else [
        "--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp",
        "--abi", "cp311", "--abi", "abi3", "--abi", "none",
        *(word for platform in target.wheel_platforms for word in ("--platform", platform)),
    ]  # fmt: skip
    call([sys.executable, "-m", "pip", "download", "-q", "-d", folder, *kind, *more], "Python packages of the box")
