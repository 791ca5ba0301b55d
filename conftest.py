"""For every test process: which files begin, and tflite-runtime before TensorFlow.

Once TensorFlow is loaded tflite-runtime 2.14 makes no interpreter; the other order works.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):
    import tflite_runtime.interpreter  # noqa: F401

LONGEST = ("test_chain.py", "test_realtime.py")
"""Files of a minute and more: they begin, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin; the others keep their order."""
    items.sort(key=lambda item: Path(item.path).name not in LONGEST)
