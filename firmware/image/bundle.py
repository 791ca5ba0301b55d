"""Makes the signed bundle that updates a box to an image: RAUC's verity format, both parts of a slot, and the news.

The news are the changelog's, as the manifest's description: signed, and shown before an update.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from firmware.errors import EvenhandError

from .tools import call, need

MAX_NEWS_CHARACTERS = 8000  # the manifest lies in the signature, which has 64 KiB


def manifest(record: dict[str, Any], news: str) -> str:
    """Return the text of a bundle's manifest; both parts go to the slot that does not run."""
    return (
        f"[update]\ncompatible={record['compatible']}\nversion={record['version']}\n"
        f"build={record['files']['root']['sha256'][:16]}\ndescription={escaped(news)}\n\n"
        "[bundle]\nformat=verity\n\n"
        "[image.rootfs]\nfilename=rootfs.squashfs\n\n"
        "[image.boot]\nfilename=boot.vfat\n"
    )


def news_of(changelog: str, version: str) -> str:
    """Return what the changelog says about a version, or of the newest where it has no such heading."""
    sections = re.split(r"(?m)^(?=## )", changelog)[1:]
    for section in sections:
        if re.match(rf"## {re.escape(version)}(\s|,|$)", section):
            return section[:MAX_NEWS_CHARACTERS]
    return sections[0][:MAX_NEWS_CHARACTERS] if sections else ""


def escaped(text: str) -> str:
    r"""Return a text as a value of GLib's key files: one line, ``\n`` for its breaks, no bare spaces at its ends."""
    line = text.strip().replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    return "".join(c for c in line if c.isprintable())


def bundle(image: Path, keys: Path, out: Path, changelog: Path) -> dict[str, Any]:
    """Write a bundle of the image in a folder, signed with ``signer.pem`` and ``signer.key``; return what it is.

    Raises
    ------
    EvenhandError
        When the folder has no image, a key is missing, or RAUC refuses; ``out`` is then as it was.
    """
    need("rauc", "mksquashfs")
    try:
        record = json.loads((image / "image.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvenhandError(f"{image}: has no image ({error}); build one: python -m firmware.image build") from None
    certificate, key = keys / "signer.pem", keys / "signer.key"
    for path in (certificate, key, keys / "ca.pem"):
        if not path.is_file():
            raise EvenhandError(f"{path}: is not there; make keys: evenhand keys")
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=out.resolve().parent) as name:
        work = Path(name)
        content = work / "content"
        content.mkdir()
        for part in ("rootfs.squashfs", "boot.vfat"):
            try:
                (content / part).hardlink_to((image / part).resolve())
            except OSError:  # another disk
                shutil.copyfile(image / part, content / part)
        news = news_of(changelog.read_text(encoding="utf-8"), record["version"])
        (content / "manifest.raucm").write_text(manifest(record, news), encoding="utf-8")
        made = work / "made.raucb"
        call(
            ["rauc", "bundle", f"--cert={certificate}", f"--key={key}", f"--keyring={keys / 'ca.pem'}", content, made],
            f"bundle {out.name}",
        )
        made.replace(out)
    return {"compatible": record["compatible"], "version": record["version"], "size_bytes": out.stat().st_size,
            "file": str(out)}  # fmt: skip
