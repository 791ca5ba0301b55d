"""The control process: looks at the engine once a tick, decides, and hands parameters down.

It may be killed at any moment: the engine goes on with the last parameters, and the next control process takes up the
state and the evidence that this one left in the segment's notebooks.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from .atomic import Outputs
from .control.autosave import Autosave, load_last
from .control.control import Control
from .control.keepsake import recall_evidence, recall_state, remember_evidence, remember_state
from .control.scenes import Scene, read_scene
from .errors import EvenhandError
from .inference.choice import DEFAULT_MODEL, MODEL_HELP
from .inference.inline import bundle_path
from .inference.link import Link
from .mixer_setup import MixerSetup, read_setup
from .model_story import ModelStory
from .observation import ChannelSetup, Observation
from .parameter_track import ParameterTrack
from .preamp_side import PreampSide
from .recorder.markers import SpoolWriter
from .segment import EVIDENCE_NOTEBOOK, PUBLIC_NOTEBOOK, STATE_NOTEBOOK, Event, Segment, SegmentAbsentError
from .system.notify import Notifier
from .system.process import Stop, serve

WAIT_S = 0.2
BEAT_S = 1.0  # an engine that was heard of no later than that
EVIDENCE_TICKS = PUBLIC_TICKS = MASKING_TICKS = 10
ABSENT_S = 0.02  # between looks for a segment that is not there yet
N_TOLD = 8  # decisions on the public page


class ControlProcess:
    """Decides for the mixer behind a segment.

    Parameters
    ----------
    setup
        The strips, as the engine has them.
    segment
        File of the shared memory.
    decisions
        File that each decision is appended to, or None.
    track
        Where each change of a parameter is kept for a replay, or None.
    spool
        Where decisions are announced to the recorder, or None.
    preamps
        What to do about preamps, or None on a board without.
    model
        The model beside control, or None.
    """

    def __init__(
        self,
        setup: MixerSetup,
        segment: Path,
        *,
        make_control: Callable[[], Control],
        autosave: Autosave | None = None,
        decisions: IO[str] | None = None,
        track: ParameterTrack | None = None,
        spool: SpoolWriter | None = None,
        preamps: PreampSide | None = None,
        model: Link | None = None,
    ) -> None:
        self._setup, self._path, self._make_control = setup, segment, make_control
        self._autosave, self._decisions, self._track, self._spool = autosave, decisions, track, spool
        self._preamps, self._model = preamps, model
        self.control = make_control()
        self._story = ModelStory()
        self._n_told = 0
        self._n_ticks = 0
        self._last_frame = 0
        self._mix_gain: object = None

    def run(self, stop: Stop, notifier: Notifier) -> None:
        """Serve one engine after another until ``stop`` is set."""
        is_first = True
        while not stop.is_set():
            try:
                segment = Segment(self._path, is_control=True)
            except SegmentAbsentError:
                stop.wait(ABSENT_S)
                continue
            with segment:
                if not self._is_same_mixer(segment):
                    stop.wait(ABSENT_S)  # of another run; its engine is about to replace it
                    continue
                if is_first:
                    self._take_up(segment)
                    notifier.tell("READY=1")
                is_first = False
                self._serve(segment, stop, notifier)

    def finish(self) -> None:
        """Tell the moves that are still under way, and store the state."""
        self.control.finish()
        self._tell_decisions(self._last_frame)

    # ----------------------------------------------------------------------------------------------- serving

    def _is_same_mixer(self, segment: Segment) -> bool:
        return segment.is_stereo == tuple(s.is_stereo for s in self._setup.strips)

    def _take_up(self, segment: Segment) -> None:
        """Go on where a predecessor was killed; what cannot be read is left aside with a word about it."""
        state, evidence = segment.read_notebook(STATE_NOTEBOOK), segment.read_notebook(EVIDENCE_NOTEBOOK)
        if not state:
            return
        self._last_frame = segment.status().control_frame
        segment.write_notebook(EVIDENCE_NOTEBOOK, b"")  # should it kill us, it does so once
        try:
            recall_state(self.control, state)
        except EvenhandError as error:
            _say(f"{error}; beginning anew")
            self.control = self._make_control()
            return
        try:
            recall_evidence(self.control, evidence)
        except EvenhandError as error:
            _say(f"{error}; the state stands, the rules listen afresh")
        self._n_told = self.control.decisions.n_decisions
        if self._preamps:
            self._preamps.desk.take_up(self.control, segment.params())

    def _serve(self, segment: Segment, stop: Stop, notifier: Notifier) -> None:
        segment.skip_observations()
        self._hand_down(segment)
        segment.beat(self._last_frame)
        while not stop.is_set():
            if not segment.wait(WAIT_S) and not segment.is_current:
                return  # another engine made another segment
            n_ticks = self._n_ticks
            for frame, observation in segment.observations():
                self._tick(segment, frame, observation)
            for event in segment.events():
                self._note(event)
            if self._n_ticks > n_ticks or not _is_beating(segment):  # without an engine there is nothing to do
                notifier.tell("WATCHDOG=1")

    def _tick(self, segment: Segment, frame: int, observation: Observation) -> None:
        self._n_ticks += 1
        self._last_frame = frame
        answer = self._model.step(time.monotonic()) if self._model else None
        params = self.control.tick(observation, answer)
        if self._preamps:
            params = self._preamps.tick(self.control, observation.time_s, params)
        # First the state, then what follows from it: a successor never goes back behind what the engine has.
        segment.write_notebook(STATE_NOTEBOOK, remember_state(self.control))
        if params is not None:
            segment.publish(params)
            if self._track:
                self._track.write(frame, params)
        if self._n_ticks % MASKING_TICKS == 0:
            self._hand_down_mix_gain(segment)
        segment.beat(frame)
        if self._model:
            self._model.ask(self.control.question(observation))
            self._story.see(observation.time_s, self.control.learned)
        if self._n_ticks % EVIDENCE_TICKS == 0:
            segment.write_notebook(EVIDENCE_NOTEBOOK, remember_evidence(self.control))
        if self._n_ticks % PUBLIC_TICKS == 0:
            segment.write_notebook(PUBLIC_NOTEBOOK, json.dumps(self._public(), allow_nan=False).encode())
        self._tell_decisions(frame)
        for line in self._autosave.look(self.control, observation.time_s) if self._autosave else ():
            _say(line)

    def _hand_down(self, segment: Segment) -> None:
        params = self.control.state.snapshot()
        if self._preamps:
            self._preamps.desk.cover(params)
        segment.publish(params)
        segment.write_notebook(STATE_NOTEBOOK, remember_state(self.control))
        segment.write_notebook(EVIDENCE_NOTEBOOK, remember_evidence(self.control))
        if self._track:
            self._track.write(self._last_frame, params)
        self._mix_gain = None
        self._hand_down_mix_gain(segment)

    def _hand_down_mix_gain(self, segment: Segment) -> None:
        mix_gain = self.control.mix_gain_bark()
        if mix_gain is not self._mix_gain:
            segment.set_mix_gain_bark(mix_gain)
            self._mix_gain = mix_gain

    # ------------------------------------------------------------------------------------------------ telling

    def model_record(self) -> dict[str, Any]:
        """Return which model decides, how its process does, and what it takes the music for."""
        if self._model is None:
            return {"model": "none"}
        told = self._model.as_record()
        return {"model": told["model"], "inference": told, "learned": self.control.learned.as_record()}

    def result(self) -> dict[str, Any]:
        """Return what stood where at the end, and what a model took the music for since this process began."""
        told = self._story.as_record(self.control.learned) if self.control.learned.has_answers else None
        return {"channels": [c.as_record() for c in self.control.channel_summaries()], **self.control.as_record(),
                **self.model_record(), "story": told}  # fmt: skip

    def _public(self) -> dict[str, Any]:
        """Return what a view shows of control: small, since it is written five times a second."""
        log = self.control.decisions
        kept = [log[i] for i in range(max(0, len(log) - N_TOLD), len(log))]
        return {
            "channels": [{"name": n, "role": r, "confidence": round(c, 2)} for n, r, c in self.control.roles],
            "decisions": [{"time_s": round(d.time_s, 1), "channel": d.channel, "parameter": d.parameter,
                           "from": round(d.from_value, 2), "to": round(d.to_value, 2), "unit": d.unit,
                           "cause": d.cause} for d in kept],
            **self.control.as_record(),
            **(self._preamps.as_record() if self._preamps else {}),
            **self.model_record(),
        }  # fmt: skip

    def _tell_decisions(self, frame: int) -> None:
        log = self.control.decisions
        for number in range(max(self._n_told, log.n_decisions - len(log)), log.n_decisions):
            decision = log.find(number)
            if decision is None:
                continue
            if self._decisions:
                self._decisions.write(json.dumps(decision.as_record(), allow_nan=False) + "\n")
            if self._spool:
                self._spool.append(frame, "decision", f"{decision.channel}: {decision.parameter} {decision.cause}")
        if log.n_decisions > self._n_told:
            self._n_told = log.n_decisions
            if self._decisions:
                self._decisions.flush()

    def _note(self, event: Event) -> None:
        if event.kind in ("xrun", "card_lost", "card_back", "healed", "secondary_lost", "secondary_back"):
            _say(f"{event.frame / self._setup.sample_rate_hz:.3f} s: {event.kind.replace('_', ' ')} ({event.value})")


def make_control(setup: MixerSetup, options: argparse.Namespace, scene: Scene | None) -> Control:
    """Return a control for the strips of ``setup``."""
    channels = [ChannelSetup(name=s.name, is_stereo=s.is_stereo, role=s.role) for s in setup.strips]
    return Control(
        channels,
        sample_rate_hz=float(setup.sample_rate_hz),
        target_lufs=options.target_lufs,
        automix=options.automix,
        scene=scene,
        amount_percent=options.amount,
        style=options.style,
    )


def _is_beating(segment: Segment) -> bool:
    return time.monotonic_ns() - segment.status().engine_beat_ns < BEAT_S * 1e9


def _say(text: str) -> None:
    print(f"control: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware.control_process", description=__doc__)
    parser.add_argument("--mixer", type=Path, required=True, help="strips, as firmware/mixer_setup.py writes them")
    parser.add_argument("--segment", type=Path, required=True, help="file of the shared memory")
    parser.add_argument("--scene", type=Path, help="mixer state to start from")
    parser.add_argument("--state", type=Path, help="folder that the state is kept in over a restart of the box")
    parser.add_argument("--restored", type=Path, help="state that a backup brought; becomes the last one at this start")
    parser.add_argument("--automix", help="how microphones share gain")
    parser.add_argument("--target-lufs", type=float, default=-16.0, help="loudness of the mix")
    parser.add_argument("--amount", type=float, default=100.0, help="how far automation goes, in percent")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument("--model-key", type=Path, action="append", default=[], help="public key to trust besides ours")
    parser.add_argument("--style", default="natural", help="which mix the model is asked for")
    parser.add_argument("--decisions", type=Path, help="file that each decision is appended to, a JSON line each")
    parser.add_argument("--track", type=Path, help="file of each change of a parameter, for a replay")
    parser.add_argument("--markers", type=Path, help="file that the recorder reads markers from")
    parser.add_argument("--preamps", nargs=3, metavar=("CARD", "SOCKET", "PEER"),
                        help="key of the main card, socket of this process, that of the preamps'")  # fmt: skip
    parser.add_argument("--result", type=Path, help="file that says at the end what stood where, as JSON")
    return parser


def _run(options: argparse.Namespace, stop: Stop) -> None:
    with ExitStack() as stack:
        _decide(options, stop, stack)


def _decide(options: argparse.Namespace, stop: Stop, stack: ExitStack) -> None:
    setup = read_setup(options.mixer)
    scene = read_scene(options.scene) if options.scene else None
    autosave = stack.enter_context(Autosave(options.state)) if options.state else None
    if scene is None and options.state:
        scene, notes = load_last(options.state, [strip.name for strip in setup.strips], options.restored)
        for note in notes:
            _say(note)

    decisions: IO[str] | None = None
    if options.decisions:
        decisions = stack.enter_context(options.decisions.open("a", encoding="utf-8", errors="backslashreplace"))
    path = bundle_path(options.model)
    model = None
    if path is not None:
        model = stack.enter_context(Link(path, options.model_key, [s.is_stereo for s in setup.strips], _say))
        # Another bundle at the same place is taken without a restart of anything.
        signal.signal(signal.SIGHUP, lambda *_: model.want(path))
    process = ControlProcess(
        setup,
        options.segment,
        make_control=lambda: make_control(setup, options, scene),
        autosave=autosave,
        decisions=decisions,
        track=stack.enter_context(ParameterTrack(options.track)) if options.track else None,
        spool=stack.enter_context(SpoolWriter(options.markers)) if options.markers else None,
        preamps=stack.enter_context(_preamp_side(setup, *options.preamps)) if options.preamps else None,
        model=model,
    )
    process.run(stop, Notifier())
    process.finish()
    if options.result:
        with Outputs() as outputs:
            outputs.stage(options.result).write_text(json.dumps(process.result(), allow_nan=False), encoding="utf-8")
            outputs.commit()


def _preamp_side(setup: MixerSetup, main_card: str, socket: str, peer: str) -> PreampSide:
    return PreampSide(setup, main_card, socket=Path(socket), peer=Path(peer), say=_say)


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return 0, or 1 when the start was refused."""
    return serve(_arguments(), argv, _run)


if __name__ == "__main__":
    sys.exit(main())
