"""Has Valkey left an exchange unanswered for so long that its answer is not to be reckoned with?"""

from __future__ import annotations

import asyncio
from typing import Final

MUTE_S: Final = 0.25
_LOOKS: Final = 5


class Silence:
    """`mute` turns true while an exchange has been on its way for `mute_s`, long before its connection times out.

    Time is told by looks of the loop, each of which has read what has come: a loop, or a machine, that was busy
    elsewhere meanwhile makes no server mute.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, mute_s: float = MUTE_S) -> None:
        self._loop = loop
        self._look_s = mute_s / _LOOKS
        self._timer: asyncio.TimerHandle | None = None
        self.mute = False

    def begin(self) -> None:
        """An exchange is sent, or sent again. A server that is mute stays so until it has answered."""
        if self._timer is None and not self.mute:
            self._timer = self._loop.call_later(self._look_s, self._look, _LOOKS - 1)

    def _look(self, left: int) -> None:
        if left:
            self._timer = self._loop.call_later(self._look_s, self._look, left - 1)
        else:
            self._timer = None
            self.mute = True

    def end(self) -> None:
        """It was answered, or nobody waits for it any more."""
        self.mute = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
