"""Compiles the kernels: as the cffi extension ``dsp_kernels._native``, or as a plain shared library for tests.

``python -m dsp_kernels.build_ffi`` builds the extension in place; ``CC`` chooses the compiler.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from cffi import FFI

PACKAGE_DIR = Path(__file__).parent
ROOT = PACKAGE_DIR.parent
INCLUDE_DIRS = (PACKAGE_DIR / "include", PACKAGE_DIR / "contract" / "generated")
SOURCE_DIR = PACKAGE_DIR / "src"

# -ffp-contract=off: fused multiply-add only where the source says so, so that all compilers agree to the bit.
# Never -ffast-math: it removes the NaN guards.
C_FLAGS = (
    "-std=gnu11", "-O3", "-funroll-loops", "-g", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC",
    "-fvisibility=default", "-Wall", "-Wextra", "-Wno-psabi", "-Werror",
)  # fmt: skip
MACHINE_FLAGS = {"x86_64": ("-march=x86-64-v3",), "aarch64": ("-march=armv8-a",)}


class BuildError(Exception):
    """The C did not compile, or this machine is none that the kernels are written for."""


def machine_flags(machine: str = "") -> tuple[str, ...]:
    """Return the compiler flags that choose the instruction set of ``machine``, by default of this one."""
    machine = machine or platform.machine()
    if machine not in MACHINE_FLAGS:
        raise BuildError(f"no kernels for machine {machine!r}; there are {', '.join(MACHINE_FLAGS)}")
    return MACHINE_FLAGS[machine]


def kernel_sources() -> list[Path]:
    """Return every C file of the kernels, the generated one included."""
    return [*sorted(SOURCE_DIR.glob("*.c")), PACKAGE_DIR / "contract" / "generated" / "eh_contract.c"]


def kernel_headers() -> list[Path]:
    """Return the public headers in an order in which each finds what it needs."""
    public = INCLUDE_DIRS[0] / "evenhand"
    first = [INCLUDE_DIRS[1] / "eh_contract.h", public / "types.h"]
    rest = [h for h in sorted(public.glob("*.h")) if h.name not in ("types.h", "evenhand.h")]
    return [*first, *rest]


def declarations(headers: list[Path]) -> str:
    """Return the headers as cffi reads them: directives, comments and the real-time mark dropped."""
    text = "\n".join(h.read_text() for h in headers)
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\bEH_RT\b", "", text)


def extension(module: str, headers: list[Path], sources: list[Path], include: str, **more: list[str]) -> FFI:
    """Return the cffi builder of an extension over ``headers``."""
    builder = FFI()
    builder.cdef(declarations(headers))
    dirs = [os.path.relpath(d, ROOT) for d in (*INCLUDE_DIRS, SOURCE_DIR)] + more.pop("include_dirs", [])
    builder.set_source(
        module,
        include,
        sources=[os.path.relpath(s, ROOT) for s in sources],
        include_dirs=dirs,
        # cffi's own glue is not ours to warn about.
        extra_compile_args=[*C_FLAGS, *machine_flags(), "-Wno-error", "-Wno-unused-parameter"],
        **more,
    )
    return builder


def native_builder() -> FFI:
    """Return the builder of ``dsp_kernels._native``."""
    return extension("dsp_kernels._native", kernel_headers(), kernel_sources(), '#include "evenhand/evenhand.h"')


def build_library(
    out: Path, *, compiler: str = "cc", flags: tuple[str, ...] = (), sources: list[Path] | None = None
) -> Path:
    """Compile kernels (or ``sources``) into the shared library ``out`` and return it.

    Raises
    ------
    BuildError
        With the compiler's own words.
    """
    includes = [f"-I{d}" for d in (*INCLUDE_DIRS, SOURCE_DIR)]
    files = [str(s) for s in (sources or kernel_sources())]
    command = [compiler, "-shared", *C_FLAGS, *machine_flags(), *flags, *includes, *files, "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{compiler} could not build {out.name}:\n{done.stderr.strip()}")
    return out


def compile_in_place(builder: FFI) -> Path:
    """Compile an extension beside its package and return the file.

    What runs keeps the old file: it is taken away, not written over.
    """
    os.chdir(ROOT)
    *folders, name = builder._assigned_source[0].split(".")
    for old in ROOT.joinpath(*folders).glob(f"{name}.*.so"):
        old.unlink()
    built = Path(builder.compile(tmpdir=".", verbose=False))
    for folder in (PACKAGE_DIR, built.parent):  # objects lie beside their sources, even in generated/
        for left_over in folder.rglob("*.o"):
            left_over.unlink()
    return built


def main(arguments: list[str] | None = None) -> int:
    """Build the extension, or with ``--library`` a plain shared library."""
    parser = argparse.ArgumentParser(prog="python -m dsp_kernels.build_ffi", description=__doc__)
    parser.add_argument("--library", type=Path, metavar="FILE", help="build this shared library instead")
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"), help="compiler of the library")
    parser.add_argument(
        "--flag", action="append", default=[], help="one more compiler flag, as --flag=-fsanitize=address"
    )
    options = parser.parse_args(arguments)
    try:
        if options.library:
            built = build_library(options.library, compiler=options.cc, flags=tuple(options.flag))
        else:
            built = compile_in_place(native_builder())
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"built {built.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
