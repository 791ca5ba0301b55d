"""From a distilled run to files: each student in int8 and f16, through the gate, described, with golden vectors."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nets.layout import heads_as_table
from ..training.files import write_bytes, write_text
from ..training.fit import settle
from ..training.run import Run
from ..training.students import Students, load
from ..training.weights import n_parameters
from .export import Precision, to_tflite
from .gate import Candidate, check
from .onnx_export import write_onnx
from .stream import Scenes, float_tick

NETS = ("role", "song", "mix")
PRECISIONS: tuple[Precision, ...] = ("int8", "f16")
N_CHECK_TICKS = 100  # at least; three memories of the network where that is longer
SONG_EVERY = 4  # ticks of the song network between two that calibrate
N_GOLDEN_TICKS = 24
CHECK_SEED = 99
OUTPUTS = {"role": "role_logits", "song": "z", "mix": "y"}


def quantise(run: Run) -> dict[str, Any]:
    """Convert, check and write everything under ``tflite``, ``onnx`` and ``golden``; return the gate's figures."""
    settle(run.recipe.threads)
    students = load(run.folder)
    scenes = Scenes(students, run.sessions("train"), max_channels=16)
    unseen = Scenes(students, run.sessions("valid"), max_channels=16)
    files: dict[Path, bytes] = {}
    reports, description = [], ["tick_ms = 20\n"]
    for net in NETS:
        every = SONG_EVERY if net == "song" else 1
        feeds = list(scenes.feeds(net, run.recipe.n_calibration_ticks, run.recipe.seed, every=every))
        stream, expected, n_channels = check_stream(unseen, net)
        for precision in PRECISIONS:
            if not run.is_quiet:
                print(f"\r{net} {precision:<50}", end="", file=sys.stderr, flush=True)
            model = to_tflite(students.net(net), precision, feeds)
            report = check(
                Candidate(
                    net=net,
                    precision=precision,
                    model=model,
                    feeds=stream,
                    expected=expected,
                    n_channels=n_channels,
                    delays_ticks=students.net(net).delays_ticks(),
                    width=getattr(students.net(net).size, "width", 1),
                )
            )
            reports.append(report)
            files[run.folder / "tflite" / f"{net}_{precision}.tflite"] = model
        files |= golden_files(run.folder / "golden", net, stream, expected)
        description.append(_described(students, net, expected, stream))
    if not run.is_quiet:
        print(file=sys.stderr)
    for path, data in files.items():
        write_bytes(path, data)
    write_text(run.folder / "tflite" / "net.toml", "\n".join(description))
    for net in NETS:
        write_onnx(students.net(net), net, run.folder / "onnx" / f"{net}.onnx", run.recipe.name)
    return {f"{r.net}_{r.precision}": r.measured for r in reports}


def check_stream(scenes: Scenes, net: str) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], int]:
    """Return a stream that calibration has not seen, what the float network says, and the number of channels."""
    n_ticks = max(N_CHECK_TICKS, 3 * sum(scenes.students.net(net).delays_ticks()))
    feeds = list(itertools.islice(scenes.feeds(net, n_ticks, CHECK_SEED), n_ticks))
    if net != "role":  # one unbroken scene, since state must be able to run through
        feeds = feeds[: _unbroken(feeds)]
    tick = float_tick(scenes.students.net(net))
    expected = np.stack([tick(feed)[OUTPUTS[net]] for feed in feeds])
    stream = {k: np.stack([feed[k] for feed in feeds]) for k in feeds[0] if not k.startswith("tap_")}
    return stream, expected, int(stream["mask"][0].sum()) if net == "mix" else 1


def golden_files(
    folder: Path, net: str, stream: dict[str, NDArray[np.float32]], expected: NDArray[np.float32]
) -> dict[Path, bytes]:
    """Raw little-endian float32 of the first ticks: inputs and what the float network answers."""
    arrays = {**stream, OUTPUTS[net]: expected}
    return {
        folder / f"golden_{net}_{name}.f32": values[:N_GOLDEN_TICKS].astype("<f4").tobytes()
        for name, values in arrays.items()
    }


def _unbroken(feeds: list[dict[str, NDArray[np.float32]]]) -> int:
    """Ticks until the state starts from zero again."""
    for t, feed in enumerate(feeds[1:], 1):
        if not feed["tap_0"].any():
            return t
    return len(feeds)


def _described(
    students: Students, net: str, expected: NDArray[np.float32], stream: dict[str, NDArray[np.float32]]
) -> str:
    network = students.net(net)
    lines = [
        f"[{net}]",
        f'files = {{ int8 = "{net}_int8.tflite", f16 = "{net}_f16.tflite" }}',
        f"n_parameters = {n_parameters(network)}",
        f"n_mac = {network.n_mac(32)}  # of one tick, with 32 channels where they count",
        f"is_any_channels = {str(net == 'mix').lower()}  # the first axis of what has rows of channels may be resized",
        f"delays_ticks = {list(network.delays_ticks())}  # tap_k is new_k of so many ticks ago",
        f'output = "{OUTPUTS[net]}"',
    ]
    shapes = ", ".join(f"{k} = {[0 if n is None else n for n in shape]}" for k, shape in network.step_inputs().items())
    lines.append(f"inputs = {{ {shapes} }}  # 0 is the number of channels")
    golden = {k: list(v[:N_GOLDEN_TICKS].shape) for k, v in {**stream, OUTPUTS[net]: expected}.items()}
    lines.append("golden = { " + ", ".join(f"{k} = {shape}" for k, shape in golden.items()) + " }")
    for head in heads_as_table(net):
        lines.append(f"[[{net}.heads]]")
        lines += [f"{k} = {v!r}" if not isinstance(v, str) else f'{k} = "{v}"' for k, v in head.items()]
    return "\n".join(lines) + "\n"
