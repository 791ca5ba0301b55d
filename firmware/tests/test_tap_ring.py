"""What audio hands to analysis arrives whole, however far the analysis lags."""

from __future__ import annotations

import subprocess
from pathlib import Path

from firmware.build_ffi import RT_DIR
from firmware.tests import harnesses


def test_analysis_reads_every_frame_in_order_and_one_that_keeps_up_reads_the_same_memory_again(tmp_path: Path) -> None:
    program, sources = tmp_path / "taps", (harnesses.HARNESS_DIR / "taps.c", RT_DIR / "tap_ring.c")
    subprocess.run(["cc", "-O1", *harnesses.INCLUDES, *map(str, sources), "-o", str(program)], check=True)
    done = harnesses.run(program)
    assert (done.returncode, done.stdout) == (0, "0 wrong, 0 elsewhere\n")
