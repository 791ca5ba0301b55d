"""Keys and bundles: RAUC itself takes what they sign, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from host_tools.tests.bundle_making import make_bundle
from host_tools.tests.terminal import Laptop

needs_rauc = pytest.mark.skipif(
    not (shutil.which("rauc") and shutil.which("mksquashfs") and shutil.which("unsquashfs")),
    reason="rauc and squashfs-tools make and verify real bundles",
)


def real_bundle(folder: Path, keys: Path) -> Path:
    content = folder / "content"
    content.mkdir()
    (content / "root.img").write_bytes(np.random.default_rng(1).bytes(300_000))
    notes = "- K\u00e4lte: besser.\\n- Tiny."
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible=evenhand-sim\nversion=0.2.0\ndescription={notes}\n[bundle]\nformat=verity\n"
        "[image.rootfs]\nfilename=root.img\n"
    )
    made = folder / "real.raucb"
    words = [f"--cert={keys / 'signer.pem'}", f"--key={keys / 'signer.key'}", f"--keyring={keys / 'ca.pem'}", "bundle"]
    subprocess.run(["rauc", *words, content, made], check=True, capture_output=True)
    return made


@needs_rauc
def test_what_the_keys_sign_is_verified_and_a_changed_or_foreign_one_is_not(laptop: Laptop, tmp_path: Path) -> None:
    assert laptop.run("keys", "make", "keys").status == 0
    assert laptop.run("keys", "make", "strangers").status == 0
    for name in ("ca.key", "signer.key"):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o777 == 0o600
    bundle = real_bundle(tmp_path, tmp_path / "keys")
    told = json.loads(laptop.run("bundle", "inspect", bundle, "--json").out)
    assert told["notes"] == "- K\u00e4lte: besser.\n- Tiny."
    assert (told["version"], told["board"], told["images"]) == ("0.2.0", "sim", ["rootfs"])
    assert laptop.run("bundle", "verify", bundle, "--keyring", "keys/ca.pem").status == 0
    foreign = laptop.run("bundle", "verify", bundle, "--keyring", "strangers/ca.pem")
    assert (foreign.status, foreign.err.count("\n")) == (1, 1)
    assert "certificate" in foreign.err
    content = bytearray(bundle.read_bytes())
    content[100_000] ^= 1
    (tmp_path / "changed.raucb").write_bytes(content)
    assert "corrupted" in laptop.run("bundle", "verify", "changed.raucb", "--keyring", "keys/ca.pem").err
    assert laptop.run("bundle", "sign", bundle, "theirs.raucb", "--keys", "strangers").status == 0
    assert laptop.run("bundle", "verify", "theirs.raucb", "--keyring", "strangers/ca.pem").status == 0
    assert laptop.run("bundle", "verify", "theirs.raucb", "--keyring", "keys/ca.pem").status == 1


@needs_rauc
def test_a_new_signer_is_trusted_by_boxes_that_trust_the_authority(laptop: Laptop, tmp_path: Path) -> None:
    laptop.run("keys", "make", "keys", "--days", "30")
    old = (tmp_path / "keys" / "signer.pem").read_bytes()
    assert "say --yes" in laptop.run("keys", "renew", "keys").err
    assert laptop.run("keys", "renew", "keys", "--days", "60", "--yes").status == 0
    assert (tmp_path / "keys" / "signer.pem").read_bytes() != old
    bundle = real_bundle(tmp_path, tmp_path / "keys")
    assert laptop.run("bundle", "verify", bundle, "--keyring", "keys/ca.pem").status == 0


def test_an_authority_is_never_replaced(laptop: Laptop, tmp_path: Path) -> None:
    laptop.run("keys", "make", "keys")
    before = (tmp_path / "keys" / "ca.pem").read_bytes()
    done = laptop.run("keys", "make", "keys")
    assert done.status == 1
    assert "has an authority already" in done.err
    assert (tmp_path / "keys" / "ca.pem").read_bytes() == before
    assert "no authority to sign with" in laptop.run("keys", "renew", "elsewhere", "--yes").err


def test_what_is_no_bundle_is_told(laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 100)
    for words in (("inspect", "text"), ("inspect", "absent"), ("verify", "text", "--keyring", "x")):
        done = laptop.run("bundle", *words)
        assert (done.status, done.err.count("\n")) == (1, 1), done
    make_bundle(tmp_path / "made.raucb", notes="- One.\n- Two.")
    assert "- One.\n- Two.\n" in laptop.run("bundle", "inspect", "made.raucb").out
