"""Who has signed in on the page, and how often somebody tried."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil
from secrets import token_urlsafe

COOKIE = "divebell_session"
LONGEST = 24 * 3600.0  # seconds
MOST_SESSIONS = MOST_CLIENTS = 1024
ATTEMPTS, PERIOD = 5, 60.0  # wrong keys that a client may give, and the seconds in which


class Sessions:
    """Kept in memory alone: a restart signs everybody out. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._owners: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, owner: str) -> str:
        """A token that nobody can guess, which stands for the owner of a key."""
        token = token_urlsafe(32)
        self._owners[token] = (owner, self._clock() + LONGEST)
        while len(self._owners) > MOST_SESSIONS:
            self._owners.popitem(last=False)
        return token

    def owner(self, token: str) -> str | None:
        """Whose session it is, if it is one and has not ended."""
        owner, end = self._owners.get(token, (None, 0.0))
        if owner is not None and self._clock() >= end:
            del self._owners[token]
            return None
        return owner

    def end(self, token: str) -> None:
        self._owners.pop(token, None)

    def wait(self, client: str) -> int:
        """Seconds until a client may try again; 0: now."""
        failures = self._failures.get(client, deque())
        while failures and failures[0] <= self._clock() - PERIOD:
            failures.popleft()
        return ceil(failures[0] + PERIOD - self._clock()) if len(failures) >= ATTEMPTS else 0

    def failed(self, client: str) -> None:
        """A client gave a wrong key."""
        self._failures.setdefault(client, deque()).append(self._clock())
        self._failures.move_to_end(client)
        while len(self._failures) > MOST_CLIENTS:
            self._failures.popitem(last=False)
