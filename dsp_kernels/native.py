"""The kernels for Python: the compiled library, errors as exceptions, and a driver for one kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from .build_ffi import declarations, kernel_headers

STATUS_TEXT = {
    1: "sample rate outside 8000 to 192000 Hz",
    2: "lanes are not a positive multiple of 4 up to 64",
    3: "argument out of range",
}


class KernelError(Exception):
    """A kernel refused its arguments."""


class Library:
    """A compiled set of kernels: ``lib.eh_gain_init(...)``, ``ffi`` to make what it needs."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self.ffi = ffi
        self.lib = lib


def installed() -> Library:
    """Return the compiled extension.

    Raises
    ------
    KernelError
        When it has not been built.
    """
    try:
        from . import _native  # type: ignore[attr-defined]  # compiled
    except ImportError as error:
        raise KernelError("the kernels are not built; run `make build`") from error
    return Library(_native.ffi, _native.lib)


def opened(path: Path) -> Library:
    """Return the kernels of a plain shared library, as another compiler or sanitizer built it."""
    ffi = FFI()
    ffi.cdef(declarations(kernel_headers()))
    return Library(ffi, ffi.dlopen(str(path)))


def check(status: int, doing: str) -> None:
    """Raise ``KernelError`` unless ``status`` is EH_OK."""
    if status != 0:
        raise KernelError(f"{doing}: {STATUS_TEXT.get(status, f'status {status}')}")


def aligned_bytes(size_bytes: int) -> NDArray[np.uint8]:
    """Return zeroed memory of ``size_bytes``, aligned to 64 bytes."""
    raw = np.zeros(size_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size_bytes]


class Kernel:
    """One kernel struct with its memory.

    Parameters
    ----------
    library
        Where it comes from.
    name
        The noun of the header: ``"gain"`` for ``eh_gain``.
    arguments
        What ``init`` takes between the struct and the memory.
    size_arguments
        What ``size_bytes`` takes; None for a kernel that needs no memory.
    """

    def __init__(
        self, library: Library, name: str, *arguments: Any, size_arguments: tuple[Any, ...] | None = None
    ) -> None:
        self.library = library
        self.ffi, self.lib, self.name = library.ffi, library.lib, name
        self.struct = self.ffi.new(f"eh_{name} *")
        memory: tuple[Any, ...] = ()
        if size_arguments is not None:
            self.memory = aligned_bytes(self._function("size_bytes")(*size_arguments))
            memory = (self.ffi.cast("void *", self.memory.ctypes.data),)
        check(self._function("init")(self.struct, *arguments, *memory), f"{name} init{arguments}")

    def _function(self, verb: str) -> Any:
        return getattr(self.lib, f"eh_{self.name}_{verb}")

    def call(self, verb: str, *arguments: Any) -> Any:
        """Call ``eh_<name>_<verb>(struct, ...)``."""
        return self._function(verb)(self.struct, *arguments)

    def params(self, section: str, **values: float) -> Any:
        """Return an ``eh_<section>_params`` at its contract defaults but for ``values``."""
        from .contract.generated.contract import PARAMS

        struct = self.ffi.new(f"eh_{section}_params *")
        for entry in PARAMS:
            first, _, field = entry.name.partition(".")
            if first == section:
                setattr(struct, field.rsplit(".", 1)[-1], entry.default)
        for field, value in values.items():
            setattr(struct, field, value)
        return struct

    def pointer(self, array: NDArray[Any]) -> Any:
        """Return a C pointer to a contiguous array of float32, int32, uint32, int16 or uint8."""
        types = {"float32": "float *", "int32": "int32_t *", "uint32": "uint32_t *", "int16": "int16_t *"}
        if not array.flags.c_contiguous:
            raise KernelError(f"{self.name}: the array is not contiguous")
        return self.ffi.cast(types.get(array.dtype.name, "uint8_t *"), array.ctypes.data)

    def process(self, x: NDArray[np.float32], block: int | None = None, *, out_lanes: int = 0) -> NDArray[np.float32]:
        """Run ``x``, shape ``(n_frames, n_lanes)``, through the kernel in blocks and return what comes out."""
        x = np.ascontiguousarray(x, np.float32)
        n_lanes = getattr(self.struct, "n_lanes", x.shape[1])
        if x.shape[1] != n_lanes:
            raise KernelError(f"{self.name}: {x.shape[1]} lanes given, the bank has {n_lanes}")
        out = np.zeros((len(x), out_lanes or x.shape[1]), np.float32)
        block = block or max(len(x), 1)
        for start in range(0, len(x), block):
            a, b = x[start : start + block], out[start : start + block]
            self.call("process", self.pointer(a), self.pointer(b), len(a))
        return out
