"""What a control process leaves to its successor, so that being killed changes nothing that can be heard.

The state says what the mixer is set to, who may move it and where it is going: small, for each tick that changed
something. The evidence is all the rest that control has in mind: for once a second. A successor takes the state first.
Bytes are an enemy's until they prove otherwise: they are judged whole before the first of them is believed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from firmware.errors import EvenhandError

from . import slots
from .arbiter import OWNER_HOLD_S, Arbiter, Move, Pending
from .control import Control
from .decisions import Decision
from .envelope import IDENTITY_BYTES, KeepsakeError, refused, seal, unseal
from .memory import Leaf, Rows, memories_of, read, settings_of, written
from .mixer_state import MAX_PREAMP_GAIN_DB
from .proposals import PRIORITY, Proposal
from .records import decision_of, is_count, is_number, is_time, proposal_of, text_of
from .rules.refine import OF_A_PASS

N_NEWEST = 8  # decisions in the state: those since the last evidence, seldom more
N_REMEMBERED = 128  # decisions in the evidence: what may be undone after a restart
MAX_RATE_PER_S = 1e6  # faster than anything goes on purpose; octaves a second at 20 kHz have 1e5

_STATE, _EVIDENCE = 1, 2
_N = slots.N_SLOTS
_N_SECTIONS = len(slots.SECTION_KEYS)
# values, base, asked, wanted, heading, rate: most slots stand at these, headings where the value is.
_NOTHING = np.full(_N, np.nan, np.float32)
_USUAL = np.concatenate([slots.DEFAULT, slots.DEFAULT, _NOTHING, _NOTHING, _NOTHING, np.zeros(_N, np.float32)])
_HEADING = slice(4 * _N, 5 * _N)
_PLACE, _FLAG, _LEVEL, _NUMBER = np.dtype("<u2"), np.dtype("i1"), np.dtype("<f4"), np.dtype("<f8")
assert _USUAL.size < 2**16


def _code_id() -> bytes:
    """Return a digest of control's own source: other code has other things in mind under the same names."""
    digest = hashlib.blake2b(digest_size=IDENTITY_BYTES)
    folder = Path(__file__).parent
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.digest()


_CODE_ID = _code_id()  # at import: of what runs, not of what an update has put in its place since
_identities: WeakKeyDictionary[Control, tuple[bytes, bytes]] = WeakKeyDictionary()
_passes: WeakKeyDictionary[Control, tuple[int, str, bytes]] = WeakKeyDictionary()  # as of which look, and how written


def _identity(control: Control, kind: int) -> bytes:
    """Return what must be the same on both sides: the session, for evidence the code as well."""
    known = _identities.get(control)
    if known is None:
        settings = settings_of(control).encode()
        pair = [hashlib.blake2b(key + settings, digest_size=IDENTITY_BYTES).digest() for key in (b"", _CODE_ID)]
        known = _identities[control] = (pair[0], pair[1])
    return known[kind == _EVIDENCE]


@contextmanager
def _judging(what: str) -> Iterator[None]:
    """Turn whatever unfit bytes make of our code into one line: nothing was written yet."""
    try:
        yield
    except KeepsakeError:
        raise
    except (EvenhandError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise refused(f"{what} is none ({type(error).__name__}: {str(error)[:120]})") from None


# ---------------------------------------------------------------------------------------------------------- state


def remember_state(control: Control) -> bytes:
    """Return what the mixer is set to, who may move it, and the moves under way."""
    state, arbiter, time_s = control.state, control._arbiter, control._time_s
    rows = (state.values, state.base, arbiter.asked, arbiter.wanted, arbiter.heading, arbiter.rate_per_s)
    row = np.concatenate(rows)
    usual = _USUAL.copy()
    usual[_HEADING] = state.values
    where = np.flatnonzero(row.view(np.uint32) != usual.view(np.uint32))
    gliding = arbiter._gliding_slots
    owned = np.flatnonzero(arbiter._owner_until_s > time_s)
    moves = [(slot, m.from_value, m.began_s, m.changed_s) for slot, m in arbiter._moves.items()]
    pending = [(slot, p.id, p.time_s) for slot, p in arbiter._pending.items()]
    parts = (
        where.astype(_PLACE), row[where], state.mode, state.is_locked, state.amount_percent, state.preamp_gain_db,
        gliding.astype(_PLACE), owned.astype(_PLACE), arbiter._owner[owned], arbiter._owner_until_s[owned],
        np.array(moves, _NUMBER), np.array(pending, _NUMBER),
    )  # fmt: skip
    pass_text, pass_rows = _written_pass(control)
    head = {
        "time_s": time_s,
        "checked_s": arbiter._checked_s,
        "n_changes": int(state.n_changes),
        "n_refused": arbiter.n_refused,
        "n_pending": arbiter._n_pending,
        "n_decisions": control.decisions.n_decisions,
        "n_unusual": where.size,
        "n_gliding": gliding.size,
        "n_owned": owned.size,
    }
    text = _with_records(
        head,
        moving=[m.proposal for m in arbiter._moves.values()],
        asking=[p.proposal for p in arbiter._pending.values()],
        decisions=_newest(control, N_NEWEST),
    )
    text = f'{text[:-1]},"pass":{pass_text}}}'
    return seal(_STATE, _identity(control, _STATE), text, b"".join([part.tobytes() for part in parts] + [pass_rows]))


def _leaves_of_pass(control: Control) -> list[Leaf]:
    return [Leaf(name, f"Refinement.{name}", control.refinement, name) for name in OF_A_PASS]


def _written_pass(control: Control) -> tuple[str, bytes]:
    """Return where the refinement is, as JSON and numbers, written once a look."""
    n_looks, known = control.refinement.n_looks, _passes.get(control)
    if known is None or known[0] != n_looks:
        rows: list[bytes] = []
        text = json.dumps({leaf.attribute: written(leaf, rows) for leaf in _leaves_of_pass(control)})
        known = _passes[control] = (n_looks, text, b"".join(rows))
    return known[1:]


def _with_records(head: Mapping[str, Any], **lists: Iterable[Proposal | Decision]) -> str:
    """Return the JSON of ``head`` and of lists of records, each of which is written once in its life."""
    texts = [f',"{name}":[{",".join(map(text_of, records))}]' for name, records in lists.items()]
    return "".join((json.dumps(head)[:-1], *texts, "}"))


def _newest(control: Control, n_decisions: int) -> list[Decision]:
    return list(islice(reversed(control.decisions._kept), n_decisions))[::-1]


def recall_state(control: Control, left: bytes) -> None:
    """Set a fresh control to what its predecessor left; the next snapshot is a full one.

    Raises
    ------
    KeepsakeError
        When the bytes are not the state of such a control; nothing was changed.
    """
    text, numbers = unseal(left, _STATE, _identity(control, _STATE))
    with _judging("the state"):
        rows = Rows(numbers)
        values, base, asked, wanted, heading, rate_per_s = _rows_of(rows, text["n_unusual"])
        mode, is_locked = rows.take(_FLAG, (_N_SECTIONS,)), rows.take(_FLAG, (_N_SECTIONS,))
        amount_percent = rows.take(_LEVEL, (_N_SECTIONS,))
        _require("modes", ((mode >= 0) & (mode <= 2)).all() and ((is_locked | 1) == 1).all())
        _require("amounts", ((amount_percent >= 0.0) & (amount_percent <= 100.0)).all())
        preamp_gain_db = rows.take(_LEVEL, (slots.COUNT["channel"],))
        _require("preamps", not (np.abs(preamp_gain_db) > MAX_PREAMP_GAIN_DB).any())
        time_s, checked_s = text["time_s"], text["checked_s"]
        _require("time", is_number(time_s) and is_time(checked_s) and checked_s <= time_s)
        counts = [text[name] for name in ("n_changes", "n_refused", "n_pending", "n_decisions")]
        _require("counts", all(map(is_count, counts)))
        n_changes, n_refused, n_pending, n_decisions = counts
        gliding = _places(rows, text["n_gliding"], _N)
        _require("glides", not (slots.IS_DISCRETE | slots.IS_TIMING)[gliding].any())
        _require("headings", np.isin(np.flatnonzero(heading != values), gliding).all())
        owned = _places(rows, text["n_owned"], _N)
        owner, until_s = rows.take(_FLAG, owned.shape), rows.take(_NUMBER, owned.shape)
        _require("owners", np.isin(owner, list(PRIORITY.values())).all() and (until_s <= time_s + OWNER_HOLD_S).all())
        moving, asking = text["moving"], text["asking"]
        moves = dict(map(_move, rows.take(_NUMBER, (len(moving), 4)).tolist(), moving))
        _require("moves", all(move.changed_s <= time_s and move.began_s <= time_s for move in moves.values()))
        pending = dict(map(_pending, rows.take(_NUMBER, (len(asking), 3)).tolist(), asking))
        _require("questions", all(1 <= p.id <= n_pending and p.time_s <= time_s for p in pending.values()))
        passing = _pass(control, text.get("pass", {}), rows)
        decisions = _decisions(text["decisions"], n_decisions)

    state, arbiter = control.state, control._arbiter
    state.values[:], state.base[:], state.n_changes = values, base, n_changes
    state.mode[:], state.is_locked[:], state.amount_percent[:] = mode, is_locked != 0, amount_percent
    state.preamp_gain_db[:] = preamp_gain_db
    arbiter.asked[:], arbiter.wanted[:] = asked, wanted
    arbiter.heading[:], arbiter.rate_per_s[:] = heading, rate_per_s
    arbiter._gliding, arbiter._gliding_slots = set(gliding.tolist()), gliding
    arbiter._owner[:], arbiter._owner_until_s[:] = 0, -math.inf
    arbiter._owner[owned], arbiter._owner_until_s[owned] = owner, until_s
    arbiter._moves, arbiter._pending, arbiter._n_pending = moves, pending, n_pending
    arbiter.n_refused, arbiter._checked_s = n_refused, checked_s
    arbiter.causes = _in_force(arbiter, arbiter.causes)
    control.decisions.take_up(n_decisions, decisions)
    for attribute, value in passing.items():
        setattr(control.refinement, attribute, value)
    control._time_s = control._view.time_s = time_s
    control._published = -1


def _pass(control: Control, nodes: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """Return where the refinement was; nothing where other code remembers other things of it: it looks anew."""
    leaves = _leaves_of_pass(control)
    if [leaf.attribute for leaf in leaves] != list(nodes):
        return {}
    found = {leaf.attribute: read(leaf, nodes[leaf.attribute], rows, len(control.channels)) for leaf in leaves}
    rows.end()
    return found


def _rows_of(rows: Rows, n_unusual: Any) -> NDArray[np.float32]:
    """Return the six rows, each of them possible."""
    where = _places(rows, n_unusual, _USUAL.size)
    unusual = rows.take(_LEVEL, where.shape)
    row = _USUAL.copy()
    is_value = where < _N
    row[where[is_value]] = unusual[is_value]
    row[_HEADING] = row[:_N]
    row[where] = unusual
    values, base, asked, wanted, heading, rate_per_s = row = row.reshape(6, _N)
    for what in (values, base, heading):
        is_whole = ~slots.IS_DISCRETE | (np.rint(what) == what)
        _require("values", bool((is_whole & (what >= slots.MINIMUM) & (what <= slots.MAXIMUM)).all()))
    _require("wishes", not np.isinf(asked).any() and bool(
        (np.isnan(wanted) | ((wanted >= slots.MINIMUM) & (wanted <= slots.MAXIMUM))).all()
    ))  # fmt: skip
    _require("paces", bool(((rate_per_s >= 0.0) & (rate_per_s <= MAX_RATE_PER_S)).all()))
    return row


def _require(what: str, is_right: bool | np.bool_) -> None:
    if not is_right:
        raise ValueError(f"impossible {what}")


def _places(rows: Rows, n_places: Any, end: int) -> NDArray[np.intp]:
    """Return places in a row of ``end``, each later than the one before."""
    _require("number of places", is_count(n_places) and n_places <= end)
    places = rows.take(_PLACE, (n_places,)).astype(np.intp)
    _require("places", bool((np.diff(places) > 0).all()) and (not places.size or places[-1] < end))
    return places


def _slot(node: Any) -> int:
    _require("slot", is_count(node) and node < _N)
    return int(node)


def _move(numbers: list[float], proposal: Any) -> tuple[int, Move]:
    slot, (from_value, began_s, changed_s) = _slot(_whole(numbers[0])), numbers[1:]
    _require("move", all(map(is_number, numbers)))
    return slot, Move(proposal_of(proposal, slot), from_value, began_s, changed_s)


def _pending(numbers: list[float], proposal: Any) -> tuple[int, Pending]:
    slot, number, time_s = _slot(_whole(numbers[0])), _whole(numbers[1]), numbers[2]
    _require("question", is_number(time_s))
    return slot, Pending(id=number, time_s=time_s, proposal=proposal_of(proposal, slot))


def _whole(number: float) -> int:
    _require("number", number.is_integer())  # neither infinite nor none
    return int(number)


def _decisions(nodes: Any, n_decisions: int) -> list[Decision]:
    found = [decision_of(node) for node in nodes]
    _require("decisions", all(a.id < b.id for a, b in pairwise(found)))
    _require("decisions", not found or found[-1].id < n_decisions)
    return found


def _in_force(arbiter: Arbiter, known: Mapping[int, Proposal]) -> dict[int, Proposal]:
    """Return the reason of each wish in force: the one that is known for it, or that of the move under way."""
    causes = {}
    for slot in np.flatnonzero(~np.isnan(arbiter.wanted)).tolist():
        wanted = arbiter.wanted[slot]
        offered = [known[slot]] if slot in known else []
        offered += [arbiter._moves[slot].proposal] if slot in arbiter._moves else []
        fitting = (p for p in offered if np.float32(arbiter.state.clamped(slot, p.value)) == wanted)
        causes[slot] = next(fitting, None) or (offered[-1] if offered else _lost(slot))._replace(value=float(wanted))
    return causes


def _lost(slot: int) -> Proposal:
    info = slots.INFO[slot]
    cause = "moved in the second before control was restarted; its reason is lost"
    return Proposal(info.scope, info.index, info.entry.name, 0.0, cause, {}, rule="keepsake")


# ------------------------------------------------------------------------------------------------------- evidence


def remember_evidence(control: Control) -> bytes:
    """Return all else that control has in mind: what it heard, whose roles it knows, what each rule remembers."""
    rows: list[bytes] = []
    memory = {leaf.path: written(leaf, rows) for leaf in memories_of(control)}
    causes = sorted(control._arbiter.causes.items())
    head = {
        "n_decisions": control.decisions.n_decisions,
        "memory": memory,
        "moved": [slot for slot, _ in causes],
    }
    text = _with_records(head, causes=[cause for _, cause in causes], decisions=_newest(control, N_REMEMBERED))
    return seal(_EVIDENCE, _identity(control, _EVIDENCE), text, b"".join(rows))


def recall_evidence(control: Control, left: bytes) -> None:
    """Give a control, set to its predecessor's state, what that had in mind, which may be a second older.

    Raises
    ------
    KeepsakeError
        When the bytes are not the evidence of such a control and of this very code; nothing was changed.
    """
    text, numbers = unseal(left, _EVIDENCE, _identity(control, _EVIDENCE))
    leaves = memories_of(control)
    with _judging("the evidence"):
        memory, rows = text["memory"], Rows(numbers)
        _require("attributes", [leaf.path for leaf in leaves] == list(memory))
        found = [read(leaf, memory[leaf.path], rows, len(control.channels)) for leaf in leaves]
        rows.end()
        moved = zip(text["moved"], text["causes"], strict=True)
        causes = {_slot(slot): proposal_of(node, slot) for slot, node in moved}
        n_decisions = text["n_decisions"]
        _require("counts", is_count(n_decisions))
        decisions = _decisions(text["decisions"], n_decisions)

    for leaf, value in zip(leaves, found, strict=True):
        setattr(leaf.owner, leaf.attribute, value)
    arbiter, log = control._arbiter, control.decisions
    arbiter.causes = _in_force(arbiter, causes)
    by_id = {d.id: d for d in (*decisions, *log)}
    log.take_up(max(n_decisions, log.n_decisions), [by_id[number] for number in sorted(by_id)])
    control._published = -1
