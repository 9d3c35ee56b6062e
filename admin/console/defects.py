"""What becomes of a defect: where it came from is kept in a file, a sentence says so, and the console goes on.

Textual ends an application with a traceback where a handler, a callback, a timer or a worker raises, and ends the
widget's own loop of messages before that. :class:`Guarded` keeps the loop; :class:`Defects` decides what is told, and
when there is no use in going on: a drawing that fails anew with every frame would tell of itself for ever.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from storage.errors import RedraftError

if TYPE_CHECKING:
    from textual.message import Message
    from textual.message_pump import MessagePump

    _Base = MessagePump
else:
    _Base = object

#: So many within so many seconds, and the console leaves.
MOST, WITHIN_S = 20, 10.0


class Guarded(_Base):
    """A widget, screen or application that goes on reading its messages when a handler of one fails."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            self.app._handle_exception(error)


class Defects:
    """How many there were lately."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MOST)

    def told(self, error: Exception) -> RedraftError:
        """What may be said of an error: itself where it is one of ours, else a sentence that names a file."""
        from textual.worker import WorkerFailed

        if isinstance(error, WorkerFailed) and isinstance(error.error, Exception):
            error = error.error
        if isinstance(error, RedraftError):
            return error
        from admin.report import keep_unexpected

        return keep_unexpected(error)

    def too_many(self) -> bool:
        """Count one more; whether there is no use in going on."""
        self._times.append(time.monotonic())
        return len(self._times) == MOST and self._times[-1] - self._times[0] < WITHIN_S
