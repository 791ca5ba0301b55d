"""``evenhand scene``: the scenes that are kept on a box."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..boxes import Boxes
from ..console import Json, Yes, confirm, say, say_json, size_text, table
from ..device import Device
from ..errors import HostError
from ..files import replaced
from ..guard import guarded

NAME = "scene"
GROUP = typer.Typer(
    help="Scenes that are kept on a box: list, get, put, delete.", no_args_is_help=True,
    epilog="example: evenhand scene get Verse --box stage --out verse.toml",
)  # fmt: skip
MAX_SCENE_BYTES = 1_000_000
Box = Annotated[str | None, typer.Option("--box", metavar="BOX", help="Name, id or address (the only paired one).")]
Scene = Annotated[str, typer.Argument(metavar="SCENE", help="Name of the scene.")]


def _device(name: str | None) -> Device:
    (box,) = Boxes().find([name] if name else [])
    return Device.of(box)


@GROUP.command("list", epilog="example: evenhand scene list --box stage")
@guarded
def list_scenes(box: Box = None, json: Json = False) -> None:
    """Name the scenes of a box."""
    with _device(box) as device:
        told = device.get("scenes")
    say_json(told) if json else say(table([[s["name"], size_text(s["size_bytes"])] for s in told["scenes"]]))


@GROUP.command("get", epilog="example: evenhand scene get Verse --out verse.toml")
@guarded
def get(
    scene: Scene, box: Box = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to (SCENE.toml).")] = None,
) -> None:  # fmt: skip
    """Fetch a scene."""
    with _device(box) as device:
        content = device.read("scenes", scene)
    out = out or Path(f"{scene}.toml")
    with replaced(out) as file:
        file.write(content)
    say(f"{out}: {size_text(len(content))}")


@GROUP.command("put", epilog="example: evenhand scene put verse.toml Verse --box stage")
@guarded
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A scene.")],
    scene: Annotated[str | None, typer.Argument(metavar="[SCENE]", help="Its name (that of the file).")] = None,
    box: Box = None, yes: Yes = False,
) -> None:  # fmt: skip
    """Keep a scene on a box; the box says so when it cannot use it."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_SCENE_BYTES + 1)
    except OSError as error:
        raise HostError(f"{file}: {error.strerror}; name a scene") from None
    if len(content) > MAX_SCENE_BYTES:
        raise HostError(f"{file}: larger than {MAX_SCENE_BYTES} bytes; that is no scene")
    scene = scene or file.stem
    with _device(box) as device:
        if scene in [kept["name"] for kept in device.get("scenes")["scenes"]]:
            confirm(f"replace scene {scene!r} on {device.host}?", is_yes=yes)
        device.send("PUT", "scenes", scene, body=content)
    say(f"{scene}: kept")


@GROUP.command("delete", epilog="example: evenhand scene delete Verse --box stage")
@guarded
def delete(scene: Scene, box: Box = None, yes: Yes = False) -> None:
    """Delete a scene from a box."""
    with _device(box) as device:
        confirm(f"delete scene {scene!r} from {device.host}?", is_yes=yes)
        device.send("DELETE", "scenes", scene)
    say(f"{scene}: deleted")
