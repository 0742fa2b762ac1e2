"""Calls that are JSON objects: {"name": "f", "arguments": {"a": 1}}, in any order, alone or in a list."""

import json

from divebell.text.dialects.dialect import LONGEST_NAME, Calls
from divebell.text.events import Event
from divebell.text.json_text import pass_value, said, string, value
from divebell.text.reader import Reader, Steps
from divebell.text.tools import WrittenCall, is_name

NAMES = ("name", "function")
ARGUMENTS = ("arguments", "parameters")
IDS = ("id", "call_id")


def read_several(reader: Reader, calls: Calls) -> Steps[bool]:
    """One call, or a list of them; whether at least one was there."""
    if not (yield from reader.take("[")):
        return (yield from read(reader, calls))
    found = False
    while True:
        yield from reader.skip_space()
        if not (yield from read(reader, calls)):
            return found
        found = True
        yield from reader.skip_space()
        if not (yield from reader.take(",")):
            yield from reader.take("]")
            return True


def read(reader: Reader, calls: Calls, known_only: bool = False) -> Steps[bool]:
    """One call; False, with nothing read, where what stands there is none.

    known_only: the name must be a tool's, and there must be arguments.
    """
    reader.keep()
    found = yield from Members(reader, calls, known_only).read()
    reader.let_go() if found else reader.go_back()
    return found


class Members:
    """The members of one call's object, until it is clear what it is."""

    def __init__(self, reader: Reader, calls: Calls, known_only: bool):
        self._reader, self._calls, self._known_only = reader, calls, known_only
        self._name: str | None = None
        self._id: str | None = None
        self._early: str | None = None  # arguments that came before the name
        self._begun = False

    def read(self) -> Steps[bool]:
        closed = (yield from self._reader.take("{")) and (yield from self._members())
        if closed and not self._begun and self._name is not None and not (self._known_only and self._early is None):
            yield self._begin()
            yield self._calls.arguments(as_object(self._early or "{}"))
        if self._begun:
            yield self._calls.end()
        return self._begun

    def _members(self) -> Steps[bool]:
        """Whether the object was well-formed to its end."""
        while True:
            yield from self._reader.skip_space()
            key = yield from string(self._reader, LONGEST_NAME)
            yield from self._reader.skip_space()
            if key is None or not (yield from self._reader.take(":")):
                return False
            yield from self._reader.skip_space()
            if not (yield from self._member(key)):
                return False
            yield from self._reader.skip_space()
            if not (yield from self._reader.take(",")):
                return (yield from self._reader.take("}"))

    def _member(self, key: str) -> Steps[bool]:
        """Whether it is one that a call has, and has once."""
        if key in NAMES and self._name is None:
            self._name = yield from string(self._reader, LONGEST_NAME)
            return is_name(self._name) and (not self._known_only or self._calls.known(self._name))
        if key in ARGUMENTS and not self._begun and self._early is None:
            return (yield from self._arguments())
        if key in IDS and self._id is None:
            self._id = yield from string(self._reader, LONGEST_NAME)
            return self._id is not None
        return key == "type" and (yield from string(self._reader, LONGEST_NAME)) == "function"

    def _arguments(self) -> Steps[bool]:
        letter = yield from self._reader.next_letter()
        if self._name is None or letter != "{":
            self._early = yield from value(self._reader)
            return self._early is not None
        yield self._begin()
        return (yield from pass_value(self._reader, self._calls.arguments))

    def _begin(self) -> Event:
        self._begun = True
        return self._calls.begin(self._name, self._id)


def as_object(text: str) -> str:
    """Arguments that came as a string with JSON in it, or as null."""
    inner = said(text)
    return "{}" if text == "null" else text if inner is None else inner or "{}"


def head(name: str, arguments: str) -> str:
    """What stands before the arguments; `arguments` is what they are called."""
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "{arguments}": '


def written(call: WrittenCall, arguments: str) -> str:
    return f"{head(call.name, arguments)}{call.arguments}}}"
