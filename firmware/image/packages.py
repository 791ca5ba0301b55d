"""All Debian packages of an image, from up to three suites: the root's, the kernel's, the boot loader's."""

from __future__ import annotations

from pathlib import Path

from firmware.errors import EvenhandError

from .debs import Debs
from .platform import Platform
from .recipe import Recipe
from .target import ARM64, Target

LICENCE = "LICENCE.loader"


class Packages:
    """What an image is made of, by name.

    Parameters
    ----------
    kernel
        Debian's package that stands for the newest kernel of a kind.
    cache
        Where lists and packages are kept from build to build.
    target
        Whose they are.
    """

    def __init__(self, kernel: str, platform: Platform, recipe: Recipe, cache: Path, target: Target = ARM64) -> None:
        self._recipe = recipe
        suffix, architecture = target.cache_suffix, target.architecture
        self.debs = Debs(cache / f"apt{suffix}", recipe.apt_sources, architecture)
        self.kernel_suite = platform.kernel_suite or recipe.suite
        self.kernel_debs = self.debs
        if platform.kernel_suite:
            suite = platform.kernel_suite
            self.kernel_debs = Debs(cache / f"apt-{suite}{suffix}", recipe.sources_of(suite), architecture)
        self.kernel = self.kernel_debs.parts_of_kernel(self.kernel_debs.real_kernel(kernel))
        self.loader = list(platform.loader_packages)
        self._loader_debs = self.debs
        if platform.loader_suite:
            suite = platform.loader_suite
            self._loader_debs = Debs(
                cache / f"apt-{suite}{suffix}", recipe.sources_of(suite, "main non-free-firmware"), architecture
            )
        self.root = {n: v for n, v in self.debs.closure(recipe.packages).items() if n not in recipe.left_out}

    def versions(self) -> dict[str, str]:
        """Return all packages with the version that the mirror has now, for the lock."""
        recipe = self._recipe
        beside = self.debs.versions([*recipe.initramfs_packages, *recipe.header_packages])
        loader = self._loader_debs.versions(self.loader) if self.loader else {}
        return {**self.root, **beside, **self.kernel_debs.versions(self.kernel), **loader}

    def shipped(self) -> dict[str, str]:
        """Return those of which an image has something, with their versions."""
        found = self.versions()
        return {**self.root, **{n: found[n] for n in (*self.kernel, *self._recipe.initramfs_packages, *self.loader)}}

    def loader_files(self, platform: Platform, work: Path) -> dict[str, bytes]:
        """Return what the boot loader is made of, with its licence, by the name in the boot partition.

        Raises
        ------
        EvenhandError
            When the package has no such file.
        """
        if not self.loader:
            return {}
        unpacked = self._loader_debs.extract(self.loader, work / "loader")
        wanted = [*platform.loader_files, (LICENCE, platform.loader_licence)]
        missing = [place for _, place in wanted if not (unpacked / place).is_file()]
        if missing:
            raise EvenhandError(f"{platform.name}.toml: {self.loader[0]} has no {missing[0]}")
        return {name: (unpacked / place).read_bytes() for name, place in wanted}
