"""Loads a board: finds its TOML file, checks every key of it, and says in one line what cannot be."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from .cards import read_cards
from .spec import (
    FORMATS,
    IMAGE_SCHEMES,
    MACHINES,
    PERIODS_FRAMES,
    SAMPLE_RATES_HZ,
    SCHEMES,
    AudioSpec,
    Board,
    BudgetSpec,
    CardMatch,
    CardSpec,
    CoreSpec,
    ImageSpec,
    InputSpec,
    OutputSpec,
    PreampSpec,
    UpdateSpec,
)
from .table import BoardError, Table, near_misses, quoted
from .wiring import read_inputs, read_outputs, read_preamps

__all__ = [
    "AudioSpec", "Board", "BoardError", "BudgetSpec", "CardMatch", "CardSpec", "CoreSpec", "ImageSpec", "InputSpec",
    "OutputSpec", "PreampSpec", "UpdateSpec", "board_names", "load_board",
]  # fmt: skip

FOLDER = Path(__file__).parent
MAX_SIZE_BYTES = 256 * 1024
MAX_CORE = 255
MAX_SLOT_MIB = 16_384
HEALTH_S, MAX_HEALTH_S = 60, 600  # a try ends after 15 min
MAX_ROUND_TRIP_FRAMES = 96_000  # a second at the highest rate; more is a slip of the finger


def board_names() -> tuple[str, ...]:
    """Return the names of the boards described in this folder."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.toml")))


def load_board(name_or_path: str | Path) -> Board:
    """Return the board of that name, or of a file when given a path (it has a slash or ends in ``.toml``).

    Raises
    ------
    BoardError
        When there is no such board, or its file says what cannot be.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith(".toml"):
        path = Path(name_or_path)
        return _board(Table(text, _parse(path, text)), path)
    if text not in board_names():
        hint = near_misses(text, board_names())
        stop = "" if hint.endswith("?") else "."
        raise BoardError(
            f"no board {quoted(text)}; {hint}{stop} A file of your own is named by its path, as ./venue.toml"
        )
    path = FOLDER / f"{text}.toml"
    return _board(Table(path.name, _parse(path, path.name)), path)


def _parse(path: Path, place: str) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise BoardError(f"{place}: is not a regular file; name the board's TOML file")
        with path.open("rb") as file:
            content = file.read(MAX_SIZE_BYTES + 1)
    except FileNotFoundError:
        raise BoardError(f"{place}: no such file; boards by name are {', '.join(board_names())}") from None
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise BoardError(f"{place}: cannot be read ({reason}); give this user the right to") from None
    if len(content) > MAX_SIZE_BYTES:
        raise BoardError(f"{place}: is larger than {MAX_SIZE_BYTES // 1024} KiB; is it a board file?")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BoardError(f"{place}: is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"{place}: is not TOML: {error}") from None
    except (ValueError, RecursionError):  # what the parser lets through: numbers too long, tables too deep
        raise BoardError(f"{place}: holds a number too long or a list too deep; is it a board file?") from None


def _board(root: Table, path: Path) -> Board:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,39}", path.stem):
        raise root.error("a board is called after its file; name it in small letters, digits and _, at most 40")
    audio = _audio(root.table("audio", place=root.place))
    cards = read_cards(root)
    update = _update(root.table("update", is_required=False))
    board = Board(
        name=path.stem,
        title=root.text("title"),
        machine=root.choice("machine", MACHINES),
        audio=audio,
        cards=cards,
        inputs=read_inputs(root, cards),
        outputs=read_outputs(root, cards),
        cores=_cores(root.table("cores", is_required=False)),
        budget=_budget(root.table("budget"), audio),
        preamps=read_preamps(root, cards),
        update=update,
        image=_image(root.table("image"), update) if root.has("image") else None,
        path=path,
    )
    root.close()
    return board


def _audio(table: Table) -> AudioSpec:
    audio = AudioSpec(
        sample_rate_hz=table.integer_of("sample_rate_hz", SAMPLE_RATES_HZ),
        period_frames=table.integer_of("period_frames", PERIODS_FRAMES),
        n_periods=table.integer("n_periods", 2, 8),
        formats=table.items("formats", str, "texts", FORMATS),
    )
    for name in audio.formats:
        if name not in FORMATS:
            raise table.error(f"unknown format {quoted(name)}; {near_misses(name, FORMATS)}")
    if not audio.formats:
        raise table.error(f"formats is empty; name at least one of {', '.join(FORMATS)}")
    table.close()
    return audio


def _cores(table: Table) -> CoreSpec:
    cores = CoreSpec(
        audio=table.integer("audio", 0, MAX_CORE, None),
        analysis=table.integer("analysis", 0, MAX_CORE, None),
        control=table.items("control", int, "whole numbers", ()),
    )
    table.close()
    if any(not 0 <= core <= MAX_CORE for core in cores.control):
        raise table.error(f"control names a core outside 0 to {MAX_CORE}")
    if cores.audio is not None and cores.audio in (cores.analysis, *cores.control):
        raise table.error(f"core {cores.audio} is the audio thread's alone; give the others another")
    return cores


def _budget(table: Table, audio: AudioSpec) -> BudgetSpec:
    budget = BudgetSpec(
        max_round_trip_frames=table.integer("max_round_trip_frames", 1, MAX_ROUND_TRIP_FRAMES),
        min_served_percent=table.number("min_served_percent", 0.0, 100.0),
        max_wake_p999_us=table.number("max_wake_p999_us", 1.0, 1e6),
        max_temp_c=table.number("max_temp_c", 0.0, 150.0, None),
    )
    table.close()
    least = audio.n_periods * audio.period_frames
    if budget.max_round_trip_frames < least:
        raise table.error(
            f"max_round_trip_frames = {budget.max_round_trip_frames} cannot be kept: "
            f"{audio.n_periods} periods of {audio.period_frames} frames are {least}"
        )
    return budget


def _update(table: Table) -> UpdateSpec:
    update = UpdateSpec(scheme=table.choice("scheme", SCHEMES, "none"), slots=table.items("slots", str, "texts", ()))
    table.close()
    n_slots = 0 if update.scheme == "none" else 2
    if len(update.slots) != n_slots:
        raise table.error(f'scheme "{update.scheme}" has {n_slots} slots, not {len(update.slots)}')
    for slot in update.slots:
        if not re.fullmatch(r"[a-z0-9_]{1,16}", slot):
            raise table.error("slots must be short names in small letters, digits and _")
    return update


def _image(table: Table, update: UpdateSpec) -> ImageSpec:
    image = ImageSpec(
        kernel=table.text("kernel"),
        console=table.text("console"),
        modules=table.items("modules", str, "texts", ()),
        boot_mib=table.integer("boot_mib", 34, 1024),  # a FAT32 has at least 33 MiB
        root_mib=table.integer("root_mib", 64, MAX_SLOT_MIB),
        health_seconds=table.integer("health_seconds", 1, MAX_HEALTH_S, HEALTH_S),
    )
    table.close()
    for key, names in (("kernel", (image.kernel,)), ("console", (image.console,)), ("modules", image.modules)):
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,63}", name):
                raise table.error(f"{key} has a name that cannot be: {quoted(name)}; letters, digits and +._- only")
    if update.scheme not in IMAGE_SCHEMES:
        raise table.error(f'no image is built for scheme "{update.scheme}"; {" and ".join(IMAGE_SCHEMES)} have one')
    return image
