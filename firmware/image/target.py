"""The processors that a box may have, each under the names that Debian, Python, C and wheels have for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """A processor."""

    architecture: str  # Debian's word
    machine: str  # ``uname -m``

    @property
    def triplet(self) -> str:
        """What compilers and library folders are called after."""
        return f"{self.machine}-linux-gnu"

    @property
    def cache_suffix(self) -> str:
        """What ends the names of its folders in the cache."""
        return "" if self.architecture == "arm64" else f"-{self.architecture}"

    @property
    def compiler(self) -> str:
        """The C compiler that makes programs for it."""
        return f"{self.triplet}-gcc"

    @property
    def strip(self) -> str:
        """What takes names of symbols out of what was compiled."""
        return f"{self.triplet}-strip"

    @property
    def tag(self) -> str:
        """What Debian 12's Python looks for in the names of compiled modules."""
        return f"cpython-311-{self.triplet}"

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """Wheels that run with glibc 2.36, newest first; some name a single platform."""
        newest = tuple(f"manylinux_2_{minor}_{self.machine}" for minor in (36, 35, 34, 31, 28, 27, 26, 24, 17))
        return (*newest, f"manylinux2014_{self.machine}")


ARM64 = Target(architecture="arm64", machine="aarch64")
AMD64 = Target(architecture="amd64", machine="x86_64")
BY_MACHINE = {target.machine: target for target in (ARM64, AMD64)}
TARGETS = {target.architecture: target for target in (ARM64, AMD64)}
