"""A keepsake is an enemy's until it proves otherwise: refused whole, or believed without harm."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from firmware.control import envelope, keepsake, memory, slots
from firmware.control.control import Control
from firmware.control.keepsake import recall_evidence, recall_state, remember_evidence, remember_state
from firmware.control.mixer_state import Mode
from firmware.observation import ChannelSetup
from firmware.tests.control_plant import Plant
from firmware.tests.keepsake_sessions import RATE_HZ, show, started


def everything(control: Control) -> tuple[bytes, bytes, int]:
    return remember_state(control), remember_evidence(control), control._published


def sealed_again(damaged: bytes) -> bytes:
    """Return the bytes with a checksum that fits: an enemy can count as well."""
    body = damaged[:-4]
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.fixture(scope="module")
def left() -> tuple[bytes, bytes]:
    plant = started("show")
    plant.control.set_mode("channel", 0, "fader", Mode.ASSIST)
    plant.run(2.5)
    plant.control.set_parameter("channel", 1, "fader.level_db", -11.5)
    return remember_state(plant.control), remember_evidence(plant.control)


RECALLS = (recall_state, recall_evidence)


def mutants(original: bytes, other: bytes, n_mutants: int, seed: int) -> list[bytes]:
    """Return damaged copies: flipped, cut, swapped, grown, with huge numbers, or grafted."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(n_mutants):
        damaged = bytearray(original)
        at, to = sorted(int(x) for x in rng.integers(0, len(original), 2))
        match n % 6:
            case 0:
                for place in rng.integers(0, len(damaged), 1 + n % 5).tolist():
                    damaged[place] ^= 1 << int(rng.integers(0, 8))
            case 1:
                del damaged[at : to if n % 12 == 1 else None]
            case 2:
                damaged[at : at + 64], damaged[to : to + 64] = damaged[to : to + 64], damaged[at : at + 64]
            case 3:
                damaged[at:at] = bytes(rng.integers(0, 256, 1 + n % 300, dtype=np.uint8))
            case 4:
                huge = [b"99999999999999999999", b"1e999", b"-Infinity", b"NaN", b"\xff\xff\xff\xff", b"[[[[[[[["][
                    n % 5
                ]
                damaged[at : at + len(huge)] = huge
            case 5:
                damaged[at:to] = other[at:to]
        if damaged != original:
            found.append(bytes(damaged))
    return found


@pytest.mark.parametrize("which", [0, 1], ids=["state", "evidence"])
def test_damaged_bytes_are_refused_and_change_nothing(left: tuple[bytes, bytes], which: int) -> None:
    control = started("show").control
    before = everything(control)
    for damaged in mutants(left[which], left[1 - which], 1000, seed=which):
        with pytest.raises(keepsake.KeepsakeError, match="control goes on without it"):
            RECALLS[which](control, damaged)
    assert everything(control) == before


@pytest.mark.parametrize("which", [0, 1], ids=["state", "evidence"])
def test_forged_bytes_are_refused_whole_or_believed_without_harm(left: tuple[bytes, bytes], which: int) -> None:
    plant, n_believed = started("show"), 0
    for forged in map(sealed_again, mutants(left[which], left[1 - which], 1000, seed=10 + which)):
        before = everything(plant.control)
        try:
            RECALLS[which](plant.control, forged)
        except keepsake.KeepsakeError:
            assert everything(plant.control) == before
            continue
        n_believed += 1
        plant.params = plant.control.snapshot()
        with np.errstate(all="ignore"):  # an enemy's numbers may be beyond all measure
            assert_goes_on(plant)
        plant = started("show")
    assert n_believed > 20  # or the forger was no good


def assert_goes_on(plant: Plant) -> None:
    control = plant.control
    plant.run(0.3)
    control.set_amount("channel", 0, "fader", 50.0)
    control.finish()
    control.channel_summaries()
    remember_state(control)
    assert ((control.state.values >= slots.MINIMUM) & (control.state.values <= slots.MAXIMUM)).all()


def edited(original: bytes, edit: Callable[[dict], object]) -> bytes:
    """Return a keepsake whose text an enemy has rewritten, every count and checksum right."""
    header = bytearray(original[: envelope._HEADER.size])
    fields = list(envelope._HEADER.unpack(header))
    text = json.loads(original[len(header) : len(header) + fields[5]])
    numbers = original[len(header) + fields[5] : -4]
    edit(text)
    return envelope.seal(fields[2], fields[4], json.dumps(text), numbers)


FORGED_STATES: dict[str, Callable[[dict], object]] = {
    "more slots than there are": lambda t: t.update(n_unusual=2**40),
    "a negative number of slots": lambda t: t.update(n_unusual=-1),
    "half a slot": lambda t: t.update(n_gliding=0.5),
    "a move without a reason": lambda t: t["moving"].pop(),
    "a reason for another parameter": lambda t: t["moving"][0].__setitem__(1, 30),
    "an engineer's proposal": lambda t: t["moving"][0].__setitem__(7, "engineer"),
    "decisions from the future": lambda t: t.update(n_decisions=0),
    "a number too large for a float": lambda t: t.update(n_changes=10**400),
    "a list for a number": lambda t: t.update(n_changes=[]),
    "nothing at all": lambda t: t.clear(),
}
FORGED_EVIDENCE: dict[str, Callable[[dict], object]] = {
    "an attribute more": lambda t: t["memory"].update({"Control.__class__": 1}),
    "an attribute less": lambda t: t["memory"].popitem(),
    "a role that is none": lambda t: t["memory"]["Control._roles._view.roles"]["list"].__setitem__(0, "drummer"),
    "an array of another shape": lambda t: an_array(t).__setitem__("array", ["<f8", [10**6, 10**6]]),
    "an array of objects": lambda t: an_array(t).__setitem__("array", ["|O", [9]]),
    "an array with negative sides": lambda t: an_array(t).__setitem__("array", ["<f8", [-9]]),
    "a text for a number": lambda t: t["memory"].update({"Control._tick": "7"}),
    "a negative tick": lambda t: t["memory"].update({"Control._tick": -7}),
    "a window without end": lambda t: t["memory"]["Control._rules.Ride._gain_power"]["deque"].extend([1.0] * 1000),
    "a window of zeros": lambda t: t["memory"]["Control._rules.Ride._gain_power"]["deque"].__setitem__(0, 0.0),
    "deep nesting": lambda t: t["memory"].update({"Control._rules.Ride._gains": nested(200)}),
    "a cause for nothing": lambda t: t["moved"].pop(),
    "decisions out of order": lambda t: t["decisions"].reverse(),
}


def an_array(text: dict) -> dict:
    return text["memory"]["Control._listening.active_s"]


def nested(depth: int) -> dict:
    node: dict = {"tuple": []}
    for _ in range(depth):
        node = {"tuple": [node]}
    return node


@pytest.mark.parametrize(
    ("which", "edit"),
    [pytest.param(0, edit, id=f"state: {name}") for name, edit in FORGED_STATES.items()]
    + [pytest.param(1, edit, id=f"evidence: {name}") for name, edit in FORGED_EVIDENCE.items()],
)
def test_a_forged_text_is_refused(left: tuple[bytes, bytes], which: int, edit: Callable[[dict], object]) -> None:
    control = started("show").control
    before = everything(control)
    RECALLS[which](started("show").control, edited(left[which], lambda text: None))  # the forger's tools work
    with pytest.raises(keepsake.KeepsakeError):
        RECALLS[which](control, edited(left[which], edit))
    assert everything(control) == before


def put(row: np.ndarray, value: float, at: int = 3) -> None:
    row[at] = value


def own(control: Control, until_s: float, owner: int) -> None:
    put(control._arbiter._owner_until_s, until_s)
    put(control._arbiter._owner, owner)


def index_arrays(control: Control) -> list[memory.Leaf]:
    leaves = memory.memories_of(control)
    return [leaf for leaf in leaves if isinstance(leaf.value, np.ndarray) and leaf.value.dtype.kind == "i"]


@pytest.mark.parametrize("beyond", [-2, 10**6])
def test_a_number_that_points_nowhere_is_refused(beyond: int) -> None:
    assert len(index_arrays(started("show").control)) >= 5
    for n in range(len(index_arrays(started("show").control))):
        forger, control = started("show").control, started("show").control
        leaf = index_arrays(forger)[n]
        leaf.value.flat[0] = beyond
        with pytest.raises(keepsake.KeepsakeError, match=f"{leaf.attribute} is none"):
            recall_evidence(control, remember_evidence(forger))


# What a control can never be in; an enemy can, and signs it.
IMPOSSIBLE: dict[str, Callable[[Control], object]] = {
    "a value out of range": lambda c: put(c.state.values, 1e9),
    "a value that is none": lambda c: put(c.state.values, np.nan),
    "half a switch": lambda c: put(c.state.values, 0.5, slots.slot("channel", 0, "gate.is_on")),
    "a base out of range": lambda c: put(c.state.base, -1e9),
    "a heading without a way": lambda c: put(c._arbiter.heading, -3.0, slots.slot("channel", 5, "tilt.gain_db")),
    "an infinite wish": lambda c: put(c._arbiter.asked, np.inf),
    "a wish out of range": lambda c: put(c._arbiter.wanted, 1e9),
    "an infinite pace": lambda c: put(c._arbiter.rate_per_s, np.inf),
    "a pace that jumps": lambda c: put(c._arbiter.rate_per_s, 1e9),
    "a fourth mode": lambda c: put(c.state.mode, 3),
    "a lock of two": lambda c: put(c.state.is_locked.view(np.int8), 2),
    "an amount over all": lambda c: put(c.state.amount_percent, 101.0),
    "an owner for ever": lambda c: own(c, 1e9, 3),
    "an owner of no rank": lambda c: own(c, c._time_s + 1.0, 9),
    "a slot that is none": lambda c: setattr(c._arbiter, "_gliding_slots", np.array([60_000])),
    "a switch that glides": lambda c: setattr(
        c._arbiter, "_gliding_slots", np.array([slots.slot("channel", 0, "gate.is_on")])
    ),
    "no time": lambda c: setattr(c, "_time_s", np.nan),
    "a look in the future": lambda c: setattr(c._arbiter, "_checked_s", 1e9),
    "a move that has yet to begin": lambda c: setattr(next(iter(c._arbiter._moves.values())), "began_s", 1e9),
    "a move from nowhere": lambda c: setattr(next(iter(c._arbiter._moves.values())), "from_value", np.inf),
    "a question to come": lambda c: setattr(c._arbiter, "_n_pending", 0),
}


@pytest.mark.parametrize("make", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_control_can_be_in_is_refused(left: tuple[bytes, bytes], make: Callable[[Control], object]) -> None:
    control, other = started("show").control, started("show").control
    recall_state(other, left[0])
    recall_state(control, remember_state(other))
    before = everything(control)
    make(other)
    with pytest.raises(keepsake.KeepsakeError, match="the state is none"):
        recall_state(control, remember_state(other))
    assert everything(control) == before


MONSTERS = {
    "deep": "[" * 900_000,
    "many": "[" + "[]," * 300_000 + "[]]",
    "long": '{"n_unusual":' + "9" * 900_000 + "}",
    "empty": "{}",
}


@pytest.mark.parametrize("text", MONSTERS.values(), ids=MONSTERS)
@pytest.mark.parametrize("which", [0, 1], ids=["state", "evidence"])
def test_a_monstrous_text_costs_little(which: int, text: str) -> None:
    control = started("band").control
    identity = keepsake._identity(control, which + 1)
    tracemalloc.start()
    try:
        with pytest.raises(keepsake.KeepsakeError):
            RECALLS[which](control, envelope.seal(which + 1, identity, text, b""))
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_more_than_a_keepsake_can_be_is_not_even_read() -> None:
    with pytest.raises(keepsake.KeepsakeError, match="2000000 bytes, where"):
        recall_state(started("band").control, bytes(2_000_000))


def test_what_another_session_or_firmware_left_is_refused(left: tuple[bytes, bytes]) -> None:
    channels, _ = show()
    others = {
        "other channels": Control(channels[:-1], sample_rate_hz=RATE_HZ),
        "another name": Control([*channels[:-1], ChannelSetup(name="organ")], sample_rate_hz=RATE_HZ),
        "another target": Control(channels, sample_rate_hz=RATE_HZ, target_lufs=-23.0),
        "another mode": Control(channels, sample_rate_hz=RATE_HZ, automix="speech"),
    }
    for control in others.values():
        before = everything(control)
        for which in (0, 1):
            with pytest.raises(keepsake.KeepsakeError, match="for other channels or settings"):
                RECALLS[which](control, left[which])
        assert everything(control) == before
    control = Control(channels, sample_rate_hz=RATE_HZ)
    for which in (0, 1):
        with pytest.raises(keepsake.KeepsakeError, match="and kind"):
            RECALLS[which](control, left[1 - which])
        foreign = left[which].replace(envelope._CONTRACT, b"000000000000".ljust(16, b"\0"), 1)
        with pytest.raises(keepsake.KeepsakeError, match="written for contract '000000000000', this box speaks"):
            RECALLS[which](control, sealed_again(foreign))


def test_other_code_may_have_the_state_but_not_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = started("band").run(1.0)
    left_state, left_evidence = remember_state(plant.control), remember_evidence(plant.control)
    monkeypatch.setattr(keepsake, "_CODE_ID", b"another.")
    control = Control(plant.control.channels, sample_rate_hz=RATE_HZ)
    recall_state(control, left_state)
    assert control.state.state_hash() == plant.control.state.state_hash()
    with pytest.raises(keepsake.KeepsakeError, match="another firmware"):
        recall_evidence(control, left_evidence)
