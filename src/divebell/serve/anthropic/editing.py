"""What a request wants cleared from its earlier turns: https://platform.claude.com/docs/en/build-with-claude/context-editing."""

from typing import Annotated, Any, Literal

from pydantic import Field

from divebell.serve.form import Form


class AllThinking(Form):
    type: Literal["all"]


class LatestThinking(Form):
    type: Literal["thinking_turns"]
    value: Annotated[int, Field(ge=1)]


class ClearThinking(Form):
    """keep: of how many of the latest turns that have any; all: what the model's template then leaves of it."""

    type: Literal["clear_thinking_20251015"]
    keep: Literal["all"] | Annotated[AllThinking | LatestThinking, Field(discriminator="type")] | None = None

    def edited(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Without the reasoning of earlier turns."""
        if self.keep == "all" or isinstance(self.keep, AllThinking):
            return messages
        kept = self.keep.value if self.keep else 1
        places = [index for index, message in enumerate(messages) if "reasoning_content" in message]
        cleared = set(places[:-kept])
        return [_without(message) if index in cleared else message for index, message in enumerate(messages)]


class ContextManagement(Form):
    edits: list[ClearThinking] | None = None

    def edited(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for edit in self.edits or ():
            messages = edit.edited(messages)
        return messages


def _without(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "reasoning_content"}
