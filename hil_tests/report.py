"""One self-contained page of a run on rigs: what was promised, what was measured, and the evidence of what failed."""

from __future__ import annotations

import html
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from .mutations_report import OUT as MUTATIONS
from .mutations_report import read_record, section
from .rig import Rig

CSS = Path(__file__).with_name("report.css")
SENTENCES = {"passed": "kept", "failed": "broken", "error": "broken", "skipped": "not run"}


class Page:
    """A pytest plug-in that writes the page at the end of a run.

    Parameters
    ----------
    path
        The file; it is replaced whole.
    rigs
        The rigs of the run.
    """

    def __init__(self, path: Path, rigs: Sequence[Rig]) -> None:
        self._path, self._rigs = path, rigs
        self._tests: dict[str, dict[str, Any]] = {}
        self._began_s = time.time()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one phase of one test."""
        rig = getattr(report, "rig", None)
        if rig is None and not (report.skipped and any(f"[{r.name}" in report.nodeid for r in self._rigs)):
            return
        test = self._tests.setdefault(
            report.nodeid, {"rig": rig, "outcome": "passed", "seconds": 0.0, "why": "", "figures": {}, "evidence": []}
        )
        test["seconds"] += report.duration
        test["figures"] |= dict(report.user_properties)
        if report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            test |= {"outcome": "skipped", "why": why.removeprefix("Skipped: ")}
        if report.failed:
            test["outcome"] = "failed" if report.when == "call" else "error"
            test["why"] = f"{test['why']}\n{report.longreprtext}".strip()
            test["evidence"] += getattr(report, "evidence", [])

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.part")
        part.write_text(self.html(), encoding="utf-8")
        part.replace(self._path)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the page is."""
        terminalreporter.write_line(f"report: {self._path}")

    def html(self) -> str:
        """Return the page."""
        tests = sorted(self._tests.items())
        counts = [(name, sum(t["outcome"] == name for _, t in tests)) for name in SENTENCES]
        told = ", ".join(f'<span class="{name}">{n} {name}</span>' for name, n in counts if n) or "no test ran"
        rigs = "; ".join(f"{_text(rig.name)} ({_text(rig.title)}: {_text(', '.join(rig.has))})" for rig in self._rigs)
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._began_s))
        parts = [
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evenhand on the bench</title>',
            f"<style>{CSS.read_text()}</style><h1>Evenhand on the bench</h1>",
            f"<p>{told} in {time.time() - self._began_s:.0f} s</p>",
            f'<p class="sub">{when}. Rigs: {rigs}. Contract {CONTRACT_ID}. Measured from {_text(platform.machine())}, '
            f"Python {platform.python_version()}.</p>",
        ]
        for suite in sorted({name.partition("::")[0] for name, _ in tests}):
            inside = [(name, test) for name, test in tests if name.startswith(f"{suite}::")]
            rows = "".join(_row(name, test) for name, test in inside)
            parts.append(f"<h2>{_text(Path(suite).stem.removeprefix('test_').replace('_', ' '))}</h2>")
            parts.append(f"<table><tr><th>promise<th>outcome<th class='figure'>s<th>figures</tr>{rows}</table>")
            parts += [_failure(name, test) for name, test in inside if test["why"] and test["outcome"] != "skipped"]
        # Beside the folders of the rigs: who plants faults checks the bench itself, whatever rig it ran on.
        planted = read_record(self._path.parent.parent / MUTATIONS.name)
        return "\n".join([*parts, "<h2>planted faults</h2>", section(planted), "</html>\n"])


def _row(name: str, test: dict[str, Any]) -> str:
    figures = ", ".join(f"{_text(key)} {_text(value)}" for key, value in test["figures"].items())
    if test["outcome"] == "skipped":
        figures = _text(test["why"])
    return (
        f'<tr><td>{_promise(name)}<td class="{test["outcome"]}">{SENTENCES[test["outcome"]]}'
        f'<td class="figure">{test["seconds"]:.1f}<td>{figures}</tr>'
    )


def _failure(name: str, test: dict[str, Any]) -> str:
    shown = "".join(_piece(piece) for piece in test["evidence"])
    return f'<h2 class="failed">{_promise(name)}</h2><pre>{_text(test["why"])}</pre>{shown}'


def _piece(piece: dict[str, str]) -> str:
    if "svg" in piece:
        inner = piece["svg"]
    elif "wav" in piece:
        inner = f'<audio controls src="data:audio/wav;base64,{piece["wav"]}"></audio>'
    else:
        inner = f"<pre>{_text(piece['text'])}</pre>"
    return f"<details open><summary>{_text(piece['title'])}</summary>{inner}</details>"


def _promise(name: str) -> str:
    """Return a test's name as the sentence it is, and the rig in brackets."""
    words, bracket, rest = name.partition("::")[2].partition("[")
    return _text(words.removeprefix("test_").replace("_", " ") + f" {bracket}{rest}")


def _text(value: Any) -> str:
    return html.escape(str(value))
