"""Stands for RAUC and the boot loader in tests: says what RAUC 1.8 says, and keeps its slots in a JSON file.

A bundle is a real one in layout (``bundle_making.py``); its signature is the word of who signed it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

NOISE = "rauc-Message: 17:29:07.033: Reading bundle: {}"


def main() -> int:
    """Act as ``rauc`` would."""
    state_path, words = Path(sys.argv[1]), [word for word in sys.argv[2:] if not word.startswith("--")]
    state = json.loads(state_path.read_text())
    if words[:2] == ["status", "mark-active"]:
        other = next(name for name in state["slots"] if name != state["booted"])
        state_path.write_text(json.dumps({**state, "primary": other}))
        return 0
    if state["is_going_down"] == "without service":
        print("Error creating proxy: the service is gone", file=sys.stderr)
        return 1
    if words == ["status"]:
        print(json.dumps(status(state)))
        return 0
    bundle = Path(words[1])
    print(NOISE.format(bundle), file=sys.stderr)
    manifest = manifest_of(bundle)
    if manifest["signer"] != "ca":
        print("Verification error: signature verification failed: self-signed certificate", file=sys.stderr)
        return 1
    if words[0] == "info":
        time.sleep(state["info_s"])
        print(json.dumps({key: manifest[key] for key in ("compatible", "version", "description")}))
        return 0
    return install(state_path, state, manifest)


def status(state: dict[str, Any]) -> dict[str, Any]:
    """Return what ``rauc status --detailed --output-format=json`` prints."""
    number = {name: f"rootfs.{n}" for n, name in enumerate(state["slots"])}
    slots = [
        {number[name]: {
            "class": "rootfs", "bootname": name, "state": "booted" if name == state["booted"] else "inactive",
            "boot_status": "good" if slot["is_good"] else "bad",
            "slot_status": {"bundle": {"compatible": state["compatible"], "version": slot["version"]}},
        }}
        for name, slot in state["slots"].items()
    ]  # fmt: skip
    slots.append({"boot.0": {"class": "boot", "bootname": None, "state": "active", "parent": "rootfs.0"}})
    primary = None if state["is_going_down"] else number[state["primary"]]
    return {"compatible": state["compatible"], "booted": state["booted"], "boot_primary": primary, "slots": slots}


def install(state_path: Path, state: dict[str, Any], manifest: dict[str, str]) -> int:
    """Write the other slot step by step; it is on trial at the next start."""
    other = next(name for name in state["slots"] if name != state["booted"])
    state["slots"][other] = {"version": None, "is_good": False}
    state_path.write_text(json.dumps(state))
    print("installing")
    for percent in range(0, 100, 20):
        print(f"{percent:3d}% Copying image to rootfs.1", flush=True)
        time.sleep(state["step_s"])
    if state["fails"]:
        print(f"100% Installing failed.\nLastError: {state['fails']}\nInstalling failed")
        return 1
    state["slots"][other] = {"version": manifest["version"], "is_good": True}
    state_path.write_text(json.dumps({**state, "trial": other}))
    print("100% Installing done.\nInstalling succeeded")
    return 0


def manifest_of(bundle: Path) -> dict[str, str]:
    """Return what a test wrote into the signature."""
    raw = bundle.read_bytes()
    signature = raw[-8 - int.from_bytes(raw[-8:], "big") : -8].decode("latin-1")
    lines = [line.partition("=") for line in signature[signature.index("[update]") :].splitlines()]
    return {key: value for key, _, value in lines}


if __name__ == "__main__":
    sys.exit(main())
