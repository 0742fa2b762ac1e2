"""Items of a conversation in /v1/responses, and the messages that they come to."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from divebell.serve.form import Absent, Form
from divebell.serve.openai.parts import RefusalPart
from divebell.serve.openai.responses_tools import known_as
from divebell.serve.openai.tools import Name

Status = Literal["in_progress", "completed", "incomplete"]
Nothing = Annotated[list, Field(max_length=0)]


class Text(Form):
    type: Literal["input_text", "output_text", "reasoning_text"]
    text: str
    annotations: Nothing | None = None
    logprobs: Nothing | None = None


Content = str | list[Annotated[Text | RefusalPart, Field(discriminator="type")]]


class MessageItem(Form):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    id: str | None = None
    status: Status | None = None
    phase: str | None = None


class CallItem(Form):
    type: Literal["function_call"]
    call_id: str
    name: Name
    arguments: str
    id: str | None = None
    status: Status | None = None
    caller: Absent = None
    namespace: str | None = None


class OutputItem(Form):
    type: Literal["function_call_output"]
    call_id: str
    output: Content
    id: str | None = None
    status: Status | None = None


class ReasoningItem(Form):
    type: Literal["reasoning"]
    summary: Nothing
    content: list[Text] | None = None
    id: str | None = None
    status: Status | None = None
    encrypted_content: Absent = None


def _typed(item: object) -> object:
    """A message need not say that it is one."""
    return {"type": "message", **item} if isinstance(item, dict) else item


Item = Annotated[
    Annotated[MessageItem | CallItem | OutputItem | ReasoningItem, Field(discriminator="type")], BeforeValidator(_typed)
]


def conversation(instructions: str | None, items: str | Iterable[Form]) -> list[dict[str, object]]:
    """As `LLM.chat` has it; what an assistant thought, said and called in a row is one message."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}]
    for item in items:
        role, fields = _plain(item)
        if role == "assistant" and messages and _goes_on(messages[-1], fields):
            messages[-1] |= fields | {"tool_calls": messages[-1].get("tool_calls", []) + fields.get("tool_calls", [])}
        else:
            messages.append({"role": role, "content": "", **fields})
    return [{name: value for name, value in message.items() if value != []} for message in messages]


def _goes_on(message: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Whether an assistant's message still has no such field, or may have more of it."""
    return message["role"] == "assistant" and not any(message.get(name) for name in fields if name != "tool_calls")


def _plain(item: Form) -> tuple[str, dict[str, Any]]:
    match item:
        case MessageItem():
            return item.role, {"content": joined(item.content)}
        case ReasoningItem():
            return "assistant", {"reasoning_content": joined(item.content or "")}
        case CallItem():
            function = {"name": known_as(item.namespace, item.name), "arguments": item.arguments}
            return "assistant", {"tool_calls": [{"id": item.call_id, "type": "function", "function": function}]}
        case OutputItem():
            return "tool", {"tool_call_id": item.call_id, "content": joined(item.output)}


def joined(content: Content) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
