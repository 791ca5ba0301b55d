"""Builds the C programs that open virtual cards in tests, and the plug-in they load, with or without sanitizers."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from pathlib import Path

from firmware.build_ffi import CARD_DIR, build_card_plugin
from firmware.system.alsa_config import CARD_PLUGIN
from firmware.tests.harnesses import HARNESS_DIR

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
# What alsa-lib keeps for the life of a process is not ours.
SANITIZER_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="evenhand-card-")


@functools.cache
def program(name: str, *, is_sanitized: bool = False) -> Path:
    """Compile ``harness/NAME.c`` and return the program."""
    out = Path(_scratch().name) / f"{name}{'-sanitized' if is_sanitized else ''}"
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", *(SANITIZERS if is_sanitized else ())]
    subprocess.run(
        ["cc", *flags, f"-I{CARD_DIR}", str(HARNESS_DIR / f"{name}.c"), "-o", str(out), "-lasound"], check=True
    )
    return out


@functools.cache
def plugin(*, is_sanitized: bool = False) -> Path:
    """Return the plug-in; the sanitized one is compiled here."""
    if not is_sanitized:
        return CARD_PLUGIN
    return build_card_plugin(Path(_scratch().name) / CARD_PLUGIN.name, compiler="cc", flags=SANITIZERS)


def start(path: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a program; it inherits ``ALSA_CONFIG_PATH``."""
    return subprocess.Popen(
        [str(path), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **SANITIZER_ENVIRONMENT},
    )
