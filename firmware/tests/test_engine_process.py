"""The engine process and the signals it gets; what it leaves behind when it is refused."""

from __future__ import annotations

import signal
from pathlib import Path

from dsp_kernels.contract.layout import default_params
from firmware.segment import Segment
from firmware.tests.live_rig import LiveRig, wait_for
from firmware.tests.test_live import FOUR

HEARD_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def blocked_signals(task: Path) -> int:
    lines = (task / "status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("SigBlk:")), 16)


def test_no_signal_is_ever_handled_in_a_thread_of_the_mixer() -> None:
    with LiveRig(FOUR) as rig:
        engine = rig.start_engine()
        rig.attach().publish(default_params())
        rig.card.wait_for_start()
        tasks = Path(f"/proc/{engine.pid}/task")
        heard = sum(1 << (number - 1) for number in HEARD_SIGNALS)
        wait_for(lambda: not blocked_signals(tasks / str(engine.pid)) & heard, "the process is deaf")
        threads = [task for task in tasks.iterdir() if int(task.name) != engine.pid]
        assert len(threads) >= 3
        assert all(blocked_signals(thread) & heard == heard for thread in threads)
        assert rig.stop_engine() == 0


def test_an_engine_that_still_waits_for_its_first_snapshot_ends_in_order_when_told() -> None:
    with LiveRig(FOUR) as rig:
        rig.start_engine()
        control = rig.attach()
        assert rig.stop_engine() == 0
        assert control.status().state == "stopped", "it did not end in order"
        (started, *_) = control.events()
        print(f"ended {1e-9 * (control.status().engine_beat_ns - started.time_ns):.1f} s after it was told")


def test_an_engine_whose_core_is_not_there_says_which_and_opens_nothing() -> None:
    with LiveRig(FOUR) as rig:
        rig.board.write_text(rig.board.read_text() + "\n[cores]\nanalysis = 200\n")
        engine = rig.start_engine()
        _, words = engine.communicate(timeout=60)
        assert engine.returncode == 1
        assert words.startswith(
            "error: test_board.toml: cores: analysis names core 200, which this process may not use"
        )
        assert words.count("\n") == 1
        assert not rig.segment_path.exists()


def test_an_engine_that_is_refused_leaves_no_ring_and_frees_its_segment() -> None:
    with LiveRig(FOUR, records=True) as rig:
        rig.card.unplug()
        engine = rig.start_engine()
        _, words = engine.communicate(timeout=60)
        assert engine.returncode == 1
        assert words.splitlines()[-1].startswith("error: evenhand_test (capture): cannot be opened")
        assert not rig.ring_path.exists()
        with Segment(rig.segment_path, is_control=False) as view:
            assert view.status().state == "starting"
        rig.card.replug()
        rig.start_engine()
        rig.attach().publish(default_params())
        assert rig.card.wait_for_start()
        assert rig.stop_engine() == 0
