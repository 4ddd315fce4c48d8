"""Recognizes messages that a stream has delivered before."""

from __future__ import annotations

from collections import OrderedDict

#: Rooms whose newest position is remembered.
MAX_ROOMS = 10_000


class Repeats:
    """The newest position of a message in each room. Positions rise within a room, so a lower one is a repeat."""

    def __init__(self) -> None:
        self._newest: OrderedDict[int, int] = OrderedDict()

    def contains(self, room: int, position: int) -> bool:
        """Whether the message was delivered before. If not, it counts as delivered from now on."""
        if self._newest.get(room, 0) >= position:
            return True
        self._newest[room] = position
        self._newest.move_to_end(room)
        if len(self._newest) > MAX_ROOMS:
            self._newest.popitem(last=False)
        return False

    def clear(self) -> None:
        """Positions can begin again after `resync`, because the server's store may be a restored one."""
        self._newest.clear()
