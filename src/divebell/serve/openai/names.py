"""Who of several speaks: names of participants that have the same role."""

from collections import defaultdict
from typing import Annotated, Any

from pydantic import Field

Participant = Annotated[str, Field(min_length=1, max_length=64)]


def told_apart(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with a name before the text, where a role has several: chat templates have no place for them.

    One name alone tells nothing that the role does not.
    """
    names: defaultdict[str, set[str | None]] = defaultdict(set)
    for message in messages:
        names[message["role"]].add(message.get("name"))
    return [_named(message) if len(names[message["role"]]) > 1 else _nameless(message) for message in messages]


def _named(message: dict[str, Any]) -> dict[str, Any]:
    name, text = message.get("name"), message.get("content")
    return _nameless(message) | ({"content": f"{name}: {text}"} if name and text else {})


def _nameless(message: dict[str, Any]) -> dict[str, Any]:
    """A tool's name stays."""
    return {key: value for key, value in message.items() if key != "name" or message["role"] == "tool"}
