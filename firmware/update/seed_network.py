"""Gives the network what was written into the image for it: a fixed address in place of DHCP, for systemd-networkd.

Runs once a boot, before the network, as root; a seed that says nothing about it leaves everything as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..atomic import Outputs
from ..errors import EvenhandError
from .seed import Seed, read_seed


def network_text(seed: Seed) -> str:
    """Return the file of systemd-networkd, systemd.network(5); empty where nothing was said."""
    if seed.address is None:
        return ""
    lines = ["# From the seed of the image.", "[Match]", "Type=ether", "", "[Network]", f"Address={seed.address}"]
    lines += [f"Gateway={seed.gateway}"] if seed.gateway else []
    lines += [f"DNS={seed.dns}"] if seed.dns else []
    return "\n".join([*lines, ""])


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware.update.seed_network", description=__doc__)
    parser.add_argument("--seed", type=Path, required=True, help="what `evenhand flash` wrote")
    parser.add_argument("--out", type=Path, default=Path("/run/systemd/network/05-evenhand-seed.network"))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the file, or nothing; return 0, or 1 when that was refused."""
    options = _arguments().parse_args(argv)
    text = network_text(read_seed(options.seed))
    try:
        if text:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with Outputs() as outputs:
                outputs.stage(options.out).write_text(text, encoding="ascii")
                outputs.commit()
            options.out.chmod(0o644)
    except (EvenhandError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
