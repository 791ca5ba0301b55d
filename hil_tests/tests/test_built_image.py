"""The image of a checkout: built once, anew after a change; what stops that is one line. Its builder stands in here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hil_tests.drivers.built_image import built_image
from hil_tests.errors import HilError

BUILDER = """
import sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
with open("builds.log", "a") as log:
    log.write(out.name + "\\n")
if Path("firmware/broken").exists():
    sys.exit("Debian packages\\nerror: an image needs depmod, which this machine lacks; apt-get install kmod")
out.mkdir(parents=True)
(out / "image.json").write_text("{}")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name, text in (("firmware/image/__main__.py", BUILDER), ("firmware/image/__init__.py", ""),
                       ("firmware/engine.py", "x = 1\n"), ("firmware/tests/test_engine.py", "x = 1\n")):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "firmware/__init__.py").touch()
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


def image(checkout: Path) -> Path:
    return built_image("qemu_arm64", checkout / "out/image", checkout / "out/keys", lambda _line: None, checkout)


def n_builds(checkout: Path) -> int:
    return len((checkout / "builds.log").read_text().splitlines())


def test_image_is_built_once_and_anew_only_after_a_change_of_what_it_is_made_of(checkout: Path) -> None:
    first = image(checkout)
    assert (checkout / "out/keys/ca.pem").is_file()
    (checkout / "firmware/tests/test_engine.py").write_text("x = 2\n")
    assert image(checkout) == first
    assert n_builds(checkout) == 1
    (checkout / "firmware/engine.py").write_text("x = 2\n")
    second = image(checkout)
    assert second != first
    assert [path.name for path in (checkout / "out/image").iterdir()] == [second.name], "the old one is left"
    assert n_builds(checkout) == 2


def test_what_stops_the_builder_is_said_in_one_line_and_the_old_image_stays(checkout: Path) -> None:
    first = image(checkout)
    (checkout / "firmware/broken").touch()
    subprocess.run(["git", "add", "."], cwd=checkout, check=True)
    with pytest.raises(HilError, match=r"no image of this checkout: an image needs depmod, .* EVENHAND") as caught:
        image(checkout)
    assert "\n" not in str(caught.value)
    assert first.exists()


def test_checkout_without_git_is_told_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
    with pytest.raises(HilError, match="an image is built from a clone"):
        image(checkout)
