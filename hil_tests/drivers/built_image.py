"""The image of this checkout for an emulated box: built once, and kept by the digest of what it is made of."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from hil_tests.errors import HilError
from host_tools.errors import HostError
from host_tools.keys import KeyFolder

ROOT = Path(__file__).resolve().parents[2]
MADE_OF = ("firmware", "dsp_kernels", "board_configs", "pyproject.toml")
KEY_DAYS = 3650  # they open boxes of this bench and nothing else
DIGITS = 12


def built_image(board: str, images: Path, keys: Path, tell: Callable[[str], None], root: Path = ROOT) -> Path:
    """Return the folder of the image that a checkout makes, which trusts ``keys``; build it where it is not there yet.

    Parameters
    ----------
    images
        Folder of such folders; those of this board that older checkouts made are removed.
    keys
        Made where there are none.

    Raises
    ------
    HilError
        When it cannot be built; with what the builder said last.
    """
    try:
        if not KeyFolder(folder=keys).authority.exists():
            KeyFolder(folder=keys).make("bench", KEY_DAYS)
        digest = _digest(root, KeyFolder(folder=keys).authority)
    except HostError as error:
        raise HilError(str(error)) from None
    image = images / f"{board}-{digest}"
    if (image / "image.json").is_file():
        return image
    tell(f"building {image}: minutes, and longer the first time, for its packages are fetched")
    command = [sys.executable, "-m", "firmware.image", "build", "--board", board, "--development", "--keyring",
               str(KeyFolder(folder=keys).authority), "--out", str(image)]  # fmt: skip
    done = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise HilError(f"no image of this checkout: {said[-1].removeprefix('error: ')}; EVENHAND_IMAGE and "
                       "EVENHAND_KEYS name one that is there, and its keys")  # fmt: skip
    for old in images.glob(f"{board}-{'[0-9a-f]' * DIGITS}"):
        if old != image:
            shutil.rmtree(old)
    return image


def _digest(root: Path, keyring: Path) -> str:
    """Return a digest of every file that an image is made of."""
    told = hashlib.sha256(keyring.read_bytes())
    for path in _tracked(root):
        content = (root / path).read_bytes()
        told.update(f"{path}\n{len(content)}\n".encode())
        told.update(content)
    return told.hexdigest()[:DIGITS]


def _tracked(root: Path) -> Iterator[str]:
    done = subprocess.run(["git", "ls-files", "-z", "--", *MADE_OF], cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        raise HilError(f"{root}: git cannot list its files; an image is built from a clone")
    for path in filter(None, done.stdout.split("\0")):
        if "tests" not in Path(path).parts and (root / path).is_file():
            yield path
