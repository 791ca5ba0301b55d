"""What must not be in an image: rights that are too wide, secrets, traces of the machine it was made on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from dsp_kernels.build_ffi import ROOT as CHECKOUT

from .check import Look, Wanted, look
from .elf import MAGIC
from .opened import Image

# Who needs another's rights for what: Debian's own, a password is asked for, or a disk is one of fstab's.
SETUID = {
    "usr/bin/chfn", "usr/bin/chsh", "usr/bin/gpasswd", "usr/bin/mount", "usr/bin/newgrp", "usr/bin/passwd",
    "usr/bin/su", "usr/bin/umount", "usr/lib/dbus-1.0/dbus-daemon-launch-helper",
}  # fmt: skip
STICKY = {"tmp", "var/tmp"}
# With what is in it: programs that read keys name the marks too.
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*(?:[A-Za-z0-9+/=]{40,}\s*){2,}")
CREDENTIALS = re.compile(rb"https?://[A-Za-z0-9._%-]{2,40}:[^@/\s\"'{}<>$]{3,60}@[a-z0-9.-]+\.[a-z]{2,}")
KEY_FILES = re.compile(
    r"(^|/)(ssh_host_.*_key|id_(rsa|ed25519|ecdsa)|authorized_keys|\.netrc|pip\.conf|\.git|\.pypirc)$"
)
DEVELOPMENT = "etc/systemd/system/serial-getty@.service.d/development.conf"


def content_looks(image: Image, wanted: Wanted) -> Iterator[Look]:
    """Look at what should not be there."""
    yield _rights(image)
    yield _secrets(image)
    yield _traces(image)
    yield _release(image, wanted)


def _rights(image: Image) -> Look:
    accounts = {line.split(":")[2] for line in _text(image, "etc/passwd").splitlines() if line.count(":") > 2}
    groups = {line.split(":")[2] for line in _text(image, "etc/group").splitlines() if line.count(":") > 2}
    wrong = []
    special = []
    for name, listed in image.listing.items():
        if listed.kind == "l":
            continue
        if listed.kind not in "-d":
            wrong.append(f"/{name} is a device")
        if listed.mode & 0o002 and not (name in STICKY and listed.mode & 0o1000):
            wrong.append(f"anybody may write /{name}")
        if listed.kind == "-" and listed.mode & 0o6000:
            special.append(name)
            if listed.mode & 0o4000 and name not in SETUID:
                wrong.append(f"/{name} runs with its owner's rights")
        if str(listed.uid) not in accounts or str(listed.gid) not in groups:
            wrong.append(f"/{name} belongs to {listed.uid}:{listed.gid}, whom nobody knows")
    wrong += [f"anybody may read /{name}" for name in ("etc/shadow", "etc/gshadow")
              if name not in image.listing or image.listing[name].mode & 0o007]  # fmt: skip
    return look("rights", f"{len(image.listing)} paths, {len(special)} with rights of their owner or group", wrong)


def _secrets(image: Image) -> Look:
    wrong = [f"{line.split(':')[0]} has a password" for line in _text(image, "etc/shadow").splitlines()
             if line.split(":")[1:2] and line.split(":")[1] not in ("*", "!", "!*")]  # fmt: skip
    if _text(image, "etc/machine-id"):
        wrong.append("machine-id is set: every box would be the same one")
    n_files = 0
    for path in _files(image):
        n_files += 1
        name = path.relative_to(image.root)
        if KEY_FILES.search(str(name)):
            wrong.append(f"/{name} is somebody's")
        content = path.read_bytes()
        # Compiled libraries hold keys that they try themselves with, known to everybody.
        if b"PRIVATE KEY" in content and not content.startswith(MAGIC) and KEY.search(content):
            wrong.append(f"/{name} holds a private key")
        if b"://" in content and (found := CREDENTIALS.search(content)):
            host = found[0].rpartition(b"@")[2].decode("ascii")
            wrong.append(f"/{name} holds a name and a password of {host}")
    return look("secrets", f"none in {n_files} files" if not wrong else f"in {n_files} files", wrong)


def _traces(image: Image) -> Look:
    own = {str(CHECKOUT), str(image.file.resolve().parent)} | (
        {str(Path.home())} if len(str(Path.home())) > 6 else set()
    )
    marks = [path.encode() for path in own if path.count("/") > 1]
    wrong = []
    for path in (*_files(image), *sorted(image.boot.rglob("*"))):
        if not path.is_file():
            continue
        content = path.read_bytes()
        wrong += [f"{path.name} names {mark.decode()}" for mark in marks if mark in content]
    return look("traces of the machine", "none" if not wrong else "some", wrong)


def _release(image: Image, wanted: Wanted) -> Look:
    try:
        release = json.loads(_text(image, "usr/lib/evenhand/release.json"))
    except ValueError:
        return look("release", "release.json", ["is not there, or is no JSON"])
    same = ("board", "version", "compatible", "is_development")
    wrong = [f"says {key} {release.get(key)}, image.json {image.record[key]}" for key in same
             if image.record and release.get(key) != image.record[key]]  # fmt: skip
    if (image.root / DEVELOPMENT).exists() and not release.get("is_development"):
        wrong.append("lets anybody with a cable in, and does not say so")
    if f"EVENHAND_BOARD={wanted.board.name}\n" not in _text(image, "etc/evenhand/box.env"):
        wrong.append(f"box.env does not name the board {wanted.board.name}")
    if not (image.root / f"opt/evenhand/board_configs/{wanted.board.name}.toml").is_file():
        wrong.append(f"has no board file of {wanted.board.name}")
    if not (image.root / "opt/evenhand/firmware/inference/pretrained/evenhand.bundle").is_file():
        wrong.append("has no model")
    kind = "for development: whoever holds the cable is root" if release.get("is_development") else "for use"
    return look("release", f"{release.get('compatible')} {release.get('version')}, {kind}", wrong)


def _files(image: Image) -> Iterator[Path]:
    for name, listed in image.listing.items():
        path = image.root / name
        if listed.kind == "-" and path.is_file():
            yield path


def _text(image: Image, name: str) -> str:
    path = image.root / name
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
