"""How old a reading of the machine may be."""

import math
from typing import Final

_LEAST: Final = 0.2
"""Seconds between two readings at first."""
_SHARE: Final = 0.2
"""Seconds between two readings, for each second of work before them."""


class Freshness:
    """Tells when a reading is due: every `refresh` seconds, and more often when work begins.

    What workers need shows when they have worked. Without early readings, several would be started on the memory that
    one had before its first job. Work begins anew after a time in which nobody has asked.
    """

    def __init__(self, refresh: float) -> None:
        self._refresh = refresh
        self._since = self._asked = self._read = -math.inf

    def is_due(self, now: float) -> bool:
        """Return whether to read now, which is then the time of the last reading. `now` is monotonic, in seconds.

        After a jump backwards a reading is due.
        """
        if not 0.0 <= now - self._asked <= self._refresh:
            self._since = now
        self._asked = now
        if 0.0 <= now - self._read < min(self._refresh, max(_LEAST, _SHARE * (now - self._since))):
            return False
        self._read = now
        return True

    def __repr__(self) -> str:
        return f"<Freshness read at {self._read:g}>"
