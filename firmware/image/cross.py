"""Compiles our C for the box on this machine, and the one C file of ALSA's Python binding."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

from cffi import FFI

from dsp_kernels.build_ffi import C_FLAGS, MACHINE_FLAGS, ROOT, machine_flags
from firmware import build_ffi
from firmware.errors import EvenhandError

from .target import ARM64, Target
from .tools import call
from .wheels import Package, digest_of


def key_of_sources(target: Target) -> str:
    """Return a digest of all that compiled C depends on: sources, headers, flags, compiler."""
    digest = hashlib.sha256(call([target.compiler, "--version"], "compiler").encode())
    for package in ("dsp_kernels", "firmware"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in (".c", ".h") or path.name in ("build_ffi.py", "cross.py"):
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Cross:
    """A compiler for the box.

    Parameters
    ----------
    headers
        Folder with the unpacked header packages.
    out
        Folder that takes the place of the checkout's root.
    target
        Which box.
    """

    def __init__(self, headers: Path, out: Path, target: Target = ARM64) -> None:
        self._out, self._target = out, target
        include, lib = headers / "usr/include", headers / "usr/lib" / target.triplet
        self._flags = [
            f"-I{include}", f"-I{include}/python3.11", f"-I{include}/{target.triplet}/python3.11",
            f"-I{include}/{target.triplet}", f"-L{lib}", f"-ffile-prefix-map={ROOT}=.", f"-ffile-prefix-map={out}=.",
            f"-ffile-prefix-map={headers}=.", "-Wl,--build-id=none",
        ]  # fmt: skip

    def build(self) -> list[Path]:
        """Compile all that runs on a box and return the files."""
        engine = self._extension(build_ffi.engine_builder())
        live = self._extension(build_ffi.live_builder(engine))
        card = self._extension(build_ffi.card_builder())
        plugins = [
            self._shared(
                self._out / target.relative_to(ROOT), [build_ffi.CARD_DIR / n for n in names],
                ["-DPIC", "-fwrapv", *C_FLAGS, *MACHINE_FLAGS[self._target.machine]], ["-lasound"],
            )
            for target, names in (
                (build_ffi.CARD_PLUGIN, build_ffi.CARD_PLUGIN_SOURCES),
                (build_ffi.CONTROL_PLUGIN, build_ffi.CONTROL_PLUGIN_SOURCES),
            )
        ]  # fmt: skip
        return [engine, live, card, *plugins]

    def alsaaudio(self, sdist: Path, site_packages: Path) -> Package:
        """Compile pyalsaaudio from its source archive into ``site_packages``."""
        work = self._out / "alsaaudio"
        work.mkdir(parents=True, exist_ok=True)
        with tarfile.open(sdist) as archive:
            for member in archive:
                if member.isfile() and re.fullmatch(r"[^/]+/(alsaaudio\.c|alsaaudio\.h|PKG-INFO)", member.name):
                    content = archive.extractfile(member)
                    assert content is not None
                    (work / Path(member.name).name).write_bytes(content.read())
        info = (work / "PKG-INFO").read_text(encoding="utf-8")
        version = re.search(r"^Version: (\S+)$", info, re.MULTILINE)
        if version is None or not (work / "alsaaudio.c").exists():
            raise EvenhandError(f"{sdist.name}: is no source of pyalsaaudio")
        metadata = site_packages / f"pyalsaaudio-{version[1]}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(info, encoding="utf-8")
        self._shared(
            site_packages / f"alsaaudio.{self._target.tag}.so",
            [work / "alsaaudio.c"],
            ["-O2", "-fPIC", "-w"],
            ["-lasound"],
        )
        return Package(name="pyalsaaudio", version=version[1], license="PSF", sha256=digest_of(sdist))

    def _extension(self, builder: FFI) -> Path:
        module, _, _, wanted = builder._assigned_source
        target = self._out / module.replace(".", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        glue = target.with_suffix(".c")
        builder.emit_c_code(str(glue))
        host = set(machine_flags())
        flags = [flag for flag in wanted["extra_compile_args"] if flag not in host]
        flags += MACHINE_FLAGS[self._target.machine] + tuple(f"-I{folder}" for folder in wanted["include_dirs"])
        libraries = [*wanted.get("extra_link_args", ()), *(f"-l{name}" for name in wanted.get("libraries", ()))]
        built = self._shared(
            target.parent / f"{target.name}.{self._target.tag}.so",
            [glue, *map(Path, wanted["sources"])],
            flags,
            libraries,
        )
        glue.unlink()
        return built

    def _shared(self, out: Path, sources: Sequence[Path], flags: Sequence[str], libraries: Sequence[str]) -> Path:
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [self._target.compiler, "-shared", "-g0", "-fPIC", *flags, "-g0", *self._flags, *map(str, sources),
                   "-o", str(out), *libraries]  # fmt: skip
        call(command, f"compiling {out.name} for {self._target.machine}", cwd=ROOT)
        call([self._target.strip, "--strip-unneeded", out], f"stripping {out.name}")
        return out
