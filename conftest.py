"""For every test process: once TensorFlow is loaded tflite-runtime 2.14 makes no interpreter; the other order works."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):
    import tflite_runtime.interpreter  # noqa: F401
