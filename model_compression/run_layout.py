"""What a trained and converted run holds, as the bundle's writer wants it: networks as tables, and where files lie."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import ModelError

PRECISIONS = ("int8", "f16")
MEMORY_S = 20.0  # of role evidence, in seconds of activity: what the temperature was fitted with
SIGMA_GROUPS = ("offset_lu", "pan_abs", "tone_db", "compressor", "send_db")
_ANY = 0  # in a shape of net.toml: the number of channels


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of a run; ModelError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); a run has it") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file; ModelError where there is none."""
    try:
        return tomllib.loads(read_file(path).decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None


def find(run: Path, name: str) -> Path:
    """Return where a file of the run lies: in the folder itself, or where conversion writes such files."""
    for folder in (run, run / "tflite", run / "golden"):
        if (folder / name).exists():
            return folder / name
    return run / name


def described(run: Path) -> dict[str, Any]:
    """Return what ``net.toml`` of the run says, with its networks as a list ``net``.

    Conversion writes ``tflite/net.toml`` with a table a network; name and version then stand in ``bundle.toml``, the
    temperature in ``calibration.toml``.
    """
    converted = run / "tflite" / "net.toml"
    if not converted.exists():
        return read_toml(run / "net.toml")
    told = read_toml(converted)
    nets = [
        _table(name, precision, table)
        for name, table in told.items()
        if isinstance(table, dict)
        for precision in PRECISIONS
        if precision in table["files"]
    ]
    calibration = read_toml(run / "calibration.toml")
    evidence = {
        "temperature": float(calibration["role"]["temperature"]), "memory_s": MEMORY_S,
        "context_share": float(calibration["role"].get("context_share", 0.0)),  # older runs have none
        "sigma_scale": [float(calibration["sigma_scale"][group]) for group in SIGMA_GROUPS],
    }  # fmt: skip
    named = run / "bundle.toml"
    return {"evidence": evidence, **(read_toml(named) if named.exists() else {}), "net": nets}


def _table(name: str, precision: str, table: dict[str, Any]) -> dict[str, Any]:
    inputs = {k: [-1 if n == _ANY else n for n in shape] for k, shape in table["inputs"].items()}
    rows = -1 if table["is_any_channels"] else 1
    outputs = {table["output"]: [rows, sum(head["count"] for head in table["heads"])]}
    outputs |= {f"new_{k}": inputs[f"tap_{k}"] for k in range(len(table["delays_ticks"]))}

    def tensors(shapes: dict[str, list[int]]) -> list[dict[str, Any]]:
        return [{"name": k, "tensor": k, "shape": shape} for k, shape in shapes.items()]

    return {
        "name": name, "precision": precision, "file": table["files"][precision], "n_channels": 0,
        "inputs": tensors(inputs), "outputs": tensors(outputs), "heads": table["heads"],
        "states": [
            {"input": f"tap_{k}", "output": f"new_{k}", "delay_ticks": n} for k, n in enumerate(table["delays_ticks"])
        ],
    }  # fmt: skip
