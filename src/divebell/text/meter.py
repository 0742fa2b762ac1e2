"""What one rendering of a chat template may use: time, text, and the size of what it builds.

A template is a program from a stranger. Pure loops are stopped by the clock, which every loop turn, call, filter and
operator looks at. What would run long inside one of Python's own functions, out of the clock's reach, is refused by the
size of its arguments before it begins.
"""

import re
import time
from collections.abc import ItemsView, KeysView, Sequence, ValuesView

from jinja2.utils import Namespace

from divebell.errors import BadTemplate

SECONDS = 1.5
CHARACTERS = 4_000_000
ITEMS = 200_000
SHARE_OF_INPUT = 16  # long conversations may ask for more
POWER_BITS = 10_000
CONTAINERS = (list, tuple, set, frozenset, dict, range, KeysView, ValuesView, ItemsView)

# Python work that grows with the product of the arguments' sizes ...
PERCENT = "%"  # the operator and the filter `format`, not to be taken for the method
PRODUCTS = frozenset(
    (PERCENT, "batch", "center", "expandtabs", "format", "format_map", "indent", "join", "ljust", "lstrip", "replace",
     "rjust", "rstrip", "slice", "strip", "sum", "tojson", "translate", "trim", "zfill")
)  # fmt: skip
# ... or is slow for each character or item.
SLOW = {
    "pprint": 5_000,
    "striptags": 10_000,
    "title": 100_000,
    "urlize": 10_000,
    "wordcount": 500_000,
    "wordwrap": 100_000,
}
PLAIN_CODECS = ("utf-8", "utf8", "ascii", "latin-1")
WIDE_PERCENT = re.compile(r"%[^a-zA-Z%]*(\d{6}|\*)")
WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*(\d{6}|\{)")
ESCAPED_BRACES = re.compile(r"\{\{|\}\}")


def contents(value) -> Sequence:
    """What a container holds; nothing for anything else."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, Namespace):
        return list(object.__getattribute__(value, "_Namespace__attrs").values())
    return list(value) if isinstance(value, CONTAINERS) else ()


class Meter:
    """`given`: how much text and how many items the messages hold together."""

    def __init__(self, given: int):
        self.characters = CHARACTERS + SHARE_OF_INPUT * given
        self.items = ITEMS + SHARE_OF_INPUT * given
        self.left = 4 * self.characters
        self.deadline = time.monotonic() + SECONDS

    def tick(self) -> None:
        if time.monotonic() > self.deadline:
            raise BadTemplate(f"the chat template was stopped: it had not ended after {SECONDS:g} seconds")

    def made(self, value):
        """`value`, just built: counted, and refused when larger than anything a prompt needs."""
        self.tick()
        if isinstance(value, str | bytes):
            self.spend(len(value))
        elif isinstance(value, CONTAINERS):
            self.spend(8 * len(value))
            self.expanded(value)
        return value

    def spend(self, characters: int) -> None:
        self.left -= characters
        if characters > self.characters or self.left < 0:
            raise BadTemplate(f"the chat template was stopped: it makes more than {self.characters:,} characters")

    def expanded(self, value) -> int:
        """How many characters and items `value` has when written out, shared parts counted each time."""
        characters = items = 0
        waiting = [value]
        while waiting:
            value = waiting.pop()
            if isinstance(value, str | bytes):
                characters += len(value)
                continue
            inside = contents(value)
            items += len(inside)
            if items > self.items:
                raise BadTemplate(f"the chat template was stopped: it builds more than {self.items:,} items")
            waiting.extend(inside)
        if characters > self.characters:
            raise BadTemplate(f"the chat template was stopped: it makes more than {self.characters:,} characters")
        return characters + items

    def size(self, value) -> int:
        if isinstance(value, int):
            return abs(value)
        return self.expanded(value)

    def allow(self, name: str, arguments: list) -> None:
        """Refuse a function that would be at work too long, before it starts."""
        self.tick()
        if name in PRODUCTS:
            self.allow_product(name, arguments)
        elif name in SLOW and self.size(arguments) > SLOW[name]:
            raise BadTemplate(f"the chat template was stopped: {name} of more than {SLOW[name]:,} characters or items")
        elif name == "encode" and any(isinstance(a, str) and a.lower() not in PLAIN_CODECS for a in arguments[1:2]):
            raise BadTemplate(f"the chat template was stopped: encode knows {', '.join(PLAIN_CODECS)}")

    def allow_product(self, name: str, arguments: list) -> None:
        first, rest = arguments[0], arguments[1:]
        if isinstance(first, str) and name in (PERCENT, "format", "format_map"):
            amount = self.written_out(name, first, rest)
        elif isinstance(first, str) and name == "replace" and len(rest) >= 2 and isinstance(rest[0], str):
            amount = first.count(rest[0]) * (1 + self.size(rest[1]))
        elif name == "sum":  # lists are copied at each step
            amount = self.size(first) ** (2 if any(isinstance(start, CONTAINERS) for start in rest) else 1)
        else:
            amount = (1 + self.size(first)) * (1 + sum(map(self.size, rest)))
        if amount > self.characters:
            raise self.too_much(name)

    def written_out(self, name: str, form: str, arguments: list) -> int:
        """At most so many characters come of a format string; a wide field, or a width from an argument, is refused."""
        if name == PERCENT:
            wide, fields = WIDE_PERCENT.search(form), form.count("%")
        else:
            wide, fields = WIDE_BRACES.search(ESCAPED_BRACES.sub("", form)), form.count("{")
        if wide:
            raise self.too_much(name)
        return (fields + 1) * (1 + self.size(arguments))

    def too_much(self, name: str) -> BadTemplate:
        return BadTemplate(f"the chat template was stopped: {name} would make more than {self.characters:,} characters")

    def allow_operator(self, operator: str, left, right) -> None:
        self.tick()
        if operator == "*":
            self.allow_repeat(left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > POWER_BITS:
                raise BadTemplate("the chat template was stopped: a power of more than 3,000 digits")
        elif operator == "%" and isinstance(left, str):
            self.allow_product(PERCENT, [left, right])

    def allow_repeat(self, left, right) -> None:
        if isinstance(left, int) and isinstance(right, int):
            amount = left.bit_length() + right.bit_length()
        elif isinstance(left, int) or isinstance(right, int):
            amount = self.size(left) * self.size(right)
        else:
            return
        if amount > self.characters:
            raise self.too_much("*")
