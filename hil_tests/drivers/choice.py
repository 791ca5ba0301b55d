"""The box that a rig's driver makes."""

from __future__ import annotations

from hil_tests.board import Box
from hil_tests.rig import Rig


def box_of(rig: Rig) -> Box:
    """Return the box of a rig, not yet made: enter it.

    Raises
    ------
    HilError
        When the rig's table says what cannot be.
    """
    if rig.driver == "sim":
        from .sim_box import SimBox

        return SimBox(rig)
    if rig.driver == "qemu":
        from .qemu_board import QemuBoard

        return QemuBoard(rig)
    from .bench_box import BenchBox

    return BenchBox(rig)


def make_ready(rig: Rig) -> None:
    """Make what a rig's boxes are made of, where it is made from this checkout and takes minutes.

    Raises
    ------
    HilError
        When that fails.
    """
    if rig.driver == "qemu":
        from .qemu_board import QemuBoard

        QemuBoard(rig).find_image()
