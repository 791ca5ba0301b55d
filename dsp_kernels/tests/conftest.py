"""Fixtures of the kernel tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsp_kernels import native

LIBRARY_VARIABLE = "EVENHAND_KERNELS"  # a shared library of `build_ffi --library`: another compiler's or a sanitizer's


@pytest.fixture(scope="session")
def library() -> native.Library:
    """Return the kernels as installed, or those that EVENHAND_KERNELS names."""
    path = os.environ.get(LIBRARY_VARIABLE)
    return native.opened(Path(path)) if path else native.installed()
