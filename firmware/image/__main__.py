"""``python -m firmware.image``: builds the image of a board, and the bundles that update it; not on a box."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tomllib
from pathlib import Path

from board_configs.board import BoardError, load_board
from dsp_kernels.build_ffi import ROOT, BuildError
from firmware.errors import EvenhandError
from firmware.interrupt import hear

from . import wheels
from .build import Job, build
from .bundle import bundle
from .check import check
from .deb import DebJob, make_deb
from .debs import Debs
from .packages import Packages
from .platform import find_platform
from .recipe import debian_lock, read_recipe, wheels_lock
from .target import AMD64, ARM64, BY_MACHINE, TARGETS, Target
from .tree import Release

EXAMPLE = """\
example:
  The emulated box, with the certificates that its updates are trusted by:

    python -m firmware.image build --board qemu_arm64 --keyring keys/ca.pem --development
"""
CACHE = ROOT / "out/image-cache"


def main(argv: list[str] | None = None) -> int:
    """Do one job; return 0 for done, 1 for refused or failed. Wrong usage leaves with 2 (argparse)."""
    hear()
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except (EvenhandError, BoardError, BuildError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail(f"{options.command}: stopped before the end, nothing has changed; start it again when you like")
    except OSError as error:
        return _fail(f"{error.filename or options.command}: {error.strerror}; is the disk full, or not ours to write?")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m firmware.image", description=__doc__, epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    command = commands.add_parser("build", help="build the image of a board")
    command.add_argument("--board", required=True, metavar="NAME", help="board, or a TOML file of your own")
    command.add_argument("--platform", metavar="NAME", help="what a board of your own runs on (called as the board)")
    command.add_argument("--keyring", required=True, type=Path, metavar="FILE", help="certificates to trust updates by")
    command.add_argument("--out", type=Path, metavar="DIR", help="folder to make (out/image/NAME)")
    command.add_argument("--development", action="store_true", help="root on the serial console, without a password")
    _add_common(command)
    command.set_defaults(run=_build)

    command = commands.add_parser("bundle", help="make the signed bundle that updates a board to an image")
    command.add_argument("--image", required=True, type=Path, metavar="DIR", help="folder of the image")
    command.add_argument(
        "--keys", required=True, type=Path, metavar="DIR", help="folder with signer.pem and signer.key"
    )
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help="bundle to write, NAME.raucb")
    command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    command.set_defaults(run=_bundle)

    command = commands.add_parser("check", help="look through a finished image, to the last file")
    command.add_argument("image", type=Path, metavar="FILE", help="the .img of an image")
    command.add_argument("--board", metavar="NAME", help="which board it is for (as image.json says)")
    command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    command.set_defaults(run=_check)

    command = commands.add_parser("deb", help="make the package for who has Debian 12 or Raspberry Pi OS already")
    command.add_argument("--architecture", choices=sorted(TARGETS), default="arm64", help="processor (arm64)")
    command.add_argument("--board", default="sim", metavar="NAME", help="which board box.env names at first (sim)")
    command.add_argument("--out", type=Path, default=ROOT / "out/deb", metavar="DIR", help="where to (out/deb)")
    _add_common(command)
    command.set_defaults(run=_deb)

    command = commands.add_parser("lock", help="write anew which versions an image is made of")
    command.add_argument("--board", action="append", required=True, metavar="NAME", help="boards whose kernels count")
    _add_common(command)
    command.set_defaults(run=_lock)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help="what is kept from build to build")
    command.add_argument("--release", metavar="VERSION", help="version to say it is (that of pyproject.toml)")
    command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _build(options: argparse.Namespace) -> None:
    board = load_board(options.board)
    release = Release(
        version=options.release or version(), board=board.name, is_development=options.development
    )  # fmt: skip
    job = Job(
        board=board, platform=find_platform(board, options.platform), release=release, keyring=options.keyring,
        cache=options.cache, out=options.out or ROOT / "out/image" / board.name,
    )  # fmt: skip
    record = build(job, read_recipe(), _quiet if options.json else _say)
    if options.json:
        print(json.dumps(record))
        return
    for kind, file in record["files"].items():
        print(f"{kind:5} {file['size_bytes'] / 1e6:8.1f} MB  sha256 {file['sha256'][:16]}  {file['name']}")
    for lack in record["lacks"]:
        print(f"lacks: {lack}")
    print(f"{job.out}: {release.compatible} {release.version}, kernel {record['kernel']}, {record['seconds']:.0f} s")


def _bundle(options: argparse.Namespace) -> None:
    record = bundle(options.image, options.keys, options.out, ROOT / "CHANGELOG.md")
    words = f"{options.out}: {record['compatible']} {record['version']}, {record['size_bytes'] / 1e6:.1f} MB"
    print(json.dumps(record) if options.json else words)


def _deb(options: argparse.Namespace) -> None:
    job = DebJob(
        target=TARGETS[options.architecture], board=options.board, version=options.release or version(),
        out=options.out, cache=options.cache,
    )  # fmt: skip
    record = make_deb(job, read_recipe())
    words = f"{record['file']}: {record['size_bytes'] / 1e6:.1f} MB, sha256 {record['sha256'][:16]}"
    print(json.dumps(record) if options.json else words)


def _check(options: argparse.Namespace) -> None:
    looks = check(options.image, options.board)
    n_wrong = sum(bool(each.wrong) for each in looks)
    if options.json:
        print(json.dumps({"looks": [dataclasses.asdict(each) for each in looks], "is_right": not n_wrong}))
    else:
        print("\n".join(each.text for each in looks))
    if n_wrong:
        raise EvenhandError(f"{options.image.name}: {n_wrong} of {len(looks)} looks found something wrong; see above")


def _lock(options: argparse.Namespace) -> None:
    recipe = read_recipe()
    say = _quiet if options.json else _say
    say("lists of packages", 0.0)
    found: dict[Target, dict[str, str]] = {ARM64: {}, AMD64: {}}
    for board in map(load_board, options.board):
        platform, target = find_platform(board), BY_MACHINE.get(board.machine)
        image = platform.for_board(board).image
        if image is not None and target is not None:
            found[target] |= Packages(image.kernel, platform, recipe, options.cache, target).versions()
    if not found[AMD64]:  # the package of that processor has our C, and no system
        debs = Debs(options.cache / f"apt{AMD64.cache_suffix}", recipe.apt_sources, AMD64.architecture)
        found[AMD64] = debs.versions(recipe.header_packages)
    say("Python packages", 0.1)
    text = wheels.lock_text(options.cache / "wheels-new", recipe.wheels, recipe.sources, ARM64)
    same = sorted(set(wheels.read_digests(text).values()) - set(recipe.sources))  # one version for every processor
    other_text = wheels.lock_text(options.cache / "wheels-new-amd64", same, recipe.sources, AMD64)
    head = "# Debian packages of the image with their versions; written by: python -m firmware.image lock\n"
    for target, python in ((ARM64, text), (AMD64, other_text)):
        lines = "".join(f"{n} {v}\n" for n, v in sorted(found[target].items()))
        debian_lock(target).write_text(head + lines, encoding="utf-8")
        wheels_lock(target).write_text(python, encoding="utf-8")
    n_debian, n_python = sum(map(len, found.values())), len(wheels.read_digests(text))
    print(json.dumps({"debian": n_debian, "python": n_python}) if options.json else
          f"{n_debian} Debian packages, {n_python} of Python; look at: git diff")  # fmt: skip


def version() -> str:
    """Return the version of this checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def _say(what: str, done: float) -> None:
    print(f"{round(100 * done):3} %  {what}", file=sys.stderr, flush=True)


def _quiet(_what: str, _done: float) -> None:
    pass


def _fail(message: str) -> int:
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    print(f"error: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    os.umask(0o022)  # what is made must not depend on who makes it
    sys.exit(main())
