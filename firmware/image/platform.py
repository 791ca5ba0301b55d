"""What a computer needs to start, beside the mixer's part of a board file: ``platforms/NAME.toml``.

A board file says what a box sounds through; a platform which kernel drives the computer, what its boot loader reads,
and which devices must find a driver. A board that says all of it in its own ``[image]`` needs none.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_configs.board import Board
from board_configs.spec import ImageSpec
from firmware.errors import EvenhandError

from .recipe import FOLDER

PLATFORMS = FOLDER / "platforms"
HEALTH_S = 60  # how long periods are watched after a start


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A platform file. Without one, all is empty: kernel and packages are the recipe's."""

    name: str = ""
    image: ImageSpec | None = None
    lacks: tuple[str, ...] = ()  # what the image cannot do, in words
    kernel_suite: str = ""  # of Debian; "" is the recipe's
    device_trees: tuple[tuple[str, str], ...] = ()  # name in the boot partition, file of the kernel's package
    first_root_devices: tuple[str, ...] = ()  # what a device tree calls compatible
    first_root_modules: tuple[str, ...] = ()  # where no device tree says it
    root_devices: tuple[str, ...] = ()
    hot_plugged: tuple[str, ...] = ()  # patterns of modules
    unused: tuple[str, ...] = ()  # modules
    has_tryboot: bool = False
    loader_suite: str = ""
    loader_packages: tuple[str, ...] = ()
    loader_files: tuple[tuple[str, str], ...] = ()  # name in the boot partition, file of the package
    loader_licence: str = ""
    config: tuple[str, ...] = ("arm_64bit=1", "enable_uart=1")  # lines for the boot loader

    def for_board(self, board: Board) -> Board:
        """Return the board with an image to build.

        Raises
        ------
        EvenhandError
            When neither it nor the platform says what that is made of.
        """
        if board.image is not None or self.image is None:
            return board
        return dataclasses.replace(board, image=self.image)


def platform_names() -> list[str]:
    """Return the platforms there are."""
    return sorted(path.stem for path in PLATFORMS.glob("*.toml"))


def find_platform(board: Board, name: str | None = None) -> Platform:
    """Return the platform of this name, or by default the one that is called as the board.

    Raises
    ------
    EvenhandError
        When there is none, and the board does not say itself what its image is made of.
    """
    wanted = name or board.name
    path = PLATFORMS / f"{wanted}.toml"
    if wanted in platform_names():
        return read_platform(path)
    if name is None and board.image is not None:
        return Platform()
    names = ", ".join(platform_names())
    if name is None:
        raise EvenhandError(f"{board.path.name}: has no [image]; name what it runs on: --platform {names}")
    raise EvenhandError(f"no platform {name[:40]!r}; there are {names}")


def read_platform(path: Path) -> Platform:
    """Return a platform file, read.

    Raises
    ------
    EvenhandError
        When it says what cannot be.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        image, kernel, loader = found["image"], found["kernel"], found.get("loader", {})
        platform = Platform(
            name=path.stem,
            image=ImageSpec(
                kernel=image["kernel"], console=image["console"], modules=tuple(image["modules"]),
                boot_mib=image["boot_mib"], root_mib=image["root_mib"], health_seconds=HEALTH_S,
            ),
            lacks=tuple(found["lacks"]),
            kernel_suite=kernel["suite"],
            device_trees=_pairs(kernel["device_trees"]),
            first_root_devices=tuple(kernel["first_root"]),
            first_root_modules=tuple(kernel.get("first_root_modules", ())),
            root_devices=tuple(kernel["root"]),
            hot_plugged=tuple(kernel["hot_plugged"]),
            unused=tuple(kernel["unused"]),
            has_tryboot=kernel["tryboot"],
            loader_suite=loader.get("suite", ""),
            loader_packages=tuple(loader.get("packages", ())),
            loader_files=_pairs(loader.get("files", {})),
            loader_licence=loader.get("licence", ""),
            config=tuple(loader["config"]),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise EvenhandError(
            f"{path.name}: {error} is missing, or of another kind; compare it with its neighbours"
        ) from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise EvenhandError(f"{path.name}: cannot be read ({error}); compare it with git") from None
    return platform


def _pairs(table: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in table.items())
