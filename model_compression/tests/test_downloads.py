"""What fetched sounds promise: the archive that was chosen or none, sounds and licences only, errors of one line."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_compression.data import downloads
from model_compression.data.downloads import Download
from model_compression.data.ingredients import Ingredient, ingredients, shortage
from model_compression.errors import ModelError

FILES = {
    "package/audio/C4.mp3": b"a note",
    "package/LICENSE": b"CC0",
    "package/index.js": b"alert(1)",
    "package/../../escaped.mp3": b"x",
}
Registry = Callable[[dict[str, bytes]], Download]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Put an npm on PATH that packs one archive, and return how to make it: files in, what to ask for out."""
    archive = tmp_path / "served.tgz"
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        f'#!/bin/sh\nlast=; for word in "$@"; do [ "$last" = --pack-destination ] && to=$word; last=$word; done\n'
        '[ "$word" = @some/notes@1.2.3 ] || { echo "404 not found: $word" >&2; exit 1; }\n'
        f'cp {archive} "$to/notes.tgz"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")

    def serve(files: dict[str, bytes]) -> Download:
        with tarfile.open(archive, "w:gz") as packed:
            for name, content in files.items():
                head = tarfile.TarInfo(name)
                head.size = len(content)
                packed.addfile(head, io.BytesIO(content))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        return Download(package="@some/notes", version="1.2.3", sha256=digest)

    return serve


def test_sounds_and_licence_are_kept_and_nothing_else(registry: Registry, tmp_path: Path) -> None:
    root, one = tmp_path / "sounds", registry(FILES)
    assert not downloads.is_here(one, root)
    downloads.fetch(one, root)
    assert downloads.is_here(one, root)
    kept = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert kept == {"@some/notes/audio/C4.mp3", "@some/notes/LICENSE", f"@some/notes/{downloads.STAMP}"}
    assert not (tmp_path / "escaped.mp3").exists()


def test_another_archive_than_the_chosen_one_is_refused_whole(registry: Registry, tmp_path: Path) -> None:
    root, one = tmp_path / "sounds", registry(FILES)
    downloads.fetch(one, root)
    registry({"package/audio/C4.mp3": b"another note"})
    with pytest.raises(ModelError, match=r"@some/notes 1\.2\.3: the archive has SHA-256 [0-9a-f]{64}, not "):
        downloads.fetch(one, root)
    assert (root / "@some/notes/audio/C4.mp3").read_bytes() == b"a note"
    assert [p.name for p in root.iterdir()] == ["@some"]


def test_a_new_choice_replaces_the_old_one(registry: Registry, tmp_path: Path) -> None:
    root, old = tmp_path / "sounds", registry(FILES)
    downloads.fetch(old, root)
    new = registry({"package/audio/D4.mp3": b"another note"})
    assert not downloads.is_here(new, root)
    downloads.fetch(new, root)
    assert [p.name for p in (root / "@some/notes/audio").iterdir()] == ["D4.mp3"]


def test_a_package_that_npm_cannot_fetch_is_told_in_one_line(registry: Registry, tmp_path: Path) -> None:
    one = replace(registry(FILES), version="9.9.9")
    with pytest.raises(ModelError, match=r"^@some/notes@9\.9\.9: npm could not fetch it \(404[^\n]*then try again$"):
        downloads.fetch(one, tmp_path / "sounds")


def test_without_npm_the_package_to_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match=r"npm is not installed, and it fetches this; apt install npm$"):
        downloads.fetch(Download(package="notes", version="1", sha256="0"), tmp_path / "sounds")


def test_what_was_not_fetched_is_named_with_the_command_that_fetches_it(registry: Registry, tmp_path: Path) -> None:
    root, one = tmp_path / "sounds", registry(FILES)
    made = Ingredient(name="notes", version="1", licence="CC0", use="", splits=("train",), downloads=(one,))
    assert shortage([made], root) == (
        "the generator needs sounds that were not fetched: @some/notes; run .ci/setup model"
    )
    downloads.fetch(one, root)
    assert shortage([made], root) == ""


def test_every_download_is_pinned_and_of_the_training_side() -> None:
    having = [one for one in ingredients().values() if one.downloads]
    assert having
    for ingredient in having:
        assert not ingredient.is_core
        assert ingredient.splits == ("train",)
        assert all(len(one.sha256) == 64 and one.version[0].isdigit() for one in ingredient.downloads)
