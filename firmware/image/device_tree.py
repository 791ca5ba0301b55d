"""Reads a device tree, and which kernel modules the devices in it need: what a board has is said there, not by us.

Format: Devicetree Specification 0.4, chapter 5 (flattened format). A driver says what it drives in ``modules.alias`` as
``of:N*T*Ccompatible``; of what is built in, the same lies in ``modules.builtin.modinfo``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from firmware.errors import EvenhandError

MAGIC = 0xD00DFEED
BEGIN, END, PROPERTY, NOTHING, STOP = 1, 2, 3, 4, 9
# Properties that name other nodes: the name's pattern, and the property that says how many cells follow each reference.
REFERENCES = (
    (r".+-supply|mmc-pwrseq|pinctrl-[0-9]+|interrupt-parent|memory-region|phy-handle|usb-phy", ""),
    (r"clocks|assigned-clocks|assigned-clock-parents", "#clock-cells"),
    (r"(.+-)?gpios?", "#gpio-cells"),
    (r"resets", "#reset-cells"),
    (r"dmas", "#dma-cells"),
    (r"power-domains", "#power-domain-cells"),
    (r"mboxes", "#mbox-cells"),
    (r"phys", "#phy-cells"),
    (r"interrupts-extended", "#interrupt-cells"),
    (r"msi-parent", "#msi-cells"),
)


@dataclass(eq=False, kw_only=True)
class Node:
    """A device, a bus, or a part of one."""

    name: str
    parent: Node | None
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Where it stands in the tree."""
        return "/" if self.parent is None else f"{self.parent.path.rstrip('/')}/{self.name}"

    @property
    def compatible(self) -> list[str]:
        """What it can be driven as, the most exact first."""
        return self.text("compatible").split("\0") if "compatible" in self.properties else []

    @property
    def is_there(self) -> bool:
        """Whether the board has it: neither it nor what it hangs on is switched off."""
        is_on = self.text("status") in ("", "okay", "ok")
        return is_on and (self.parent is None or self.parent.is_there)

    def text(self, name: str) -> str:
        """Return a property as text, without its end; "" without one."""
        return self.properties.get(name, b"").rstrip(b"\0").decode("ascii", "replace")

    def cells(self, name: str) -> list[int]:
        """Return a property as 32-bit numbers."""
        value = self.properties.get(name, b"")
        return list(struct.unpack(f">{len(value) // 4}I", value[: len(value) // 4 * 4]))

    def walk(self) -> Iterator[Node]:
        """Yield this node and all under it."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_tree(blob: bytes) -> Node:
    """Return the root of a flattened device tree.

    Raises
    ------
    EvenhandError
        When it is none, or damaged.
    """
    try:
        return _read(blob)
    except (struct.error, IndexError, ValueError) as error:
        raise EvenhandError(f"device tree: is none, or damaged ({error})") from None


def _read(blob: bytes) -> Node:
    magic, size, at, strings = struct.unpack_from(">4I", blob)
    if magic != MAGIC or size > len(blob):
        raise ValueError("no magic number" if magic != MAGIC else f"{len(blob)} bytes of {size}")
    root = Node(name="", parent=None)
    here: Node | None = None
    while True:
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        if token == BEGIN:
            end = blob.index(b"\0", at)
            node = root if here is None else Node(name=blob[at:end].decode("ascii"), parent=here)
            if here is not None:
                here.children.append(node)
            here, at = node, (end + 4) // 4 * 4
        elif token == PROPERTY and here is not None:
            length, name_at = struct.unpack_from(">2I", blob, at)
            name_at += strings
            name = blob[name_at : blob.index(b"\0", name_at)].decode("ascii")
            here.properties[name] = blob[at + 8 : at + 8 + length]
            at = (at + 8 + length + 3) // 4 * 4
        elif token == END and here is not None:
            here = here.parent
        elif token == STOP and here is None:
            return root
        elif token != NOTHING:
            raise ValueError(f"unknown token {token} at {at}")


def find(root: Node, compatible: str) -> list[Node]:
    """Return the nodes that are there and can be driven as ``compatible``."""
    return [node for node in root.walk() if compatible in node.compatible and node.is_there]


def suppliers(root: Node, wanted: Iterable[Node]) -> list[Node]:
    """Return ``wanted`` with all that they hang on and are supplied by: buses, clocks, regulators, resets, pins."""
    by_phandle = {node.cells("phandle")[0]: node for node in root.walk() if node.cells("phandle")}
    found: dict[int, Node] = {}
    waiting = list(wanted)
    while waiting:
        node = waiting.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        if node.parent is not None:
            waiting.append(node.parent)
        waiting.extend(_named(node, by_phandle))
    return sorted(found.values(), key=lambda node: node.path)


def _named(node: Node, by_phandle: dict[int, Node]) -> Iterator[Node]:
    for name in node.properties:
        for pattern, cells_name in REFERENCES:
            if not re.fullmatch(pattern, name):
                continue
            cells = node.cells(name)
            while cells:
                target = by_phandle.get(cells.pop(0))
                if target is None:
                    continue
                yield target
                n_more = target.cells(cells_name)[0] if cells_name and target.cells(cells_name) else 0
                del cells[:n_more]


class Drivers:
    """Which modules drive what, of one kernel.

    Parameters
    ----------
    aliases
        Text of ``modules.alias``.
    builtin
        Content of ``modules.builtin.modinfo``.
    """

    def __init__(self, aliases: str, builtin: bytes = b"") -> None:
        self._modules: dict[str, set[str]] = {}
        self._built_in: set[str] = set()
        for line in aliases.splitlines():
            words = line.split()
            if len(words) == 3 and (compatible := _driven(words[1])):
                self._modules.setdefault(compatible, set()).add(words[2])
        for entry in builtin.split(b"\0"):
            _, _, value = entry.decode("ascii", "replace").partition(".alias=")
            if compatible := _driven(value):
                self._built_in.add(compatible)

    def modules(self, nodes: Iterable[Node]) -> list[str]:
        """Return the names of the modules that drive ``nodes``, with ``_`` in them."""
        return sorted({m for node in nodes for c in node.compatible for m in self._modules.get(c, ())})

    def has_driver(self, node: Node) -> bool:
        """Whether the kernel drives it, by a module or by itself."""
        return any(c in self._modules or c in self._built_in for c in node.compatible)


def _driven(alias: str) -> str:
    """Return what an alias says is driven; "" where it is of no device tree."""
    found = re.fullmatch(r"of:N\*T\*C(.+?)(C\*)?", alias)
    return found[1] if found else ""
