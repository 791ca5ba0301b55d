"""Makes the Debian package: the programs of a box for who has a system already, with the same units.

Written here as ``deb(5)`` has it and not by Debian's tools: an archive of three parts, the same bytes each time. All
that the programs need of Python lies in it, so installing asks no network.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from board_configs.board import load_board
from dsp_kernels.build_ffi import ROOT

from . import sbom, wheels
from .archive import FOLDER as DIRECTORY
from .archive import Item, lay_over, read_folder, text
from .bundle import news_of
from .debs import Debs
from .recipe import FOLDER, Recipe, debian_lock, read_lock, refuse_drift
from .setup import bytecode
from .target import Target
from .tools import call, need
from .tree import LAUNCHER, UNITS, Release, project_text, write_programs

SCRIPTS = FOLDER / "debian"
CONFFILES = ("etc/evenhand/box.env",)
ZSTD_LEVEL = 12
AR_MAGIC = b"!<arch>\n"


@dataclass(frozen=True, kw_only=True)
class DebJob:
    """A package to make. ``board``: whom box.env names until the owner names another."""

    target: Target
    board: str
    version: str
    out: Path  # folder
    cache: Path


def make_deb(job: DebJob, recipe: Recipe) -> dict[str, Any]:
    """Write the package into ``job.out`` and return what it is.

    Raises
    ------
    EvenhandError
        When something is missing; nothing is written then.
    """
    need(job.target.compiler, job.target.strip, "apt-get", "dpkg-deb", "zstd")
    load_board(job.board)
    job.out.mkdir(parents=True, exist_ok=True)
    name = f"evenhand_{job.version}_{job.target.architecture}.deb"
    work = job.out / f".{name}.part"
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir()
        suffix = job.target.cache_suffix
        debs = Debs(job.cache / f"apt{suffix}", recipe.apt_sources, job.target.architecture)
        refuse_drift(debs.versions(recipe.header_packages), read_lock(debian_lock(job.target)))
        headers = debs.extract(recipe.header_packages, work / "headers")
        fetched = wheels.fetch(job.cache / f"wheels{suffix}", job.target)
        tree = work / "tree"
        packages = write_programs(tree, fetched, headers, work, job.cache, recipe, job.target)
        files = package_files(job, tree, packages, recipe.epoch_s)
        content = deb_bytes(files, job, recipe.epoch_s)
        part = work / name
        part.write_bytes(content)
        call(["dpkg-deb", "--info", part], name)
        part.replace(job.out / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"file": str(job.out / name), "version": job.version, "architecture": job.target.architecture,
            "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}  # fmt: skip


def package_files(job: DebJob, tree: Path, packages: list[wheels.Package], epoch_s: int) -> dict[str, Item]:
    """Return every file that the package installs, by its path."""
    files: dict[str, Item] = {}
    lay_over(files, read_folder(tree))
    lay_over(files, bytecode(dict(files), ("opt/evenhand/",)))
    for path in sorted(UNITS.iterdir()):
        if path.suffix in (".service", ".target", ".path"):
            files[f"lib/systemd/system/{path.name}"] = text(path.read_text(encoding="utf-8"))
    for place, source in (
        ("usr/lib/sysusers.d/evenhand.conf", "sysusers.d/evenhand.conf"),
        ("usr/lib/tmpfiles.d/evenhand.conf", "tmpfiles.d/evenhand.conf"),
        ("usr/share/dbus-1/system.d/evenhand-rauc.conf", "dbus/evenhand-rauc.conf"),
    ):
        files[place] = text((UNITS / source).read_text(encoding="utf-8"))
    settings = (UNITS / "box.env").read_text(encoding="utf-8")
    files["etc/evenhand/box.env"] = text(re.sub(r"(?m)^EVENHAND_BOARD=.*$", f"EVENHAND_BOARD={job.board}", settings))
    files["opt/evenhand/pyproject.toml"] = text(project_text(job.version))
    files["opt/evenhand/firmware/system/units/README.md"] = text((UNITS / "README.md").read_text(encoding="utf-8"))
    files["usr/bin/evenhand-box"] = text(LAUNCHER, 0o755)
    documents = "usr/share/doc/evenhand"
    files[f"{documents}/copyright"] = text(copyright_text(packages))
    release = Release(version=job.version, board="package", is_development=False)
    bill = sbom.bill(release, {}, packages, epoch_s)
    files[f"{documents}/evenhand.cdx.json.gz"] = Item(content=gzip.compress(bill.encode(), mtime=epoch_s))
    news = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    date = format_datetime(datetime.fromtimestamp(epoch_s, UTC))
    changes = "".join(f"  {line}".rstrip() + "\n" for line in news_of(news, job.version).splitlines()[1:])
    by = f" -- The Evenhand project <evenhand@localhost>  {date}\n"
    entry = f"evenhand ({job.version}) bookworm; urgency=medium\n{changes}\n{by}"
    files[f"{documents}/changelog.gz"] = Item(content=gzip.compress(entry.encode(), mtime=epoch_s))
    files["usr/share/lintian/overrides/evenhand"] = text((SCRIPTS / "lintian-overrides").read_text(encoding="utf-8"))
    for name in list(files):
        for folder in Path(name).parents:
            if str(folder) != ".":
                files.setdefault(str(folder), DIRECTORY)
    return files


def copyright_text(packages: list[wheels.Package]) -> str:
    """Return whose the package is: ours, and what of others' is in it under which licence."""
    others = "".join(f" {p.name} {p.version}: {p.license or 'see its dist-info'}\n" for p in packages)
    return (
        "Evenhand is licensed under the Apache License 2.0, see /usr/share/common-licenses/Apache-2.0.\n"
        "Copyright: the Evenhand project.\n\n"
        "In /opt/evenhand/.venv are, each under its own licence, which lies in its .dist-info:\n" + others
    )


def deb_bytes(files: Mapping[str, Item], job: DebJob, epoch_s: int) -> bytes:
    """Return the package, the same bytes for the same files."""
    size_kib = sum((len(item.content) + 1023) // 1024 if item.content is not None else 1 for item in files.values())
    words = {"VERSION": job.version, "ARCHITECTURE": job.target.architecture, "INSTALLED_KIB": str(size_kib)}
    control = re.sub(r"@([A-Z_]+)@", lambda m: words[m[1]], (SCRIPTS / "control").read_text(encoding="utf-8"))
    sums = "".join(
        f"{hashlib.md5(item.content, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, item in sorted(files.items())
        if item.content is not None and name not in CONFFILES
    )
    about = {
        "control": text(control), "md5sums": text(sums), "conffiles": text("".join(f"/{name}\n" for name in CONFFILES)),
        **{name: text((SCRIPTS / name).read_text(encoding="utf-8"), 0o755) for name in ("postinst", "prerm", "postrm")},
    }  # fmt: skip
    members = (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", lzma.compress(_tar(about, epoch_s))),
        ("data.tar.zst", _packed(_tar(files, epoch_s))),
    )
    return AR_MAGIC + b"".join(_member(name, content, epoch_s) for name, content in members)


def _tar(files: Mapping[str, Item], epoch_s: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(DIRECTORY.member("./", epoch_s))
        for name in sorted(files):
            content = files[name].content
            tar.addfile(files[name].member(f"./{name}", epoch_s), None if content is None else io.BytesIO(content))
    return out.getvalue()


def _packed(content: bytes) -> bytes:
    # dpkg of Debian 12 reads it, in a tenth of the time that xz takes.
    return subprocess.run(
        ["zstd", "-q", "-c", "-T1", f"-{ZSTD_LEVEL}"], input=content, capture_output=True, check=True
    ).stdout


def _member(name: str, content: bytes, epoch_s: int) -> bytes:
    head = f"{name:<16}{epoch_s:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode("ascii")
    return head + content + b"\n" * (len(content) % 2)
