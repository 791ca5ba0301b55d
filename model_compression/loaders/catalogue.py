"""Every data set that can be read, by the name that the command takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from . import ami, medleydb, moisesdb, named_files, sigsep, slakh2100
from .session import LoadedSession

LOADERS: dict[str, Callable[[Path], Iterator[LoadedSession]]] = {
    "medleydb": medleydb.sessions,
    "musdb18": sigsep.musdb18_sessions,
    "moisesdb": moisesdb.sessions,
    "slakh2100": slakh2100.sessions,
    "cambridge_mt": named_files.cambridge_mt_sessions,
    "enst_drums": named_files.enst_sessions,
    "dsd100": sigsep.dsd100_sessions,
    "ami": ami.sessions,
    "stems": named_files.stem_sessions,
}
