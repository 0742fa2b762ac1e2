"""Blocks of content in a request, and the messages that they come to."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from divebell.serve.form import Absent, Form

BILLING = "x-anthropic-billing-header:"


class CacheControl(Form):
    """Taken, as there is nothing to do: every common beginning is found in the cache, whoever asked first."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None
    scope: str | None = None


class TextBlock(Form):
    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None
    citations: Annotated[list, Field(max_length=0)] | None = None


class ThinkingBlock(Form):
    """signature: of one of our answers it is empty; nobody checks it."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None
    cache_control: CacheControl | None = None


class RedactedThinkingBlock(Form):
    """Another model's thoughts, which nobody but its maker can read: they are left out."""

    type: Literal["redacted_thinking"]
    data: str
    cache_control: CacheControl | None = None


class Caller(Form):
    """The model itself, and no program that it wrote."""

    type: Literal["direct"]


class ToolUseBlock(Form):
    type: Literal["tool_use"]
    id: str
    name: Annotated[str, Field(min_length=1, max_length=128)]
    input: dict[str, Any]
    cache_control: CacheControl | None = None
    caller: Caller | None = None
    toolset_name: Absent = None


class ToolResultBlock(Form):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


UserBlock = Annotated[TextBlock | ToolResultBlock, Field(discriminator="type")]
AssistantBlock = Annotated[
    TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock, Field(discriminator="type")
]


class UserMessage(Form):
    role: Literal["user"]
    content: str | list[UserBlock]

    def plain(self) -> list[dict[str, object]]:
        """What tools came to, each in a message of its own, and then what the user says."""
        if isinstance(self.content, str):
            return [{"role": "user", "content": self.content}]
        results = [returned(block) for block in self.content if isinstance(block, ToolResultBlock)]
        texts = [block for block in self.content if isinstance(block, TextBlock)]
        said = [{"role": "user", "content": joined(texts)}] if texts or not results else []
        return [*results, *said]


class AssistantMessage(Form):
    role: Literal["assistant"]
    content: str | list[AssistantBlock]

    def plain(self) -> list[dict[str, object]]:
        if isinstance(self.content, str):
            return [{"role": "assistant", "content": self.content}]
        thoughts = "".join(block.thinking for block in self.content if isinstance(block, ThinkingBlock))
        calls = [called(block) for block in self.content if isinstance(block, ToolUseBlock)]
        message = {"role": "assistant", "content": joined(self.content)}
        return [
            message | ({"reasoning_content": thoughts} if thoughts else {}) | ({"tool_calls": calls} if calls else {})
        ]


class SystemMessage(Form):
    """Instructions in the middle of a conversation."""

    role: Literal["system"]
    content: str | list[TextBlock]

    def plain(self) -> list[dict[str, object]]:
        return [{"role": "system", "content": joined(self.content)}]


Message = Annotated[UserMessage | AssistantMessage | SystemMessage, Field(discriminator="role")]


def joined(content: str | list[Form] | None) -> str:
    """The text of text blocks."""
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content or () if isinstance(block, TextBlock))


def instructions(system: str | list[TextBlock] | None) -> str:
    """What the model is told. Claude Code's first block is for Anthropic's billing: it differs from conversation to
    conversation, with some versions from request to request, and would hide all that follows from the cache."""
    if isinstance(system, list):
        system = [block for block in system if not block.text.startswith(BILLING)]
    return joined(system)


def called(block: ToolUseBlock) -> dict[str, object]:
    arguments = json.dumps(block.input, ensure_ascii=False)
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def returned(block: ToolResultBlock) -> dict[str, object]:
    text = joined(block.content)
    text = f"Error: {text}" if block.is_error else text
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}
