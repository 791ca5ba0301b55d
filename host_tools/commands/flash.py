"""``evenhand flash``: write an image to an SD card or eMMC, and read it back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Yes, confirm, note, progress, say, say_json, size_text
from ..disks import Disk, look_at
from ..errors import HostError
from ..imaging import look_through, write
from ..seeding import Seed, new_code

NAME = "flash"
EXAMPLE = "example: evenhand flash evenhand-raspberry_pi_4.img /dev/sdb --name foyer"


def run(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help=".img, .img.xz or .img.gz.")],
    device: Annotated[Path, typer.Argument(metavar="DEVICE", help="A whole disk, as /dev/sdb; or a plain file.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the box is called.")] = None,
    code: Annotated[
        str | None, typer.Option("--code", metavar="CODE", help="Its pairing code (one by chance).")
    ] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="IP/LEN", help="Fixed, as 10.0.0.5/24.")] = None,
    gateway: Annotated[str | None, typer.Option("--gateway", metavar="IP", help="Goes with --address.")] = None,
    dns: Annotated[str | None, typer.Option("--dns", metavar="IP", help="Goes with --address.")] = None,
    fixed: Annotated[bool, typer.Option("--fixed-disk", help="Also a disk that cannot be taken out.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Write an image to an SD card or eMMC, read it back, and tell the box its name and its pairing code."""
    disk = look_at(device)
    _refuse(disk, is_fixed_meant=fixed)
    size_bytes = image.stat().st_size if image.is_file() else 0
    with progress("look through the image", size_bytes, is_quiet=json) as on_step:
        read = look_through(image, lambda at: on_step(min(at, size_bytes), ""))
    if read.size_bytes > disk.size_bytes:
        raise HostError(f"{device}: has {size_text(disk.size_bytes)}, the image needs {size_text(read.size_bytes)}")
    if read.seed_at_bytes is None and (name or code or address or gateway or dns):
        raise HostError(f"{image}: has no place for --name and the like; leave them out, or take an image of Evenhand")
    code = (code or new_code()) if read.seed_at_bytes is not None else None
    seed = Seed(name=name, pairing_code=code, address=address, gateway=gateway, dns=dns).block() if code else None
    what = f"{device} ({', '.join(t for t in (disk.title, size_text(disk.size_bytes)) if t)})"
    confirm(f"overwrite all of {what} with {image.name}?", is_yes=yes)
    with progress("write and verify", 2 * read.size_bytes, is_quiet=json) as on_step:
        write(read, disk, seed, lambda at, step: on_step(at + (read.size_bytes if step else 0), step))
    if json:
        say_json({"device": str(device), "size_bytes": read.size_bytes, "name": name, "pairing_code": code})
        return
    say(
        f"{device}: {size_text(read.size_bytes)} written, read back, right" + (f"; pairing code {code}" if code else "")
    )
    if code:
        note("write the code on the box: `evenhand pair ADDRESS` asks for it")


def _refuse(disk: Disk, *, is_fixed_meant: bool) -> None:
    if not disk.is_file and sys.platform != "linux":
        raise HostError(f"{disk.path}: disks are written on Linux; elsewhere flash to a file and copy that to the card")
    if disk.users:
        raise HostError(f"{disk.path}: is in use: {'; '.join(disk.users)}; unmount it first, if it is the right one")
    if not disk.is_file and not disk.is_removable and not is_fixed_meant:
        raise HostError(
            f"{disk.path}: cannot be taken out of this machine ({disk.title}); say --fixed-disk if you mean it"
        )
