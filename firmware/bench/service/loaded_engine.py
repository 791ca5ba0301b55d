"""The engine process as it is, with load in its own interpreter: ``python -m firmware.bench.service.loaded_engine``."""

from __future__ import annotations

import sys

from firmware import engine_process

from .load import start_beside_loop

if __name__ == "__main__":
    start_beside_loop(has_models=False)  # they are no part of this process; they run in one of their own
    sys.exit(engine_process.main())
