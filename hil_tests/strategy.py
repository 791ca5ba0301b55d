"""Brings the box of a rig to where a test begins, and stops for good once that failed."""

from __future__ import annotations

from collections.abc import Callable

from .board import Box
from .errors import HilError


class Strategy:
    """The one box of a rig for a whole run of tests.

    Between two tests the box is as new. A box that could not be brought up is not tried again: every test after that
    fails with the reason of the first.
    """

    def __init__(self, box: Box) -> None:
        self.box = box
        self._trouble = ""

    def up(self) -> Box:
        """Return the box, as new, with power, mixing.

        Raises
        ------
        HilError
            When it does not come up, or did not once.
        """
        return self._bring(self._up)

    def off(self) -> Box:
        """Return the box, as new, without power."""
        return self._bring(self.box.renew)

    def _up(self) -> None:
        if not self.box.is_as_new and not self.box.restore():
            self.box.renew()
        if not self.box.has_power:
            self.box.power_on()
        self.box.wait_until_up()

    def _bring(self, act: Callable[[], None]) -> Box:
        if self._trouble:
            raise HilError(f"rig {self.box.rig.name} is broken since an earlier test: {self._trouble}")
        try:
            act()
        except HilError as error:
            self._trouble = str(error)
            raise
        return self.box
