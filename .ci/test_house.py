"""The house keeps its promises: set-up, import contracts, documents and the demo session."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dsp_kernels.contract.generated.contract import ROLES

ROOT = Path(__file__).parent.parent
ROOMS = ("dsp_kernels", "firmware", "model_compression", "board_configs", "host_tools", "hil_tests")
DOCUMENTS = sorted(
    p for p in ROOT.glob("**/*.md") if not {".venv", "build", "out"} & set(p.relative_to(ROOT).parts) and p.is_file()
)
MAX_DEMO_BYTES = 6_000_000

# --------------------------------------------------------------------------------------------------------- imports


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def test_every_room_imports_only_what_it_may() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("dsp_kernels", "firmware"),
        ("board_configs", "dsp_kernels"),
        ("firmware", "model_compression"),
        ("model_compression", "board_configs"),
        ("host_tools", "dsp_kernels.native"),
        ("host_tools", "firmware"),
        ("hil_tests", "model_compression"),
    ],
)
def test_a_forbidden_import_breaks_the_contracts(room: str, forbidden: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ROOMS:
        for source in (ROOT / name).glob("**/*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    (tmp_path / room / "trespasser.py").write_text(f"import {forbidden}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, f"{room} may import {forbidden}"
    assert f"{room}.trespasser -> {forbidden}" in done.stdout


# ---------------------------------------------------------------------------------------------------------- set-up


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a checkout whose PATH, ``bin/``, has no compiler and no Python, and whose user is not root."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "setup", tmp_path / ".ci" / "setup")
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname", "uname", "cat", "env", "mktemp", "rm", "tail", "test", "true"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    fake(tmp_path, "id", "echo 1000")
    fake(tmp_path, "apt-get", "exit 0")
    return tmp_path


def fake(bare: Path, name: str, script: str) -> None:
    path = bare / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def set_up(bare: Path, purpose: str = "demo") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(bare / ".ci" / "setup"), purpose],
        env={"PATH": str(bare / "bin")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_without_root_and_sudo_set_up_names_the_line_to_run(bare: Path) -> None:
    done = set_up(bare)
    assert done.returncode == 1
    assert "gcc: compiles the audio engine" in done.stdout
    line = re.search(
        r"^  apt-get update && apt-get install -y --no-install-recommends (.+)$", done.stderr, re.MULTILINE
    )
    assert line is not None, done.stderr
    assert {"python3", "python3-venv", "python3-dev", "gcc", "libc6-dev"} <= set(line[1].split())
    assert "ffmpeg" not in line[1], "the demo asks for what only tests need"


def test_with_sudo_set_up_says_what_and_why_before_it_runs(bare: Path) -> None:
    fake(bare, "sudo", f'echo "$@" >>{bare}/sudo.log')
    done = set_up(bare)
    assert "gcc: compiles the audio engine" in done.stdout
    assert "sudo runs: apt-get install -y --no-install-recommends" in done.stdout
    asked = (bare / "sudo.log").read_text()
    assert "apt-get -o DPkg::Lock::Timeout=300 update" in asked
    assert " gcc " in asked
    assert done.returncode == 1
    assert done.stderr.startswith("error: installed, yet not found:"), "the fake sudo installs nothing"


def test_a_failed_download_of_packages_is_told_with_its_reason(bare: Path) -> None:
    fake(bare, "id", "echo 0")
    fake(bare, "apt-get", "echo 'E: no such host'; exit 100")
    done = set_up(bare)
    assert done.returncode == 1
    assert "E: no such host" in done.stderr
    assert "update' failed" in done.stderr


def test_an_unknown_purpose_is_wrong_usage(bare: Path) -> None:
    assert set_up(bare, "everything").returncode == 2


# ------------------------------------------------------------------------------------------------------- documents


def test_every_make_command_that_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (p.name, t) for p in DOCUMENTS for t in re.findall(r"(?:`|^)make ([a-z0-9]+)", p.read_text(), re.MULTILINE)
    }
    assert ("README.md", "demo") in named
    assert ("README.md", "test") in named
    assert {t for _, t in named} <= targets, sorted(named)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_a_package_with_a_readme(room: str) -> None:
    assert (ROOT / room / "__init__.py").is_file()
    assert (ROOT / room / "README.md").read_text().startswith("# ")


# ------------------------------------------------------------------------------------------------------------ demo


def test_the_demo_session_is_whole_small_and_speaks_the_contract() -> None:
    folder = ROOT / "demo" / "session"
    channels = tomllib.loads((folder / "session.toml").read_text())["channel"]
    assert sorted(c["file"] for c in channels) == sorted(p.name for p in folder.glob("*.flac"))
    assert {c["role"] for c in channels if "role" in c} <= set(ROLES)
    assert any("role" not in c for c in channels), "the box has nothing to recognise"
    assert sum(p.stat().st_size for p in folder.iterdir()) <= MAX_DEMO_BYTES


def test_only_the_set_up_for_models_asks_for_sounds_beyond_the_core(bare: Path) -> None:
    for tool in ("awk", "head"):
        (bare / "bin" / tool).symlink_to(str(shutil.which(tool)))
    listed = bare / "model_compression" / "data" / "ingredients.toml"
    listed.parent.mkdir(parents=True)
    listed.write_text(
        '[[ingredient]]\nname = "a"\npackage = "core-sounds"\nneeds = ["/nowhere/a"]\n'
        '[[ingredient]]\nname = "b"\npackage = "more-sounds"\nis_core = false\nneeds = ["/nowhere/b", "/nowhere/c"]\n'
        '[[ingredient]]\nname = "c"\nis_core = false\ndownloads = [["notes", "1", "0"]]\n'
        '[[ingredient]]\nname = "d"\npackage = "voices"\nneeds = ["nothing"]\n'
    )
    asked = {}
    for purpose in ("test", "model"):
        line = re.search(r"no-install-recommends (.+)$", set_up(bare, purpose).stderr, re.MULTILINE)
        assert line is not None
        asked[purpose] = set(line[1].split())
    assert {"core-sounds", "voices"} <= asked["test"] & asked["model"]
    assert asked["model"] - asked["test"] == {"more-sounds", "npm"}
