"""How much of a disk a recording leaves free, and whose fault it is when a disk takes no more."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

# The system lives on the same card: logs, scenes and updates need room when a recording has long taken its own.
RESERVE_BYTES = 512 << 20
RESERVE_SHARE = 0.02
MAX_RESERVE_BYTES = 4 << 30  # 2 % of a large disk is more than anybody needs


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Watches the disk that ``folder`` lies on; ``reserve_bytes`` None for the usual reserve."""

    folder: Path
    reserve_bytes: int | None = None

    def room_bytes(self) -> int:
        """Return what may still be written."""
        disk = os.statvfs(self.folder)
        reserve_bytes = self.reserve_bytes
        if reserve_bytes is None:
            share_bytes = int(disk.f_blocks * disk.f_frsize * RESERVE_SHARE)
            reserve_bytes = min(max(RESERVE_BYTES, share_bytes), MAX_RESERVE_BYTES)
        return disk.f_bavail * disk.f_frsize - reserve_bytes


def why(error: OSError) -> str:
    """Return what a disk that refuses to be written to means for the recording."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    if error.errno == errno.EFBIG:
        return "the file system takes no larger file"
    return f"the disk fails ({error.strerror})"
