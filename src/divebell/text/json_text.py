"""JSON values within text that comes in pieces."""

import json
import re
from collections.abc import Callable

from divebell.text.events import Event
from divebell.text.reader import MORE, Reader, Steps

NOTABLE = re.compile(r'["\\{}\[\]\x00-\x1f]')
SCALAR = re.compile(r"[-+.\w]*")


class Balance:
    """Where a value ends that begins with a bracket or a quotation mark; it need not be valid inside."""

    def __init__(self):
        self._depth, self._quoted, self._escaped = 0, False, -1
        self._seen = 0  # characters before this piece

    def read(self, text: str) -> tuple[str, int | None]:
        """(the text, within strings with control characters as escapes; where the value ends, if it does).

        JSON forbids a line break inside a string, and models write it all the same.
        """
        parts, done = [], 0
        for match in NOTABLE.finditer(text):
            place, letter = match.start(), match.group()
            if self._seen + place == self._escaped:
                continue
            if self._quoted and letter < " ":
                parts += [text[done:place], json.dumps(letter)[1:-1]]
                done = place + 1
            elif self._turn(letter, self._seen + place):
                return "".join([*parts, text[done : place + 1]]), place + 1
        self._seen += len(text)
        return "".join([*parts, text[done:]]), None

    def _turn(self, letter: str, place: int) -> bool:
        """Whether the value ends with this letter."""
        if letter == "\\":
            self._escaped = place + 1 if self._quoted else -1
        elif letter == '"':
            self._quoted = not self._quoted
            return not self._quoted and self._depth == 0
        elif not self._quoted and letter > " ":
            self._depth += 1 if letter in "{[" else -1
            return self._depth <= 0
        return False


def pass_value(reader: Reader, event: Callable[[str], Event | None], longest: float = float("inf")) -> Steps[bool]:
    """Hands one value's text on as it comes; whether a whole one was there, of at most `longest` characters."""
    letter = yield from reader.next_letter()
    if not letter or letter not in '{["':
        return (yield from pass_scalar(reader, event))
    balance, length = Balance(), 0
    while True:
        start = reader.at
        text, end = balance.read(reader.take_all())
        made = event(text) if text else None
        if made is not None:
            yield made
        if end is not None:
            reader.at = start + end
            return length + len(text) <= longest
        length += len(text)
        if reader.ended or length > longest:
            return False
        yield MORE


def pass_scalar(reader: Reader, event: Callable[[str], Event | None]) -> Steps[bool]:
    """A number, true, false or null: whatever is made of their letters."""
    parts = []
    while (letter := (yield from reader.next_letter())) and SCALAR.fullmatch(letter):
        parts.append(reader.take_text(1))
    made = event("".join(parts)) if parts else None
    if made is not None:
        yield made
    return bool(parts)


def value(reader: Reader, longest: float = float("inf")) -> Steps[str | None]:
    """The text of one whole value, or None."""
    parts: list[str] = []
    whole = yield from pass_value(reader, parts.append, longest)
    return "".join(parts) if whole else None


def string(reader: Reader, longest: float = float("inf")) -> Steps[str | None]:
    """What a string says, or None where there is no valid one of at most `longest` characters, as it is written."""
    if (yield from reader.next_letter()) != '"':
        return None
    text = yield from value(reader, longest + len('""'))
    return None if text is None else said(text)


def said(text: str) -> str | None:
    """What the JSON string `text` says; None if it is none, or says what no encoding can hold."""
    found = parsed(text)
    if not isinstance(found, str) or any("\ud800" <= letter <= "\udfff" for letter in found):
        return None
    return found


def parsed(text: str) -> object:
    """What valid JSON text says, or INVALID."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return INVALID


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


INVALID = object()
