"""The kernels' own promises, kept once more by builds that watch every access and every operation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsp_kernels.build_ffi import ROOT, build_library

SANITIZERS = {
    "address": ("-O1", "-fsanitize=address", "-fno-sanitize-recover=all"),
    "undefined": ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"),
}
RUNTIMES = {"address": "libasan.so", "undefined": "libubsan.so"}


@pytest.mark.soak
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_every_kernel_test_passes_under_a_sanitizer(tmp_path: Path, sanitizer: str) -> None:
    library = build_library(tmp_path / f"{sanitizer}.so", compiler="gcc", flags=SANITIZERS[sanitizer])
    runtime = subprocess.run(
        ["gcc", f"-print-file-name={RUNTIMES[sanitizer]}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        "EVENHAND_KERNELS": str(library),
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # CPython keeps what it likes until it ends
    }
    # Tests that compile for themselves would build with the sanitizer preloaded into the compiler.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not soak", "-p", "no:cacheprovider", "dsp_kernels/tests"]
    command += ["--ignore=dsp_kernels/tests/test_contract.py", "--ignore=dsp_kernels/tests/test_fft.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(f"{sanitizer}: {done.stdout.splitlines()[-1]}")
