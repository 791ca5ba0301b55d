"""Scenes for a bench: mixers that stand still, so that what is heard is what was set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from .board import Box

PATH = "/var/lib/evenhand/scenes/bench.toml"
Value = float | int | bool | str
STILL = "--automix off --amount 0 --model none"  # nothing moves by itself
SEGMENT = "/run/evenhand/segment"


def scene_toml(strips: Sequence[Mapping[str, Value]], **others: Sequence[Mapping[str, Value]]) -> str:
    """Return a scene file: parameters by name, a mapping for each strip and, by scope, for each of ``others``."""
    lines = [f'contract_id = "{CONTRACT_ID}"', 'title = "bench"', "amount_percent = 0.0"]
    for scope, tables in {"channel": strips, **others}.items():
        for index, table in enumerate(tables, start=1):
            lines += ["", f"[[{scope}]]", f"index = {index}"]
            lines += [f'"{name}" = {_toml(value)}' for name, value in table.items()]
    return "\n".join(lines) + "\n"


def stand_still(box: Box, scene: str, options: str = STILL) -> None:
    """Let the box play ``scene`` from its first frame on; it forgets what it mixed before."""
    box.put(scene.encode(), PATH)
    box.configure(EVENHAND_CONTROL_OPTIONS=f"--scene {PATH} {options}")
    begin_anew(box)


def begin_anew(box: Box) -> None:
    """Let the mixer forget what it played and start from what is on the disk."""
    box.stop("control")
    box.stop("engine")
    box.run(f"rm -f {SEGMENT}")  # else the next control takes up what the last one left there
    box.start("engine", "control")


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
