"""The delays between attempts."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first` to `longest` seconds.

    Each delay is a random part, half to all, of its step, because all clients of a server lose their streams at once.
    """

    def __init__(self, first: float, longest: float) -> None:
        self.first = first
        self.longest = longest
        self._step = first

    def next(self, at_least: float | None = None) -> float:
        """The next delay, which is not shorter than `at_least`, a `Retry-After` for example."""
        delay = self._step * random.uniform(0.5, 1.0)
        self._step = min(self._step * 2, self.longest)
        return max(delay, at_least or 0.0)

    def reset(self) -> None:
        """The next delay is the first one again."""
        self._step = min(self.first, self.longest)
