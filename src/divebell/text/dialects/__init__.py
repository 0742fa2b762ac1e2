"""What a family of models writes besides its answer, one module for each way of writing it.

A dialect module has `splitter(prompt) -> Splitter`, which tells reasoning from answer while the text comes in. `prompt`
is the rendered prompt that the text continues: it may already have opened the reasoning.
"""

from typing import Protocol


class Splitter(Protocol):
    """One request's text, told apart. The pieces of each kind join to the whole of that kind."""

    reasoned: bool
    """Whether there was any reasoning, be it empty."""

    def push(self, text: str) -> tuple[str, str]:
        """(more reasoning, more answer), either may be ""."""

    def flush(self) -> tuple[str, str]:
        """What was held back, when no more text comes."""
