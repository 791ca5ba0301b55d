"""Checks the bench: plants faults of ``mutations.toml`` in a copy of the tree and demands that their tests fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import HilError

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_name("mutations.toml")
BUILT = ("*/_*.so", "*/libasound_module_*.so")
ENGINE_SOURCE = re.compile(r"firmware/rt/\w+\.c|dsp_kernels/src/\w+\.c")
BUILD_ENGINE = "from firmware import build_ffi as b; b.compile_in_place(b.engine_builder())"
TEST_S = 900.0
BUILD_S = 3600.0
COLUMNS = "2000"  # of pytest's summary: a reason is not cut
_KEYS = {"name", "fault", "file", "text", "replacement", "test", "says", "rig"}


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One fault: ``text`` of ``file`` becomes ``replacement``, and ``test`` must fail, in words that hold ``says``.

    ``fault`` is what becomes of the box, in words; ``says`` a regular expression: a test that fails for another reason
    has caught nothing.
    """

    name: str
    fault: str
    file: str
    text: str
    replacement: str
    test: str
    says: str
    rig: bool = False

    @property
    def is_c(self) -> bool:
        """Return whether something must be compiled."""
        return self.file.endswith((".c", ".h"))

    def apply(self, root: Path) -> None:
        """Plant it.

        Raises
        ------
        HilError
            When its text is not there exactly once: the list is older than the firmware.
        """
        path = root / self.file
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        if (n := source.count(self.text)) != 1:
            raise HilError(f"mutations.toml: {self.name}: its text stands {n} times in {self.file}; write it anew")
        path.write_text(source.replace(self.text, self.replacement), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a mutation."""

    mutation: Mutation
    is_caught: bool
    message: str  # of the test that failed, or why there is none
    seconds: float

    def line(self) -> str:
        """Return it in one line."""
        verdict = "caught by" if self.is_caught else "NOT CAUGHT by"
        how = f"{self.mutation.test.partition('::')[2]} in {self.seconds:.0f} s: {self.message}"
        return f"{self.mutation.name}: {verdict} {how}"


def read_mutations(path: Path = LIST) -> tuple[Mutation, ...]:
    """Return the list.

    Raises
    ------
    HilError
        When an entry says what cannot be, or a name stands twice.
    """
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutation"]:
        if odd := set(entry) ^ _KEYS - ({"rig"} - set(entry)):
            raise HilError(f"{path.name}: {entry.get('name')}: lacks or does not know {', '.join(sorted(odd))}")
        found.append(Mutation(**entry))
    names = [mutation.name for mutation in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise HilError(f"{path.name}: {', '.join(sorted(twice))} stands twice")
    return tuple(found)


def check(mutations: Sequence[Mutation], work: Path, tell: Callable[[str], None]) -> tuple[Outcome, ...]:
    """Run every mutation in a copy of its own under ``work``; the unchanged copy must pass all their tests first.

    One that does not fit, or cannot be compiled, is one that was not caught.

    Raises
    ------
    HilError
        When the unchanged tree fails.
    """
    _pass_unchanged(mutations, _copy(work / "unchanged"))
    tell(f"unchanged: passes {len({m.test for m in mutations})} tests")
    outcomes = []
    for mutation in mutations:
        began_s = time.monotonic()
        tree = _copy(work / mutation.name)
        try:
            mutation.apply(tree)
            if mutation.is_c:
                _build(tree, mutation)
            is_caught, message = try_test(tree, mutation)
        except HilError as error:
            is_caught, message = False, str(error)
        seconds = time.monotonic() - began_s
        outcomes.append(Outcome(mutation=mutation, is_caught=is_caught, message=message, seconds=seconds))
        tell(outcomes[-1].line())
        shutil.rmtree(tree)
    return tuple(outcomes)


def try_test(tree: Path, mutation: Mutation) -> tuple[bool, str]:
    """Return whether the test of a fault that is planted in ``tree`` fails as it should, and what it says."""
    done = _test(tree, [mutation.test], is_on_rig=mutation.rig)
    # A test that cannot even begin is no catch: pytest calls that an error, not a failure.
    ended = re.search(r"^(FAILED|ERROR) \S+(?: - (.*))?$", done.stdout, re.MULTILINE)
    message = (ended[2] or "") if ended else _end(done.stdout + done.stderr)
    is_caught = done.returncode == 1 and ended is not None and ended[1] == "FAILED"
    if is_caught and not re.search(mutation.says, message):
        return False, f"fails for another reason than {mutation.says!r}: {message}"
    return is_caught, message


def _pass_unchanged(mutations: Sequence[Mutation], tree: Path) -> None:
    for is_on_rig in (True, False):
        tests = sorted({m.test for m in mutations if m.rig == is_on_rig})
        done = _test(tree, tests, is_on_rig=is_on_rig) if tests else None
        if done and (done.returncode != 0 or "passed" not in done.stdout):
            raise HilError(f"the unchanged tree fails its own tests: {_end(done.stdout + done.stderr)}")
    shutil.rmtree(tree)


def _copy(tree: Path) -> Path:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    built = [str(path.relative_to(ROOT)) for pattern in BUILT for path in ROOT.glob(pattern)]
    for name in (*filter(None, listed.split("\0")), *built):
        source, target = ROOT / name, tree / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return tree


def _build(tree: Path, mutation: Mutation) -> None:
    """Build anew what holds the file: the engine alone, with the kernels in it, where a rig's box is all that runs."""
    is_engine = mutation.rig and ENGINE_SOURCE.fullmatch(mutation.file)
    rooms = ("dsp_kernels", "firmware") if mutation.file.startswith("dsp_kernels/") else ("firmware",)
    for words in [["-c", BUILD_ENGINE]] if is_engine else [["-m", f"{room}.build_ffi"] for room in rooms]:
        done = _python(tree, words, BUILD_S)
        if done.returncode != 0:
            raise HilError(f"{mutation.name}: does not compile: {_end(done.stderr)}")


def _test(tree: Path, tests: Sequence[str], *, is_on_rig: bool) -> subprocess.CompletedProcess[str]:
    options = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(["--rig", "sim"] if is_on_rig else [])]
    return _python(tree, [*options, *tests], TEST_S * len(tests))


def _python(tree: Path, arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": COLUMNS}
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise HilError(f"{tree.name}: no end after {timeout_s:.0f} s of {' '.join(arguments[:3])}") from None


def _end(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-5:])
