"""Sound through the loopback card of an emulated box: its other end is played and recorded inside the guest.

What is played goes in over the network, and what was recorded comes out again. Both ends of the card move with the
guest's kernel, some frames a tick; how far each is at the same tick says which recorded frame is which played one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from board_configs.board import Board
from hil_tests.board import BLOCK_FRAMES, Heard
from hil_tests.errors import HilError

MAX_S = 60.0  # of one stream: it lies in the guest's memory, twice
MORE_FRAMES = 4800  # of silence behind it: the recorder hands over whole periods
START_S = 20.0  # of the guest's time, for programs
ARRIVAL_S = 60.0  # of a busy machine, for what the guest has sent
HOST = "10.0.2.2"  # this machine, as the emulator's network calls it
FOLDER = "/dev/shm/evenhand-bench"
FULL_SCALE = 2.0**31
SCRIPT = """\
# take PORT CARD RATE IN OUT: play what that port gives, record meanwhile, say how far both were, and give it back.
set -eu
cd "${0%/*}"
port="/dev/tcp/HOST/$1" card=$2 words="-q -D hw:CARD=$2,DEV=1 -t raw -f S32_LE -r $3" n_in=$4 n_out=$5
room="--buffer-time=500000 --period-time=40000"

look() { # at one direction
    local key first second
    state=closed at=0 since=never
    while read -r key first second; do
        case $key in state:) state=$first ;; trigger_time:) since=$first ;; hw_ptr) at=$second ;; esac
    done <"/proc/asound/$card/pcm1$1/sub0/status"
}

say_where() { # both are at one tick of the kernel when one of them is before and after the other
    while look p; play="$state $at $since"; look c; record="$state $at $since"; look p
        [ "$state $at $since" != "$play" ]; do :; done
    case $play in RUNNING* | DRAINING*) echo "at $play $record" ;; *) return 1 ;; esac
}

cat <"$port" >played
arecord $words -c "$n_out" $room heard & recorder=$!
trap 'kill $recorder 2>/dev/null || :' EXIT
until look c; [ "$state" = RUNNING ]; do kill -0 $recorder; sleep 0.02; done
aplay $words -c "$n_in" $room played & player=$!
until say_where; do kill -0 $player; sleep 0.02; done
while say_where; do sleep 0.2; done
wait $player
kill $recorder
wait $recorder || :
cat heard >"$port"
rm played heard
""".replace("HOST", HOST)


class LoopLink:
    """An ``AudioPort`` of ``hil_tests.board``.

    Parameters
    ----------
    board
        Whose main card is the kernel's loopback.
    run
        Runs a command in the guest within so many seconds of its own time.
    """

    def __init__(self, board: Board, run: Callable[[str, float], str]) -> None:
        card = board.main_card
        assert card.n_capture is not None
        assert card.n_playback is not None
        self.sample_rate_hz, self.n_inputs = board.audio.sample_rate_hz, card.n_capture
        self._n_channels, self._card = card.n_playback, card.match.id
        self._column = {output.name: output.channel - 1 for output in board.outputs}
        self.output_names = tuple(self._column)
        self._run = run
        self._n_played = 0

    def stream(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Heard]:
        """Play ``blocks``, at most a minute in all, and yield what was heard in the very same frames.

        Raises
        ------
        HilError
            When there is no sound, or when player or recorder lost frames of their own.
        """
        played: list[NDArray[np.float32]] = []
        for block in blocks:
            if block.ndim != 2 or block.shape[1] != self.n_inputs:
                raise HilError(f"a block of shape {block.shape}; this rig plays (n_frames, {self.n_inputs})")
            played.append(block)
            if sum(map(len, played)) > MAX_S * self.sample_rate_hz:
                raise HilError(f"more than {MAX_S:.0f} s of sound in one stream; this rig keeps it in memory")
        if not played:
            return
        heard = self._take(np.concatenate(played))
        for at in range(0, len(heard), BLOCK_FRAMES):
            yield Heard(first_frame=self._n_played + at, sound=heard[at : at + BLOCK_FRAMES])
        self._n_played += len(heard)

    def _take(self, played: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what was heard while ``played`` went in."""
        silence = np.zeros((MORE_FRAMES, self.n_inputs), np.float32)
        samples = np.clip(np.concatenate([played, silence]) * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1).astype("<i4")
        said, recorded = self._exchanged(samples.tobytes(), len(samples) / self.sample_rate_hz)
        places = [line.split()[1:] for line in said.splitlines() if line.startswith("at ")]
        shifts = {(int(to) - int(at), since, begun) for _, at, since, _, to, begun in places}
        if len(shifts) != 1:
            raise HilError(f"player or recorder in the guest lost frames of their own: {sorted(shifts)}")
        ((shift_frames, _, _),) = shifts
        heard = np.frombuffer(recorded, "<i4").reshape(-1, self._n_channels)[shift_frames:][: len(played)]
        if len(heard) < len(played):
            raise HilError(f"the recorder in the guest gave {len(heard)} of {len(played)} frames")
        return (heard[:, list(self._column.values())] / FULL_SCALE).astype(np.float32)

    def _exchanged(self, samples: bytes, sound_s: float) -> tuple[str, bytes]:
        """Return what the script said and what it recorded."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            words = f"{port} {self._card} {self.sample_rate_hz} {self.n_inputs} {self._n_channels}"
            got = bytearray()
            exchange = threading.Thread(target=_serve, args=(server, (SCRIPT.encode(), samples), got), daemon=True)
            exchange.start()
            try:
                said = self._run(
                    f"mkdir -p {FOLDER}; cat </dev/tcp/{HOST}/{port} >{FOLDER}/take; bash {FOLDER}/take {words} 2>&1",
                    START_S + 2.0 * sound_s,
                )
                exchange.join(ARRIVAL_S)  # the guest is done with it before this machine is
            finally:
                with suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)  # it may wait for who will not come
                exchange.join()
        return said, bytes(got)


def _serve(server: socket.socket, payloads: tuple[bytes, ...], got: bytearray) -> None:
    """Give each payload to who comes, and take what the last one brings."""
    with suppress(OSError):
        for payload in payloads:
            with server.accept()[0] as link:
                link.sendall(payload)
        with server.accept()[0] as link:
            while part := link.recv(1 << 16):
                got += part
