"""Tools, calls of them, and the forms that an answer may be held to, as OpenAI's APIs write them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from divebell.serve.form import Form

Name = Annotated[str, Field(min_length=1, max_length=128)]


class CacheControl(Form):
    """What clients of several APIs send to all of them. There is nothing to do: the cache finds every beginning."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Function(Form):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Form):
    type: Literal["function"]
    function: Function
    cache_control: CacheControl | None = None


class ChosenFunction(Form):
    name: str


class Chosen(Form):
    type: Literal["function"]
    function: ChosenFunction


class CalledFunction(Form):
    name: Name
    arguments: str


class Call(Form):
    """As a message holds it. index: of a client that has kept what came in pieces."""

    index: int | None = None
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class NamedSchema(Form):
    name: str
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class TextFormat(Form):
    type: Literal["text"]


class ObjectFormat(Form):
    """schema: as llama.cpp's clients write it."""

    type: Literal["json_object"]
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class SchemaFormat(Form):
    type: Literal["json_schema"]
    json_schema: NamedSchema


Format = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]
Choice = Literal["auto", "none", "required"] | Chosen


def described(tool: Tool) -> dict[str, Any]:
    """For a template, without what only says how the answer is to be made."""
    return tool.model_dump(exclude_none=True, exclude={"function": {"strict"}, "cache_control": True})
