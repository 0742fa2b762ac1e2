"""What an answer turns out to be made of, in the order in which it comes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Some of the reasoning. The first is empty: it says that the model reasons."""

    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """Some of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call of a tool begins. index: 0, 1, ... within the answer. id: the model's own, None where it gave none."""

    index: int
    name: str
    id: str | None


@dataclass(frozen=True, slots=True)
class CallArguments:
    """Some of the JSON text of a call's arguments."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnd:
    """No more comes of this call."""

    index: int


Event = Reasoning | Content | CallStart | CallArguments | CallEnd
