"""Compiles what runs on the box: the engine, what plays it live, and the virtual sound card.

``firmware._engine`` is pure arithmetic; ``firmware._live`` holds threads, shared memory and ALSA; ``firmware._card`` is
the world around a virtual card, and the ALSA plug-in beside it is the card.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cffi import FFI

from dsp_kernels.build_ffi import (
    C_FLAGS,
    INCLUDE_DIRS,
    SOURCE_DIR,
    BuildError,
    compile_in_place,
    extension,
    kernel_headers,
    kernel_sources,
)
from firmware.system.alsa_config import CARD_PLUGIN, CONTROL_PLUGIN

RT_DIR = Path(__file__).parent / "rt"
LIVE_DIR = RT_DIR / "live"
ENGINE_HEADER = RT_DIR / "engine.h"
# In an order in which each finds what it needs; the kernels' own functions are not called from here.
LIVE_HEADERS = (
    INCLUDE_DIRS[1] / "eh_contract.h",
    INCLUDE_DIRS[0] / "evenhand" / "types.h",
    INCLUDE_DIRS[0] / "evenhand" / "loudness.h",
    ENGINE_HEADER,
    LIVE_DIR / "record_ring.h",
    LIVE_DIR / "segment.h",
    LIVE_DIR / "live.h",
)
CARD_DIR = RT_DIR / "virtual_card"
CARD_PLUGIN_SOURCES = ("pcm_evenhand.c", "stream.c", "stream_transfer.c", "stream_wake.c", "samples.c", "card.c")
CONTROL_PLUGIN_SOURCES = ("ctl_evenhand.c",)
CARD_WORLD_SOURCES = ("world.c", "world_files.c", "card.c")


def engine_sources() -> list[Path]:
    """Return every C file of the engine, kernels included."""
    return [*sorted(RT_DIR.glob("*.c")), *kernel_sources()]


def live_sources() -> list[Path]:
    """Return every C file that needs threads, shared memory or ALSA."""
    return sorted(LIVE_DIR.glob("*.c"))


def engine_builder() -> FFI:
    """Return the builder of ``firmware._engine``."""
    headers = [*kernel_headers(), ENGINE_HEADER]
    return extension("firmware._engine", headers, engine_sources(), '#include "engine.h"', include_dirs=["firmware/rt"])


def live_builder(engine: Path) -> FFI:
    """Return the builder of ``firmware._live``, which finds the engine in the compiled ``engine`` beside it."""
    return extension(
        "firmware._live",
        list(LIVE_HEADERS),
        live_sources(),
        '#include "live.h"',
        include_dirs=["firmware/rt", "firmware/rt/live"],
        libraries=["asound", "pthread"],
        # Debian's Python binds functions at link time; then nobody could put another clock in for a test.
        extra_link_args=[f"-L{engine.parent}", f"-l:{engine.name}", "-Wl,-rpath,$ORIGIN", "-Wl,-Bno-symbolic"],
    )


def card_builder() -> FFI:
    """Return the builder of ``firmware._card``, the world around a virtual sound card."""
    sources = [*(CARD_DIR / name for name in CARD_WORLD_SOURCES), SOURCE_DIR / "convert.c"]
    include_dirs = ["firmware/rt/virtual_card"]
    return extension("firmware._card", [CARD_DIR / "world.h"], sources, '#include "world.h"', include_dirs=include_dirs)


def build_card_plugin(
    out: Path = CARD_PLUGIN, names: tuple[str, ...] = CARD_PLUGIN_SOURCES, *, compiler: str = "",
    flags: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """Compile an ALSA plug-in that programs open a virtual card with, or its preamps, and return it.

    Raises
    ------
    BuildError
        With the compiler's own words.
    """
    compiler = compiler or os.environ.get("CC", "cc")
    sources = [str(CARD_DIR / name) for name in names]
    out.unlink(missing_ok=True)  # a program that has it open keeps the old one
    # PIC in capitals is how alsa-lib's headers know a plug-in that is loaded at run time.
    # -fwrapv: a damaged shared file may hold any number.
    command = [*compiler.split(), "-shared", "-DPIC", "-fwrapv", *C_FLAGS, *flags, *sources, "-o", str(out), "-lasound"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        hint = "; is libasound2-dev installed?" if "asoundlib.h" in done.stderr else ""
        raise BuildError(f"{compiler} could not build {out.name}{hint}\n{done.stderr.strip()}")
    return out


def main() -> None:
    """Build everything, the engine before what is linked with it."""
    engine = compile_in_place(engine_builder()).resolve()
    for built in (
        engine,
        compile_in_place(live_builder(engine)),
        compile_in_place(card_builder()),
        build_card_plugin(),
        build_card_plugin(CONTROL_PLUGIN, CONTROL_PLUGIN_SOURCES),
    ):
        print(f"built {built.name}")


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(f"error: {error}")
