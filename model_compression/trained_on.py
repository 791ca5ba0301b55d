"""What a run was trained on: processor, accelerators, versions. For its card."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from .run_layout import read_toml
from .toml_text import toml_text
from .training.files import write_text

FILE = "trained_on.toml"
_CPUS = Path("/proc/cpuinfo")


def note_machine(run: Path, stage: str) -> None:
    """Add to a run on what its ``stage`` was trained; call it where TensorFlow is loaded."""
    import tensorflow as tf

    path = run / FILE
    devices = [tf.config.experimental.get_device_details(d).get("device_name", "a GPU") for d in
               tf.config.list_physical_devices("GPU")]  # fmt: skip
    told = {
        "processor": _processor(), "cores": len(os.sched_getaffinity(0)), "accelerators": devices,
        "python": platform.python_version(), "tensorflow": metadata.version("tensorflow"),
    }  # fmt: skip
    write_text(path, toml_text({**(read_toml(path) if path.exists() else {}), stage: told}))


def _processor() -> str:
    lines = _CPUS.read_text(encoding="utf-8").splitlines() if _CPUS.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
