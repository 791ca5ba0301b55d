"""What became of the planted faults, as a page, as JUnit, and as the record that the page of every run shows again."""

from __future__ import annotations

import hashlib
import html
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .errors import HilError
from .mutations import LIST, Mutation, Outcome, read_mutations

CSS = Path(__file__).with_name("report.css")
OUT = Path("out/hil/mutations")
RECORD, PAGE, JUNIT = "mutations.json", "report.html", "junit.xml"


def write_reports(outcomes: Sequence[Outcome], out: Path, *, began_s: float, list_sha256: str) -> None:
    """Write record, page and JUnit file of a run of the list of that digest, which began at ``began_s`` since 1970.

    Raises
    ------
    HilError
        When the folder does not take them.
    """
    record = {
        "began_utc": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began_s)), "list_sha256": list_sha256,
        "outcomes": [
            {"name": o.mutation.name, "is_caught": o.is_caught, "message": o.message, "seconds": round(o.seconds, 1)}
            for o in outcomes
        ],
    }  # fmt: skip
    page = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evenhand: planted faults</title>',
        f"<style>{CSS.read_text()}</style><h1>Planted faults</h1>", section(record), "</html>\n",
    ]  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (out / PAGE).write_text("\n".join(page), encoding="utf-8")
        ElementTree.ElementTree(_junit(outcomes)).write(out / JUNIT, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise HilError(f"{out}: cannot be written ({error.strerror}); name another folder with --out") from None


def read_record(out: Path) -> dict[str, Any] | None:
    """Return what an earlier run left there, or None."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return record if {"began_utc", "list_sha256", "outcomes"} <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def section(record: dict[str, Any] | None) -> str:
    """Return the list, with what a run made of it where there was one, as a part of a page."""
    found = {outcome["name"]: outcome for outcome in record["outcomes"]} if record else {}
    mutations = read_mutations()
    n_caught = sum(found.get(m.name, {}).get("is_caught", False) for m in mutations)
    told = f"{n_caught} of {len(mutations)} faults planted in copies of the firmware were caught"
    if record is None:
        told = f"{len(mutations)} faults are listed; <code>python -m hil_tests mutations</code> plants them"
    elif record["list_sha256"] == list_digest():
        told += f", {_text(record['began_utc'])}"
    else:
        told += f", {_text(record['began_utc'])}, by an older list than this one"
    rows = "".join(_row(m, found.get(m.name)) for m in mutations)
    head = "<tr><th>fault<th>outcome<th>s<th>the test that must fail, and what it said</tr>"
    return f"<p>{told}</p><table>{head}{rows}</table>"


def _row(mutation: Mutation, outcome: dict[str, Any] | None) -> str:
    css_class, word, seconds, message = "skipped", "not run", "", ""
    if outcome:
        css_class, word = ("passed", "caught") if outcome["is_caught"] else ("failed", "not caught")
        seconds, message = f"{outcome['seconds']:.0f}", f"<br>{_text(outcome['message'])}"
    what = f"{_text(mutation.fault)}<br><small>{_text(mutation.name)}, {_text(mutation.file)}</small>"
    return f'<tr><td>{what}<td class="{css_class}">{word}<td>{seconds}<td>{_text(mutation.test)}{message}</tr>'


def _junit(outcomes: Sequence[Outcome]) -> ElementTree.Element:
    n_missed = sum(not o.is_caught for o in outcomes)
    suite = ElementTree.Element(
        "testsuite", name="hil-mutations", tests=str(len(outcomes)), failures=str(n_missed), errors="0",
        time=f"{sum(o.seconds for o in outcomes):.1f}",
    )  # fmt: skip
    for o in outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname="mutations", name=o.mutation.name)
        case.set("time", f"{o.seconds:.1f}")
        if not o.is_caught:
            ElementTree.SubElement(case, "failure", message=_printable(o.message)).text = o.mutation.test
        ElementTree.SubElement(case, "system-out").text = f"{o.mutation.fault}: {_printable(o.message)}"
    return suite


def list_digest() -> str:
    """Return the SHA-256 of the list as it is now."""
    return hashlib.sha256(LIST.read_bytes()).hexdigest()


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _text(value: Any) -> str:
    return html.escape(str(value))
