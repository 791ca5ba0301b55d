"""The disk of an image: its table, the choice of the slot, the data, and what lies beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from firmware.errors import EvenhandError
from firmware.system.boot_selection import FILE_BYTES, read_selection
from firmware.system.grub_env import ENV_BYTES, PLACE, read_env

from .check import Look, Wanted, look
from .disk import SEED, SEED_BYTES, SEED_MARK, is_pc
from .grub import CONFIG, LOADER, config_text
from .layout import BOOT, DATA, ROOT, SELECT
from .opened import Image
from .packages import LICENCE

EXTENDED = 4  # the partition that holds those after it
KINDS = {SELECT: "c", BOOT[0]: "c", BOOT[1]: "c", EXTENDED: "f", ROOT[0]: "83", ROOT[1]: "83", DATA: "83"}
MIB = 1024 * 1024


def disk_looks(image: Image, wanted: Wanted) -> Iterator[Look]:
    """Look at the disk."""
    yield look("partition table", f"{image.label}, {len(image.parts)} partitions, {image.size_bytes / 1e6:.0f} MB",
               _table_faults(image, KINDS | ({SELECT: "ef"} if is_pc(wanted.board) else {})))  # fmt: skip
    yield _grub(image) if is_pc(wanted.board) else _choice(image)
    yield _seed(image)
    wrong = [image.data_check] if image.data_check else []
    wrong += [f"holds {name} before the first start" for name in image.data_names if name != "lost+found"]
    yield look("data partition", "ext4, whole, empty" if not wrong else "ext4", wrong)
    yield _beside(image, wanted)


def _table_faults(image: Image, kinds: dict[int, str]) -> Iterator[str]:
    if image.label != "dos":
        yield f"is a {image.label} table; a Raspberry Pi tries no other slot from a GPT"
    for number, kind in kinds.items():
        part = image.parts.get(number)
        if part is None:
            yield f"has no partition {number}"
        elif part.kind != kind:
            yield f"partition {number} is of kind {part.kind}, not {kind}"
    extra = sorted(set(image.parts) - set(KINDS))
    if extra:
        yield f"has a partition {extra[0]} that nothing knows"
    if set(KINDS) - set(image.parts):
        return
    for a, b in (BOOT, ROOT):
        if image.parts[a].size_bytes != image.parts[b].size_bytes:
            yield f"partitions {a} and {b} are of different size: an update would not fit"
    end = 0
    for number, part in sorted(
        ((n, p) for n, p in image.parts.items() if n != 4), key=lambda item: item[1].start_bytes
    ):
        if part.start_bytes < end:
            yield f"partition {number} begins inside the one before"
        if part.start_bytes % MIB:
            yield f"partition {number} does not begin at a whole MiB"
        end = part.start_bytes + part.size_bytes
    if end > image.size_bytes:
        yield f"reaches to byte {end}, the file ends at {image.size_bytes}"
    if max(image.parts.values(), key=lambda part: part.start_bytes) != image.parts[DATA]:
        yield "data is not last, so it cannot grow"


def _choice(image: Image) -> Look:
    path = image.select / "autoboot.txt"
    try:
        content = path.read_bytes()
        committed = read_selection(content).committed
    except (OSError, EvenhandError) as error:
        return look("choice of the slot", "autoboot.txt", [str(error)])
    wrong = [] if committed == "a" else [f"commits slot {committed}, which is empty"]
    if len(content) != FILE_BYTES:
        wrong.append(f"has {len(content)} bytes; the commit is one write of {FILE_BYTES}")
    if b"tryboot_a_b=1" not in content:
        wrong.append("lacks tryboot_a_b=1: the try would be of a file, not of a partition")
    return look("choice of the slot", f"slot {committed} committed, the other one to be tried", wrong)


def _grub(image: Image) -> Look:
    wrong = []
    loader, config, environment = (image.select / name for name in (LOADER, CONFIG, PLACE))
    if not loader.exists() or not loader.read_bytes().startswith(b"MZ"):
        wrong.append(f"{LOADER} is no program of UEFI")
    if not config.exists() or config.read_text(encoding="ascii", errors="replace") != config_text():
        wrong.append(f"{CONFIG} is not ours")
    try:
        content = environment.read_bytes()
        committed, trial = read_env(content)
        if (committed, trial) != ("a", ""):
            wrong.append(f"commits slot {committed} and tries {trial or 'none'}; b is empty")
        if len(content) != ENV_BYTES:
            wrong.append(f"has {len(content)} bytes; the commit is one write of {ENV_BYTES}")
    except (OSError, EvenhandError) as error:
        wrong.append(str(error))
    if not (image.select / LICENCE).is_file():
        wrong.append("GRUB's licence is not with it, as it asks for")
    return look("choice of the slot", "GRUB, slot a committed, the other one to be tried", wrong)


def _seed(image: Image) -> Look:
    path = image.select / SEED
    content = path.read_bytes() if path.exists() else b""
    wrong = []
    if len(content) != SEED_BYTES or not content.startswith(SEED_MARK):
        wrong.append(f"{SEED} is no block of {SEED_BYTES} bytes that `evenhand flash` finds")
    elif content[len(SEED_MARK) :].strip(b"#\n"):
        wrong.append(f"{SEED} says something already: name or pairing code of somebody")
    return look("seed", "an empty block" if not wrong else SEED, wrong)


def _beside(image: Image, wanted: Wanted) -> Look:
    wrong = []
    for name, found in (("image.json", image.record), ("bill of materials", image.bill)):
        if not found:
            wrong.append(f"no {name} beside it")
    described = image.record.get("files", {})
    for each in described.values():
        path = image.file.with_name(each["name"])
        if not path.is_file():
            wrong.append(f"{each['name']} is not there")
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != each["sha256"]:
                wrong.append(f"{each['name']} has another digest than image.json says")
    if image.record and image.record["compatible"] != f"evenhand-{wanted.board.name}":
        wrong.append(f"image.json: compatible is {image.record['compatible']}, the board is {wanted.board.name}")
    return look("beside it", f"{len(described)} files with digests", wrong)
