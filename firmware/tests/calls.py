"""Which functions of the libraries C code can reach from a given function on, read off its relocations."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dsp_kernels.build_ffi import machine_flags
from firmware.tests.harnesses import INCLUDES

# Unoptimised and a section for each function: every call stands where it was written. A function whose address is
# taken counts as called.
FLAGS = ("-std=gnu11", "-O0", "-ffunction-sections", "-fno-stack-protector", "-fPIC")
# The engine and the kernels have a proof of their own.
PROVEN = re.compile(r"eh_(engine|convert|denormals|params|contract|resampler|drift)_\w+")


def reached_from(start: str, sources: Sequence[Path]) -> set[str]:
    """Return what ``sources`` do not define themselves and ``start`` may call, directly or not."""
    calls: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory(prefix="evenhand-calls-") as folder:
        for source in sources:
            calls |= _calls_of(source, Path(folder) / f"{source.stem}.o")
    reached, waiting = {start}, [start]
    while waiting:
        fresh = calls.get(waiting.pop(), set()) - reached
        reached |= fresh
        waiting += fresh
    assert start in calls, f"{start} is not defined"
    return {name for name in reached if name not in calls and not PROVEN.fullmatch(name)}


def _calls_of(source: Path, out: Path) -> dict[str, set[str]]:
    subprocess.run(["cc", *FLAGS, *machine_flags(), *INCLUDES, "-c", str(source), "-o", str(out)], check=True)
    said = subprocess.run(["readelf", "-rW", str(out)], check=True, capture_output=True, text=True).stdout
    symbols = subprocess.run(["nm", str(out)], check=True, capture_output=True, text=True).stdout
    functions = {line.split()[-1]: line.split()[-2] for line in symbols.splitlines()}
    calls: dict[str, set[str]] = {}
    for name, kind in functions.items():
        if kind in "tT":
            calls[_key(source, name, kind)] = set()
    section = None
    for line in said.splitlines():
        if head := re.match(r"Relocation section '(\S+)'", line):
            section = head[1].removeprefix(".rela.text.") if ".text." in head[1] else None
        elif section and len(words := line.split()) > 4:
            name = words[4].removeprefix(".text.").partition("@")[0]
            if name in functions and functions[name] in "tTU":
                calls[_key(source, section, functions[section])].add(
                    _key(source, name, functions[name]) if functions[name] == "t" else name
                )
    return calls


def _key(source: Path, name: str, kind: str) -> str:
    return f"{source.stem}:{name}" if kind == "t" else name
