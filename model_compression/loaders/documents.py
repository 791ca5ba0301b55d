"""Metadata files of data sets: YAML, JSON and XML, refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..errors import ModelError


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelError(f"{path}: is not there; is the data set complete?") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); download it again") from None


def mapping_of_yaml(path: Path) -> dict[Any, Any]:
    """Return a YAML file whose top is a mapping."""
    import yaml

    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise ModelError(f"{path}{line}: is no YAML; download it again") from None
    return _mapping(path, content)


def mapping_of_json(path: Path) -> dict[str, Any]:
    """Return a JSON file whose top is an object."""
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}, line {error.lineno}: is no JSON; download it again") from None
    return _mapping(path, content)


def _mapping(path: Path, content: Any) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no table of keys; is it the file that it is named after?")
    return content


def entry(path: Path, table: Any, key: Any, kind: type) -> Any:
    """Return ``table[key]`` of ``kind``, or refuse with the key's name."""
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, kind):
        raise ModelError(f"{path}: lacks {key}, or it is no {kind.__name__}; download it again")
    return value


def xml_root(path: Path) -> ElementTree.Element:
    """Return the root of an XML file; one that defines entities is refused."""
    text = _text(path)
    if "<!ENTITY" in text:
        raise ModelError(f"{path}: defines entities, which no file of the set does; download it again")
    try:
        return ElementTree.fromstring(text.encode("utf-8"))
    except ElementTree.ParseError as error:
        raise ModelError(f"{path}, line {error.position[0]}: is no XML; download it again") from None
