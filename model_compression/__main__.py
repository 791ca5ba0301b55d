"""The command ``evenhand-model``: as yet it names its version and its contract."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version

from dsp_kernels.contract.generated.contract import CONTRACT_ID


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line; 0 for done, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="evenhand-model",
        description="Trains, shrinks and checks the models that an Evenhand box runs.",
        epilog="example: evenhand-model --version",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {version('evenhand')}, contract {CONTRACT_ID}"
    )
    parser.parse_args(arguments)
    parser.print_help(sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
