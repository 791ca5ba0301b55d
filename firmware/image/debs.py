"""Debian packages of any architecture and suite, fetched through an apt of our own: this machine's is left alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from firmware.errors import EvenhandError

from .tools import call

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FOLDERS = (
    "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d",
    "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "debs",
)  # fmt: skip


class Debs:
    """Packages by name, each fetched once.

    Parameters
    ----------
    folder
        Where lists and packages are kept from build to build.
    sources
        Lines of a ``sources.list``.
    architecture
        Of the packages, in Debian's words.
    """

    def __init__(self, folder: Path, sources: str, architecture: str = "arm64") -> None:
        self._folder = folder.resolve()
        self._architecture = architecture
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "var/lib/dpkg/status").touch()
        if not KEYRING.exists():
            raise EvenhandError(f"{KEYRING}: is not there to check packages with; install debian-archive-keyring")
        signed = "".join(line.replace("deb ", f"deb [signed-by={KEYRING}] ") + "\n" for line in sources.splitlines())
        (folder / "etc/apt/sources.list").write_text(signed, encoding="utf-8")
        self._config = self._folder / "apt.conf"
        self._config.write_text(
            f'Dir "{self._folder}";\nAPT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
            f'Dir::State::status "{self._folder}/var/lib/dpkg/status";\nAPT::Sandbox::User "root";\n',
            encoding="utf-8",
        )
        self._apt("apt-get", "-qq", "update", what="lists of packages")

    def real_kernel(self, package: str) -> str:
        """Return the package with the kernel that a package like ``linux-image-arm64`` stands for.

        Raises
        ------
        EvenhandError
            When Debian has no such kernel.
        """
        return [name for name in self.needs(package) if name.startswith("linux-image-")][-1]

    def needs(self, package: str) -> list[str]:
        """Return the names of the packages that one needs by itself."""
        lines = self._apt("apt-cache", "depends", "--important", package, what=package).splitlines()
        return [line.split()[-1] for line in lines if line.strip().startswith(("Depends:", "|Depends:", "PreDepends:"))]

    def parts_of_kernel(self, package: str) -> list[str]:
        """Return a kernel's package and those that its parts are split into."""
        release = package.removeprefix("linux-image-")
        return [
            package,
            *(name for name in self.needs(package) if name.startswith("linux-") and name.endswith(release)),
        ]

    def closure(self, packages: Iterable[str]) -> dict[str, str]:
        """Return the packages and all that they need, each with the version that the mirror has now.

        Raises
        ------
        EvenhandError
            When one is not to be had.
        """
        text = self._apt("apt-get", "-s", "install", "--no-install-recommends", *packages, what="Debian packages")
        found = re.findall(r"^Inst (\S+) \((\S+) ", text, re.MULTILINE)
        return dict(sorted(found))

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Return the version of each package that the mirror has now."""
        text = self._apt("apt-cache", "show", "--no-all-versions", *packages, what="Debian packages")
        return dict(re.findall(r"^Package: (\S+)\n(?:.+\n)*?Version: (\S+)$", text, re.MULTILINE))

    def fetch(self, versions: dict[str, str]) -> list[Path]:
        """Return the files of packages, fetched where they are not here yet."""
        missing = [f"{name}={version}" for name, version in versions.items() if not self._here(name, version)]
        if missing:
            self._apt("apt-get", "-qq", "download", *missing, what="Debian packages")
        files = {name: self._here(name, version) for name, version in versions.items()}
        lost = [name for name, file in files.items() if file is None]
        if lost:
            raise EvenhandError(f"{lost[0]}: was fetched and is not there; remove {self._folder} and try again")
        return [file for file in files.values() if file is not None]

    def extract(self, packages: Iterable[str], into: Path) -> Path:
        """Unpack packages into a folder of their own; never over a root, whose links they would replace."""
        into.mkdir(parents=True, exist_ok=True)
        for deb in self.fetch(self.versions(packages)):
            call(["dpkg-deb", "-x", deb, into], deb.name)
        return into

    def _here(self, name: str, version: str) -> Path | None:
        stem = f"{name}_{version.replace(':', '%3a')}"
        places = (self._folder / "debs" / f"{stem}_{kind}.deb" for kind in (self._architecture, "all"))
        return next((place for place in places if place.exists()), None)

    def _apt(self, *words: str, what: str) -> str:
        return call(words, what, env={"APT_CONFIG": str(self._config)}, cwd=self._folder / "debs")
