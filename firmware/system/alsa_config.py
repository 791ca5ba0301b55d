"""Configuration that makes virtual cards ordinary ALSA names, without installing anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from firmware.errors import EvenhandError

CARD_PLUGIN = Path(__file__).parent.parent / "libasound_module_pcm_evenhand.so"
CONTROL_PLUGIN = CARD_PLUGIN.with_name("libasound_module_ctl_evenhand.so")
SYSTEM_CONFIG = Path("/usr/share/alsa/alsa.conf")
FILE_NAME = "asound.conf"


def alsa_config_text(
    cards: Mapping[str, Path], controls: Mapping[str, Path] | None = None, *, plugin: Path = CARD_PLUGIN
) -> str:
    """Return a configuration in which each name of ``cards`` opens the card in that file.

    ``controls`` likewise are the preamps in those files. Where the system has one, its own configuration is included,
    so that its names keep working.
    """
    for needed in (plugin, *([CONTROL_PLUGIN] if controls else ())):
        if not needed.is_file():
            raise EvenhandError(f"the virtual sound card is not built: {needed.name} is missing; run `make build`")
    lines = [f"<{SYSTEM_CONFIG}>"] if SYSTEM_CONFIG.is_file() else []
    lines.append(f"pcm_type.evenhand {{ lib {_quoted(plugin)} }}")
    lines += [f"pcm.{_name(name)} {{ type evenhand path {_quoted(path)} }}" for name, path in cards.items()]
    if controls:
        lines.append(f"ctl_type.evenhand {{ lib {_quoted(CONTROL_PLUGIN)} }}")
        lines += [f"ctl.{_name(name)} {{ type evenhand file {_quoted(path)} }}" for name, path in controls.items()]
    return "\n".join(lines) + "\n"


def write_alsa_config(
    folder: Path, cards: Mapping[str, Path], controls: Mapping[str, Path] | None = None, *, plugin: Path = CARD_PLUGIN
) -> Path:
    """Write :func:`alsa_config_text` into ``folder`` and return the file, which ``ALSA_CONFIG_PATH`` is to name."""
    path = folder / FILE_NAME
    path.write_text(alsa_config_text(cards, controls, plugin=plugin))
    return path


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise EvenhandError(f"{name!r} cannot name a sound card; use letters, digits and _, a letter first")
    return name


def _quoted(path: Path) -> str:
    text = str(path.absolute())
    if '"' in text or "\\" in text or "\n" in text:
        raise EvenhandError(f"{text!r}: ALSA cannot read a path with quotes, backslashes or line breaks")
    return f'"{text}"'
