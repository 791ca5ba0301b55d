"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from firmware.atomic import Outputs
from firmware.errors import EvenhandError

ROOT = Path(__file__).parents[2]


def there(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}


def test_nothing_is_there_before_commit_and_everything_after(tmp_path: Path) -> None:
    with Outputs() as outputs:
        for name in ("a", "b"):
            outputs.stage(tmp_path / name).write_text(f"new {name}")
        assert not {"a", "b"} & set(there(tmp_path))
        outputs.commit()
    assert there(tmp_path) == {"a": "new a", "b": "new b"}


def test_a_failed_job_leaves_the_old_files_and_no_new_ones(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with suppress(RuntimeError), Outputs() as outputs:
        outputs.make_folder(tmp_path / "channels")
        outputs.stage(tmp_path / "channels" / "c").write_text("new")
        outputs.stage(tmp_path / "a").write_text("new")
        raise RuntimeError("halfway")
    assert there(tmp_path) == {"a": "old"}
    assert not (tmp_path / "channels").exists()


def test_a_rename_that_fails_takes_back_the_ones_before_it(tmp_path: Path) -> None:
    with Outputs() as outputs:
        outputs.stage(tmp_path / "first").write_text("new")
        outputs.stage(tmp_path / "second").write_text("new")
        (tmp_path / "first").mkdir()  # appeared meanwhile
        with pytest.raises(EvenhandError, match="first"):
            outputs.commit()
    assert there(tmp_path) == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_job_leaves_nothing_that_looks_finished_and_the_next_one_works(tmp_path: Path, number: int) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom firmware.atomic import Outputs\n"
        "with Outputs() as outputs:\n    outputs.stage(Path(sys.argv[1])).write_text('half')\n"
        "    print('staged', flush=True)\n    time.sleep(60)\n"
    )
    job = subprocess.Popen([sys.executable, "-c", script, tmp_path / "mix.wav"], cwd=ROOT, stdout=subprocess.PIPE)
    assert job.stdout is not None
    assert job.stdout.readline() == b"staged\n"
    with pytest.raises(EvenhandError, match="another job is writing it"), Outputs() as outputs:
        outputs.stage(tmp_path / "mix.wav")
    job.send_signal(number)
    job.communicate()
    assert "mix.wav" not in there(tmp_path)
    with Outputs() as outputs:
        outputs.stage(tmp_path / "mix.wav").write_text("whole")
        outputs.commit()
    assert there(tmp_path) == {"mix.wav": "whole"}


def test_a_link_keeps_pointing_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with Outputs() as outputs:
        outputs.stage(tmp_path / "link").write_text("new")
        outputs.commit()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize(("name", "expected"), [
    ("missing/mix.wav", "does not exist; make it"),
    ("folder", "not a regular file"),
    ("file/mix.wav", "cannot be written"),
    ("loop", "cannot be written"),
    ("x" * 300, "cannot be written"),
])  # fmt: skip
def test_an_impossible_place_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(EvenhandError, match=expected), Outputs() as outputs:
        outputs.stage(tmp_path / name)


def test_a_device_is_refused() -> None:
    with pytest.raises(EvenhandError, match="not a regular file"), Outputs() as outputs:
        outputs.stage(Path(os.devnull))


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    for is_kept in (True, False):
        with Outputs() as outputs:
            outputs.stage(tmp_path / "a").write_text("x")
            if is_kept:
                outputs.commit()
    assert len(list(Path("/proc/self/fd").iterdir())) == n_open
