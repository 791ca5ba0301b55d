"""What the data sets call things, as our words: tables in roles.toml."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from dsp_kernels.contract.generated.contract import GENRES, ROLES

TABLES_PATH = Path(__file__).with_name("roles.toml")
FALLBACK_ROLE = "other"
_SPLIT = re.compile(r"[^a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@lru_cache(maxsize=1)
def tables() -> dict[str, dict[str, str]]:
    """Return label -> word of each table, in the order of the file; every word is one of ours, or empty."""
    with TABLES_PATH.open("rb") as file:
        raw = tomllib.load(file)
    out: dict[str, dict[str, str]] = {}
    for table, by_word in raw.items():
        known = GENRES if table == "genres" else (*ROLES, "")
        out[table] = {}
        for word, labels in by_word.items():
            if word not in known:
                raise ValueError(f"{TABLES_PATH.name}: [{table}] {word} is not a word of ours")
            for label in labels:
                if label in out[table]:
                    raise ValueError(f"{TABLES_PATH.name}: [{table}] has {label} twice")
                out[table][label] = word
    return out


def role_of(table: str, label: str) -> str | None:
    """Return the role of a label; None when the table lacks it."""
    return tables()[table].get(label.strip().lower())


def role_within(table: str, text: str) -> str | None:
    """Return the role of the first label that occurs in ``text``."""
    plain = text.lower()
    return next((role for label, role in tables()[table].items() if label in plain), None)


def role_of_name(name: str) -> str:
    """Return the role that a file's name speaks of: ``03_KickIn`` is a kick; what says nothing is ``other``."""
    words = [w for w in _SPLIT.split(_CAMEL.sub(" ", name).lower()) if w]
    together = {*words, *("".join(pair) for pair in pairwise(words))}
    together |= {" ".join(pair) for pair in pairwise(words)}
    return next((role for label, role in tables()["words"].items() if label in together), FALLBACK_ROLE)


def genre_of(label: str | None) -> str | None:
    """Return one of GENRES, or None for what we have no word for."""
    return tables()["genres"].get(label.strip().lower()) if label else None
