"""ALSA for tests: real plug-ins as neighbours, and a file tree that tells of cards this machine does not have."""

from __future__ import annotations

import subprocess
from pathlib import Path

from firmware.system.alsa_config import CONTROL_PLUGIN

from .harnesses import HARNESS_DIR

SYSTEM_CONFIG = Path("/usr/share/alsa/alsa.conf")
COMPILE_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-DPIC", "-fPIC", "-shared")
CARDS = """\
 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 1 [USB            ]: USB-Audio - Scarlett 18i20 4th Gen
                      Focusrite Scarlett 18i20 4th Gen at usb-0000:01:00.0-1.1, high speed
"""
SECOND_SCARLETT = """\
 2 [USB_1          ]: USB-Audio - Scarlett 18i20 4th Gen
                      Focusrite Scarlett 18i20 4th Gen at usb-0000:01:00.0-1.2, high speed
"""


def install_alsa(directory: Path) -> str:
    """Build the plug-in of a stiff card and return the value of ``ALSA_CONFIG_PATH`` that knows them.

    ``evenhand:FILE`` is a control, ``stiff`` a card: 8 channels in, 4 out, 48 or 96 kHz, S32_LE both ways, periods of
    32 frames or more. Every ``hw:`` card is a stiff one too, as this machine has none.
    """
    stiff = directory / "libasound_module_pcm_stiff.so"
    source = HARNESS_DIR / "pcm_stiff.c"
    subprocess.run(["cc", *COMPILE_FLAGS, str(source), "-o", str(stiff), "-lasound"], check=True)
    config = directory / "evenhand.conf"
    config.write_text(
        f'ctl_type.evenhand {{ lib "{CONTROL_PLUGIN}" }}\n'
        "ctl.evenhand { @args [ FILE ] @args.FILE { type string } type evenhand file $FILE }\n"
        f'pcm_type.stiff {{ lib "{stiff}" }}\n'
        "pcm.stiff { type stiff }\n"
        "pcm.!hw { @args [ CARD DEV ] @args.CARD { type string } @args.DEV { type integer default 0 } type stiff }\n"
    )
    return f"{SYSTEM_CONFIG}:{config}"


def write_cards(root: Path, cards: str = CARDS, usb_ids: dict[int, str] | None = None) -> Path:
    """Write a ``/proc/asound`` under ``root`` whose USB cards have a duplex device, and return ``root``."""
    asound = root / "proc" / "asound"
    asound.mkdir(parents=True, exist_ok=True)
    (asound / "cards").write_text(cards)
    for index, usb_id in ({1: "1235:821d"} if usb_ids is None else usb_ids).items():
        folder = asound / f"card{index}"
        (folder / "pcm0c").mkdir(parents=True, exist_ok=True)
        (folder / "pcm0p").mkdir(exist_ok=True)
        (folder / "usbid").write_text(f"{usb_id}\n")
    (asound / "card0" / "pcm0p").mkdir(parents=True, exist_ok=True)
    return root
