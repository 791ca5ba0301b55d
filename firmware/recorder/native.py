"""The recorder's C: the ring's two ends, from the box's extension or from a library of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EvenhandError
from ..live_extension import live_extension

HEADER = Path(__file__).parent.parent / "rt" / "live" / "record_ring.h"


@dataclass(frozen=True, kw_only=True)
class Native:
    """``lib.eh_record_ring_put(...)``, and ``ffi`` to make what it needs."""

    ffi: Any
    lib: Any


def installed() -> Native:
    """Return the compiled extension.

    Raises
    ------
    EvenhandError
        When it has not been built.
    """
    ffi, lib = live_extension()
    return Native(ffi=ffi, lib=lib)


def opened(library: Path) -> Native:
    """Return the ring of a plain shared library, as a test or a sanitizer has it built.

    Raises
    ------
    EvenhandError
        When the file is no library.
    """
    from cffi import FFI

    from dsp_kernels.build_ffi import declarations, kernel_headers

    ffi = FFI()
    ffi.cdef(declarations([*kernel_headers(), HEADER]))
    try:
        return Native(ffi=ffi, lib=ffi.dlopen(str(library)))
    except OSError as error:
        raise EvenhandError(f"{library}: is no library of the recorder ({error}); build it again") from None
