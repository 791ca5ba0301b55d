"""One element of an ALSA mixer: a volume in dB or a switch, whose answer is the card's and not what was asked for."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from firmware.errors import EvenhandError

from .alsa import alsaaudio


class Element:
    """A simple mixer element, open on its own handle, as ``amixer scontrols`` names it.

    pyalsaaudio drops the errors of a write, and alsa-lib remembers what was written even if the card refused. So writes
    go through a handle of their own, and the handle that reads hears from the card what became of them.
    """

    def __init__(self, ctl: str, name: str, *, is_volume: bool) -> None:
        self._alsa = alsaaudio()
        self._ctl, self._name = ctl, name
        self._place = f'{ctl}: control "{name}"'
        try:
            self._mixer: Any = self._alsa.Mixer(control=name, device=ctl)
        except self._alsa.ALSAAudioError as error:
            raise EvenhandError(f"{self._place}: {self._reason(ctl, name, error)}") from None
        capabilities = self._mixer.volumecap() if is_volume else self._mixer.switchcap()
        if not capabilities:
            self._mixer.close()
            raise EvenhandError(f"{self._place} is no {'volume' if is_volume else 'switch'}; correct the board file")
        self._is_capture = any("Capture" in c for c in capabilities)

    def _reason(self, ctl: str, name: str, error: Exception) -> str:
        try:
            names = self._alsa.mixers(device=ctl)
        except self._alsa.ALSAAudioError:
            return f"the card's control cannot be opened ({error}); is the card plugged in?"
        if name in names:
            return str(error)
        close = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(names[:8]) or 'none'}"
        return f"the card has no such control; {hint}"

    @property
    def file_descriptors(self) -> tuple[int, ...]:
        """What becomes readable when the element changes."""
        return tuple(fd for fd, _events in self._mixer.polldescriptors())

    def refresh(self) -> None:
        """Hear what the card has to say; raises when it is gone."""
        try:
            self._mixer.handleevents()
        except self._alsa.ALSAAudioError as error:
            raise EvenhandError(f"{self._place}: the card is gone ({error}); plug it in again") from None

    def db(self) -> float:
        """Return the volume in dB."""
        return float(self._mixer.getvolume(self._stream, self._alsa.VOLUME_UNITS_DB)[0]) / 100.0

    def set_db(self, volume_db: float) -> float:
        """Set the volume and return what the card made of it."""
        hundredths = round(volume_db * 100.0)
        self._write("setvolume", hundredths, pcmtype=self._stream, units=self._alsa.VOLUME_UNITS_DB)
        return self.db()

    def is_on(self) -> bool:
        """Return whether the switch is on."""
        return bool(self._mixer.getrec()[0] if self._is_capture else not self._mixer.getmute()[0])

    def switch(self, is_on: bool) -> None:
        """Turn the switch; ``is_on`` says whether the card agreed."""
        if self._is_capture:
            self._write("setrec", int(is_on))
        else:
            self._write("setmute", int(not is_on))

    def _write(self, verb: str, *arguments: Any, **more: Any) -> None:
        try:
            writer = self._alsa.Mixer(control=self._name, device=self._ctl)
        except self._alsa.ALSAAudioError as error:
            raise EvenhandError(f"{self._place}: the card is gone ({error}); plug it in again") from None
        try:
            getattr(writer, verb)(*arguments, **more)
        finally:
            writer.close()
        self.refresh()

    def close(self) -> None:
        """Let go of the element."""
        self._mixer.close()

    @property
    def _stream(self) -> int:
        return int(self._alsa.PCM_CAPTURE if self._is_capture else self._alsa.PCM_PLAYBACK)
