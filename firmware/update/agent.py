"""The update agent: a process of its own that answers `evenhand` on the laptop, and nothing else.

It may not do much: it has a user of its own, RAUC checks again what it hands over, and a restart is asked for by a
file that systemd watches.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from board_configs.board import Board, BoardError, load_board

from ..errors import EvenhandError
from ..system.notify import Notifier
from ..system.process import Stop, serve
from ..version import own_version
from .announcement import announced
from .api import Api, Identity, Places
from .certificate import tls_context
from .events import Events
from .http import Server
from .keep import read_json, write_json
from .pairing import Pairing
from .rauc import Rauc
from .seed import Seed, read_seed
from .sounding import Ear
from .updater import Updater
from .upload import MAX_BUNDLE_BYTES, Upload

PORT = 4717
LISTEN_S = 0.5  # between looks at the meters
N_THREADS = 6  # for what waits for the disk or a program


async def run(options: argparse.Namespace, stop: Stop) -> None:
    """Serve until ``stop`` is set."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(N_THREADS))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    board, seed = _board(options.board), read_seed(options.seed)
    options.home.mkdir(parents=True, exist_ok=True, mode=0o750)
    box_id, name = _identity(options.home, seed)
    tls, fingerprint = tls_context(options.home, box_id)
    identity = Identity(box_id=box_id, name=name, version=options.release, fingerprint=fingerprint)
    events, ear = Events(), Ear(options.segment)
    upload = Upload(options.home, max_bytes=options.max_bundle_mb << 20)
    updater = Updater(
        Rauc(options.rauc, options.rauc_option), upload, ear, events, version=identity.version,
        restart_request=options.restart_request,
    )  # fmt: skip
    pairing = Pairing(options.home, seed.pairing_code)
    places = Places(
        data=options.data, settings=options.settings, recordings=options.recordings, decisions=options.decisions,
        journalctl=options.journalctl, dumps=options.dumps, machine=options.machine,
    )  # fmt: skip
    api = Api(identity, board, places, pairing=pairing, upload=upload, updater=updater, events=events, ear=ear)
    notifier = Notifier()
    with _listening(options.listen, options.port) as listening, contextlib.closing(ear):
        port = listening.getsockname()[1]
        _say(f"{name} ({box_id}) listens on port {port}; pairing code {pairing.shown_code}")
        async with contextlib.AsyncExitStack() as stack:
            if options.announce:
                properties = {**identity.as_record(board), "fingerprint": fingerprint[:16]}
                await stack.enter_async_context(announced(properties, port, _addresses(options.listen), _say))
            tasks = [
                asyncio.create_task(Server(api.answer, tls, _say).serve(listening)),
                asyncio.create_task(_listen(ear, notifier)),
                asyncio.create_task(stopped.wait()),
            ]
            notifier.tell("READY=1")
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _listen(ear: Ear, notifier: Notifier) -> None:
    while True:
        ear.listen()
        notifier.tell("WATCHDOG=1")
        await asyncio.sleep(LISTEN_S)


def _board(name: str) -> Board:
    try:
        return load_board(name)
    except BoardError as error:
        raise EvenhandError(str(error)) from None


def _identity(home: Path, seed: Seed) -> tuple[str, str]:
    """Return the id of this box, which is its own for life, and its name."""
    kept = read_json(home / "box.json")
    if not kept.get("id"):
        box_id = secrets.token_hex(4)
        kept = {"id": box_id, "name": seed.name or f"evenhand-{box_id}"}
        write_json(home / "box.json", kept)
    return str(kept["id"]), str(kept["name"])


def _listening(host: str, port: int) -> socket.socket:
    try:
        if host:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=32)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=32, dualstack_ipv6=True)
        return socket.create_server(("", port), backlog=32)
    except OSError as error:
        raise EvenhandError(
            f"port {port} of {host or 'this machine'}: {error.strerror}; is an agent running?"
        ) from None


def _addresses(host: str) -> list[str]:
    """Return what others reach this machine at."""
    if host:
        return [host]
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # sends nothing; asks which of our addresses it would be sent from
            found.append(str(probe.getsockname()[0]))
    return found or ["127.0.0.1"]


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"agent: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.ArgumentParser:
    data = Path("/var/lib/evenhand")
    parser = argparse.ArgumentParser(prog="python -m firmware.update.agent", description=__doc__)
    parser.add_argument("--board", required=True, help="name or file of the board")
    parser.add_argument("--release", default=own_version(), help="what runs here (the installed version)")
    parser.add_argument("--home", type=Path, default=Path("/var/lib/evenhand-agent"), help="what is the agent's alone")
    parser.add_argument("--data", type=Path, default=data, help="state, scenes and memory of the mixer")
    parser.add_argument("--settings", type=Path, default=Path("/etc/evenhand/box.env"), help="settings of the units")
    parser.add_argument("--recordings", type=Path, default=data / "recordings", help="folder of the recorder")
    parser.add_argument("--decisions", type=Path, default=data / "state" / "decisions.jsonl", help="log of control")
    parser.add_argument("--segment", type=Path, default=Path("/run/evenhand/segment"), help="memory of the engine")
    parser.add_argument("--seed", type=Path, help="what `evenhand flash` wrote for the first start")
    parser.add_argument("--restart-request", type=Path, default=Path("/run/evenhand-agent/restart"), metavar="FILE",
                        help="made when the machine is to restart")  # fmt: skip
    parser.add_argument("--listen", default="", metavar="ADDRESS", help="listen here only (everywhere)")
    parser.add_argument("--port", type=int, default=PORT, help=f"({PORT})")
    parser.add_argument("--rauc", default="rauc", help="the updater's command")
    parser.add_argument("--rauc-option", action="append", default=[], help="one more word for each call of it")
    parser.add_argument("--journalctl", default="journalctl", help="reads the journal")
    parser.add_argument("--dumps", type=Path, default=Places.dumps, metavar="DIR", help="what systemd-coredump keeps")
    parser.add_argument("--machine", type=Path, default=Path("/"), metavar="DIR",
                        help="file tree in which the machine tells of supply, heat and clocks (/)")  # fmt: skip
    parser.add_argument("--max-bundle-mb", type=int, default=MAX_BUNDLE_BYTES >> 20, help="largest bundle")
    parser.add_argument("--announce", action=argparse.BooleanOptionalAction, default=True, help="be found over mDNS")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until told to end; return 0, or 1 when the start was refused."""
    return serve(_arguments(), argv, lambda options, stop: asyncio.run(run(options, stop)))


if __name__ == "__main__":
    sys.exit(main())
