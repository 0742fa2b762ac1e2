"""Text that comes in pieces, for parsers that are generators: they yield events, and MORE where they have to wait.

A parser decides nothing on the ground of where a piece ends, so its events join to the same whatever the pieces are.
"""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from divebell.text.events import Event

MORE = object()
Found = TypeVar("Found")
Steps = Generator[object, None, Found]  # yields events and MORE, returns what was found


class Reader:
    """A cursor in the text so far, of which what lies before it is let go, except where `keep` asked for it."""

    def __init__(self):
        self.at = 0
        self.ended = False
        self._text = ""
        self._kept: list[int] = []

    def feed(self, text: str) -> None:
        start = min([self.at, *self._kept[:1]])
        self._text = self._text[start:] + text
        self.at -= start
        self._kept = [place - start for place in self._kept]

    def keep(self) -> None:
        """Remembers this place, to `go_back` to or `let_go` of."""
        self._kept.append(self.at)

    def go_back(self) -> None:
        self.at = self._kept.pop()

    def let_go(self) -> None:
        """Forgets the last place remembered, if it has not been settled already."""
        del self._kept[-1:]

    def settle(self) -> None:
        """What has been read is what it seemed to be: forgets all places."""
        self._kept.clear()

    def take_all(self) -> str:
        """Everything that has come and was not read."""
        text, self.at = self._text[self.at :], len(self._text)
        return text

    def next_letter(self) -> Steps[str]:
        """The letter at the cursor, "" at the end."""
        while self.at >= len(self._text) and not self.ended:
            yield MORE
        return self._text[self.at : self.at + 1]

    def skip_space(self) -> Steps[str]:
        """Steps over white space, and gives it."""
        skipped = ""
        while (yield from self.next_letter()).isspace():
            rest = self._text[self.at :]
            skipped += self.take_text(len(rest) - len(rest.lstrip()))
        return skipped

    def take(self, mark: str) -> Steps[bool]:
        """Steps over `mark` if it comes next."""
        while not self.ended and len(self._text) - self.at < len(mark) and mark.startswith(self._text[self.at :]):
            yield MORE
        found = self._text.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def take_end(self, mark: str) -> Steps[bool]:
        """`take`, of a mark that may be cut off by the end of the text."""
        found = yield from self.take(mark)
        rest = self._text[self.at :]
        if not found and self.ended and rest and mark.startswith(rest):
            self.at, found = len(self._text), True
        return found

    def take_text(self, length: int) -> str:
        """`length` characters that are known to be there."""
        self.at += length
        return self._text[self.at - length : self.at]

    def word(self, ends: Sequence[str], longest: int) -> Steps[str | None]:
        """Text up to one of `ends`, which is not stepped over; None if none comes within `longest` characters."""
        while True:
            place = first_place(self._text, ends, self.at)
            if place is not None:
                length = place[0] - self.at
                return self.take_text(length) if length <= longest else None
            if self.ended or len(self._text) - self.at > longest + max(map(len, ends)):
                return None
            yield MORE

    def text_before(
        self,
        marks: Sequence[str],
        event: Callable[[str], Event | None],
        holds_space: bool = True,
        drops_cut: bool = False,
    ) -> Steps[str | None]:
        """Hands on the text before the first of `marks`, and gives that mark, not stepped over; None at the end.

        holds_space: white space before the mark is not handed on, and the cursor stays in front of it.
        drops_cut: nor is, at the end of the text, what may be the beginning of a mark.
        """
        while True:
            place = first_place(self._text, marks, self.at)
            end = place[0] if place else self._certain(marks, drops_cut)
            if holds_space and marks and (place or not self.ended):
                end = self.at + len(self._text[self.at : end].rstrip())
            made = event(self.take_text(end - self.at)) if end > self.at else None
            if made is not None:
                yield made
            if place:
                return place[1]
            if self.ended:
                self.at = len(self._text)
                return None
            yield MORE

    def _certain(self, marks: Sequence[str], drops_cut: bool) -> int:
        """Up to where the text can't be the beginning of a mark."""
        return len(self._text) - (0 if self.ended and not drops_cut else undecided(marks, self._text[self.at :]))


def first_place(text: str, marks: Sequence[str], start: int) -> tuple[int, str] | None:
    """(where, which) of `marks` comes first from `start` on; of those at the same place, the first named."""
    places = [(place, mark) for mark in marks if (place := text.find(mark, start)) >= 0]
    return min(places, key=lambda place: place[0], default=None)


def undecided(marks: Sequence[str], text: str) -> int:
    """Length of the longest tail of `text` that one of `marks` begins with."""
    longest = max(map(len, marks), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0
