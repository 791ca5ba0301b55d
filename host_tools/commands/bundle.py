"""``evenhand bundle``: look into a firmware bundle, verify it, sign it anew."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ..bundle_file import read_bundle
from ..console import Json, note, say, say_json, size_text
from ..errors import HostError
from ..guard import guarded

NAME = "bundle"
GROUP = typer.Typer(
    help="Firmware bundles: inspect, verify, sign.", no_args_is_help=True,
    epilog="example: evenhand bundle verify evenhand-0.2.0.raucb --keyring keys/ca.pem",
)  # fmt: skip
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A .raucb file.")]
Keyring = Annotated[Path, typer.Option("--keyring", metavar="PEM", help="The authority that boxes trust.")]


@GROUP.command("inspect", epilog="example: evenhand bundle inspect evenhand-0.2.0.raucb")
@guarded
def inspect(bundle: Bundle, json: Json = False) -> None:
    """Show what a bundle says of itself; whether that is true only `verify` and the box say."""
    read = read_bundle(bundle)
    record = {
        "version": read.version, "board": read.board, "images": list(read.images), "size_bytes": read.size_bytes,
        "notes": read.notes, "is_verified": False,
    }  # fmt: skip
    if json:
        say_json(record)
        return
    say(f"{read.version} for {read.board}, {size_text(read.size_bytes)}, {', '.join(read.images)}: not verified")
    if read.notes:
        say(read.notes.rstrip())


@GROUP.command("verify", epilog="example: evenhand bundle verify evenhand-0.2.0.raucb --keyring keys/ca.pem")
@guarded
def verify(bundle: Bundle, keyring: Keyring, json: Json = False) -> None:
    """Check the signature and every byte, as a box does; needs `rauc` on this machine."""
    read = read_bundle(bundle)
    with tempfile.TemporaryDirectory(prefix="evenhand-bundle-") as folder:
        # RAUC looks at the payload of a bundle only where it takes it apart.
        _rauc([f"--keyring={keyring}", "extract", str(bundle), str(Path(folder) / "content")], str(bundle))
    record = {"version": read.version, "board": read.board, "is_verified": True}
    say_json(record) if json else say(
        f"{bundle}: {read.version} for {read.board}, whole, and signed by whom boxes trust"
    )


@GROUP.command("sign", epilog="example: evenhand bundle sign in.raucb out.raucb --keys keys")
@guarded
def sign(
    bundle: Bundle,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle with its new signature.")],
    keys: Annotated[Path | None, typer.Option("--keys", metavar="DIR", help="What `evenhand keys` made.")] = None,
    certificate: Annotated[
        str | None, typer.Option("--cert", metavar="PEM|URI", help="Or a certificate, pkcs11:...")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="PEM|URI", help="And its key, pkcs11:...")] = None,
    keyring: Annotated[
        Path | None, typer.Option("--keyring", metavar="PEM", help="Whom the new one is held to.")
    ] = None,
) -> None:
    """Sign the content of a bundle anew, as for a release with a key on a token; needs `rauc` on this machine."""
    read_bundle(bundle)
    if keys is not None:
        certificate, key, keyring = str(keys / "signer.pem"), str(keys / "signer.key"), keys / "ca.pem"
    if certificate is None or key is None or keyring is None:
        raise HostError("which key? --keys DIR, or --cert, --key and --keyring")
    if out.exists():
        raise HostError(f"{out}: is there already; name another file")
    held_to = [f"--keyring={keyring}", f"--signing-keyring={keyring}"]
    words = [f"--cert={certificate}", f"--key={key}", *held_to, "resign", "--no-verify", str(bundle), str(out)]
    _rauc(words, str(bundle))
    note("made anew are signature and dates; version, notes and content are those of before")
    say(f"{out}: signed")


def _rauc(words: list[str], what: str) -> None:
    """Run RAUC.

    Raises
    ------
    HostError
        When it is not here, or with its reason.
    """
    command = shutil.which("rauc")
    if command is None:
        raise HostError("rauc: is not on this machine; apt-get install rauc squashfs-tools, or let the box verify")
    done = subprocess.run([command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        told = [line for line in said if "rauc-Message" not in line and "WARNING" not in line]
        raise HostError(f"{what}: {(told or said or ['no reason given'])[-1]}")
