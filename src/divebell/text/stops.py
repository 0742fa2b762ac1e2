"""Stop strings found across the borders of pieces."""

from collections.abc import Sequence

from divebell.errors import BadInput


class StopMatcher:
    """One request's search for the first place where any of `stops` begins to be complete.

    Text is given out as soon as it can no longer be the beginning of a stop string; the stop string itself never is.
    Of several that are complete at the same character, the longest is cut off. Raises BadInput for an empty one.

    found: the one that was, once it was.
    """

    def __init__(self, stops: Sequence[str]):
        for index, stop in enumerate(stops):
            if not isinstance(stop, str) or not stop:
                raise BadInput(f"stop[{index}] is {stop!r}: give a string of one character or more")
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._longest = len(self._stops[0]) if self._stops else 0
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> tuple[str, bool]:
        """(text to give out, whether a stop string was found); after True, push no more."""
        searched = len(self._held)
        self._held += text
        end = self._first_end(searched)
        if end is not None:
            return self._cut(end), True
        keep = self._undecided()
        give, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return give, False

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        give, self._held = self._held, ""
        return give

    def _first_end(self, searched: int) -> int | None:
        """Where the earliest complete stop string ends, looking only at ends within the newest text."""
        ends = []
        for stop in self._stops:
            begin = self._held.find(stop, max(0, searched - len(stop) + 1))
            if begin >= 0:
                ends.append(begin + len(stop))
        return min(ends, default=None)

    def _cut(self, end: int) -> str:
        stop = next(stop for stop in self._stops if self._held.endswith(stop, 0, end))
        give, self._held, self.found = self._held[: end - len(stop)], "", stop
        return give

    def _undecided(self) -> int:
        """Length of the longest tail that some stop string begins with."""
        for length in range(min(self._longest - 1, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0
