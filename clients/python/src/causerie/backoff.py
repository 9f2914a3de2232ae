"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass
class Backoff:
    """Doubling delays with jitter, so that those who lost one server do not come back in one moment.

    ``first`` and ``most`` are seconds; the protocol's advice is 0.5 and 30. Each delay lies between half of the step and
    the whole of it.
    """

    first: float = 0.5
    most: float = 30.0
    _tries: int = 0

    def next(self, at_least: float = 0.0) -> float:
        """The next delay in seconds; more than ``at_least``, where the server asked for it."""
        step = min(self.most, self.first * 2.0 ** min(self._tries, 63))
        self._tries += 1
        delay = step * random.uniform(0.5, 1.0)
        return delay + at_least if at_least else delay

    def reset(self) -> None:
        """It went well."""
        self._tries = 0
