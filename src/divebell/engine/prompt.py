"""What a model reads, and how much of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """vocabulary: ids the model has. context: tokens that prompt and answer may have together. longest: the context
    that the model could have been loaded with, if memory allows."""

    vocabulary: int
    context: int
    longest: int


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation as the model reads it. text: what the answer continues; ids: its tokens.

    goes_on: the answer is the rest of a message that has begun."""

    text: str
    ids: list[int]
    goes_on: bool = False
