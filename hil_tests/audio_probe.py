"""The probe on a box: plays signals of `hil_tests.probe` into its inputs and measures what its outputs give.

What it plays and how it reads what came back are pure functions in `hil_tests.probe`; here are only wires.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .board import BLOCK_FRAMES, AudioPort, play
from .probe import signals
from .probe.arrival import Arrival, impulse_response, measure_arrival
from .probe.automix_law import AutomixLaw, automix_law, law_signals, tone_levels_dbfs
from .probe.channel_map import ChannelMap, map_signals, measure_map
from .probe.crosstalk import Crosstalk, crosstalk_signals, measure_crosstalk
from .probe.distortion import Distortion, MultitoneDistortion, measure_distortion, measure_multitone
from .probe.dropouts import DropoutFinder, Dropouts
from .probe.errors import ProbeError
from .probe.frame_code import coded_frames
from .probe.noise import NoiseFloor, measure_noise
from .probe.response import TAIL_S, Response, measure_response

LATENCY_ROOM_S = 0.1  # recorded after the end of a signal
SETTLE_S = 0.5  # of a steady signal that is not looked at
SWEEP_S = 3.0


class AudioProbe:
    """Measures a box through its sound.

    Parameters
    ----------
    port
        Every input and output of the box. Inputs count from 0; outputs have the names of ``port.output_names``.
    """

    def __init__(self, port: AudioPort) -> None:
        self._port = port
        self._rate_hz = port.sample_rate_hz

    def arrival(self, input_ch: int, output: str) -> Arrival:
        """Measure the way from an input to an output: latency, gain, polarity."""
        signal = signals.mls()
        heard = self._heard(self._on(input_ch, signal), LATENCY_ROOM_S)
        return measure_arrival(signal, self._column(heard, output), self._rate_hz, where=_way(input_ch, output))

    def response(self, input_ch: int, output: str) -> tuple[Response, NDArray[np.float64]]:
        """Measure the frequency response, and return with it the impulse response, latency included."""
        signal = signals.sweep(self._rate_hz, SWEEP_S)
        heard = self._column(self._heard(self._on(input_ch, signal), TAIL_S), output)
        response = measure_response(signal, heard, self._rate_hz, where=_way(input_ch, output))
        taps = impulse_response(signal, heard, regularisation=1e-6)[: round(LATENCY_ROOM_S * self._rate_hz)]
        return response, taps

    def distortion(self, input_ch: int, output: str, *, peak_dbfs: float = signals.PEAK_DBFS) -> Distortion:
        """Measure THD+N of one sine."""
        n_frames = round((2 * SETTLE_S + 1.0) * self._rate_hz)
        heard = self._heard(self._on(input_ch, signals.tone(self._rate_hz, n_frames, peak_dbfs=peak_dbfs)), 0.0)
        steady = self._column(heard, output)[round(SETTLE_S * self._rate_hz) :]
        return measure_distortion(steady, self._rate_hz, signals.TONE_HZ, where=_way(input_ch, output))

    def multitone(self, input_ch: int, output: str, *, peak_dbfs: float = signals.PEAK_DBFS) -> MultitoneDistortion:
        """Measure what stands between many sines."""
        bins = signals.tone_bins(self._rate_hz, self._rate_hz, 31, 20.0, 20000.0)
        signal = np.tile(signals.multitone(self._rate_hz, bins, peak_dbfs=peak_dbfs), 2)
        period = self._column(self._heard(self._on(input_ch, signal), 0.0), output)[-self._rate_hz :]
        return measure_multitone(period, self._rate_hz, bins, where=_way(input_ch, output))

    def noise(self) -> tuple[NoiseFloor, ...]:
        """Measure every output while silence is played."""
        n_frames = round((SETTLE_S + 1.0) * self._rate_hz)
        heard = self._heard(np.zeros((n_frames, self._port.n_inputs)), 0.0)[round(SETTLE_S * self._rate_hz) :]
        return tuple(
            measure_noise(heard[:, column], self._rate_hz, where=name)
            for column, name in enumerate(self._port.output_names)
        )

    def channel_map(self, outputs: tuple[str, ...], expected: tuple[tuple[int, ...], ...]) -> ChannelMap:
        """Find which input arrives on which of ``outputs``, and hold it against where it should, by place in them."""
        heard = self._heard(map_signals(self._port.n_inputs, self._rate_hz), 0.0)
        return measure_map(self._columns(heard, outputs), self._port.n_inputs, self._rate_hz, expected=expected)

    def crosstalk(self, outputs: tuple[str, ...], *, latency_frames: int) -> Crosstalk:
        """Measure how much of each of the first inputs leaks into outputs that are not its own."""
        n = min(self._port.n_inputs, len(outputs))
        signal = np.zeros((len(played := crosstalk_signals(n, self._rate_hz)), self._port.n_inputs))
        signal[:, :n] = played
        heard = self._columns(self._heard(signal, LATENCY_ROOM_S), outputs[:n])
        return measure_crosstalk(heard, n, self._rate_hz, latency_frames=latency_frames)

    def dropouts(
        self, input_ch: int, output: str, *, duration_s: float, left_out_frame: int | None = None
    ) -> Dropouts:  # fmt: skip
        """Count frames that do not come out once and in order; hours keep no more than seconds.

        ``left_out_frame`` is not played, the one after it comes in its place: it must be missed.
        """
        finder = DropoutFinder(where=_way(input_ch, output))
        column = self._port.output_names.index(output)
        starts = range(0, round(duration_s * self._rate_hz), BLOCK_FRAMES)
        blocks = (self._on(input_ch, _coded(start, left_out_frame)).astype(np.float32) for start in starts)
        for heard in self._port.stream(blocks):
            finder.feed(heard.sound[:, column])
        return finder.finish(is_to_the_end=True)

    def automix_law(self, output: str) -> AutomixLaw:
        """Measure what 1, 2, 4 .. open microphones are lowered by; their strips share gain already."""
        levels = {}
        for n_open in (n for n in (1, 2, 4, 8, 16, 32) if n <= self._port.n_inputs):
            heard = self._heard(law_signals(self._port.n_inputs, n_open, self._rate_hz), 0.0)
            levels[n_open] = tone_levels_dbfs(self._column(heard, output), n_open, self._rate_hz, where=output)
        return automix_law(levels)

    def _on(self, input_ch: int, signal: NDArray[np.floating]) -> NDArray[np.float64]:
        if not 0 <= input_ch < self._port.n_inputs:
            raise ProbeError(f"no input {input_ch + 1}; the box has {self._port.n_inputs}")
        frames = np.zeros((len(signal), self._port.n_inputs))
        frames[:, input_ch] = signal
        return frames

    def _heard(self, frames: NDArray[np.float64], tail_s: float) -> NDArray[np.float32]:
        return play(self._port, frames.astype(np.float32), tail_frames=round(tail_s * self._rate_hz)).sound

    def _column(self, heard: NDArray[np.float32], output: str) -> NDArray[np.float32]:
        return self._columns(heard, (output,))[:, 0]

    def _columns(self, heard: NDArray[np.float32], outputs: tuple[str, ...]) -> NDArray[np.float32]:
        for output in outputs:
            if output not in self._port.output_names:
                raise ProbeError(f"no output {output}; the box has {', '.join(self._port.output_names)}")
        return heard[:, [self._port.output_names.index(output) for output in outputs]]


def _coded(start: int, left_out: int | None) -> NDArray[np.floating]:
    """Return the block of the code from frame ``start`` of what is played."""
    if left_out is None or start + BLOCK_FRAMES <= left_out:
        return coded_frames(start, BLOCK_FRAMES)
    return np.delete(coded_frames(start, BLOCK_FRAMES + 1), max(left_out - start, 0))


def _way(input_ch: int, output: str) -> str:
    return f"input {input_ch + 1} to {output}"
