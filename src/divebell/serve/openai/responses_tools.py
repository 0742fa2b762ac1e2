"""Tools in /v1/responses, alone or together under a name, and the names that a model calls them by."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from divebell.serve.form import Form
from divebell.serve.openai.tools import Name
from divebell.serve.refusal import Refusal
from divebell.text.dialects.dialect import LONGEST_NAME


class FunctionTool(Form):
    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    allowed_callers: list[Literal["direct"]] | None = None
    defer_loading: Literal[False] | None = None

    def plain(self, name: str) -> dict[str, object]:
        """As chat completions have it, under a name."""
        fields = {"name", "description", "parameters"}
        return {"type": "function", "function": self.model_dump(exclude_none=True, include=fields) | {"name": name}}


class NamespaceTool(Form):
    """Functions of one source; an agent's for each server that it has tools of."""

    type: Literal["namespace"]
    name: Name
    description: str | None = None
    tools: list[FunctionTool]


Tool = Annotated[FunctionTool | NamespaceTool, Field(discriminator="type")]


class ChosenTool(Form):
    type: Literal["function"]
    name: str


class Tools:
    """All of a request. calls: what the model calls a function by -> its namespace, if any, and its own name."""

    def __init__(self, tools: Iterable[Tool]):
        self.calls: dict[str, tuple[str | None, str]] = {}
        self.plain: list[dict[str, object]] = []
        self.strict = False
        for tool in tools:
            for function in tool.tools if isinstance(tool, NamespaceTool) else (tool,):
                self._add(tool.name if function is not tool else None, function)

    def _add(self, namespace: str | None, function: FunctionTool) -> None:
        name = known_as(namespace, function.name)
        self.calls[name] = namespace, function.name
        self.plain.append(function.plain(name))
        self.strict = self.strict or bool(function.strict)


def known_as(namespace: str | None, name: str) -> str:
    """What a model calls a function by."""
    known = f"{namespace}__{name}" if namespace else name
    if len(known) > LONGEST_NAME:
        message = f"tools: {known!r:.160} has more than {LONGEST_NAME} characters; give shorter names"
        raise Refusal(400, message, param="tools")
    return known
