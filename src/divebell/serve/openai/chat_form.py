"""The request of /v1/chat/completions."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from divebell.engine.sampling import CONSTRAINTS
from divebell.serve.form import Absent, Form
from divebell.serve.limits import Limits
from divebell.serve.openai.fields import MOST_TOP_LOGPROBS, Drawing
from divebell.serve.openai.names import Participant, told_apart
from divebell.serve.openai.parts import RefusalPart
from divebell.serve.openai.templating import Templating
from divebell.serve.openai.tools import (
    CacheControl,
    Call,
    Choice,
    Format,
    ObjectFormat,
    SchemaFormat,
    Tool,
    described,
)
from divebell.serve.question import Question
from divebell.serve.refusal import Refusal


class TextPart(Form):
    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None


Content = str | list[TextPart]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class Instructions(Form):
    role: Literal["system", "developer"]
    content: Content
    name: Participant | None = None


class Asking(Form):
    role: Literal["user"]
    content: Content
    name: Participant | None = None


class Answered(Form):
    """What the model said before; also as the official SDK writes its own objects out again.

    prefix: of the last message: the answer goes on where it ends (DeepSeek's chat prefix completion).
    """

    role: Literal["assistant"]
    content: str | list[AssistantPart] | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    prefix: bool | None = None
    name: Participant | None = None
    refusal: str | None = None
    audio: Absent = None
    function_call: Absent = None
    annotations: Annotated[list, Field(max_length=0)] | None = None


class Returned(Form):
    """What a tool came to."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str
    name: str | None = None


Message = Annotated[Instructions | Asking | Answered | Returned, Field(discriminator="role")]


class ChatForm(Drawing, Templating):
    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    metadata: dict[str, str] | None = None
    modalities: list[Literal["text"]] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    verbosity: Literal["medium"] | None = None
    audio: Absent = None
    function_call: Absent = None
    functions: Absent = None
    moderation: Absent = None
    prediction: Absent = None
    prompt_cache_options: Absent = None
    prompt_cache_retention: Absent = None
    web_search_options: Absent = None

    def question(self, limits: Limits) -> Question:
        choice = self.tool_choice or "auto"
        return Question(
            messages=conversation(self.messages),
            tools=[described(tool) for tool in self.tools or ()],
            choice=choice if isinstance(choice, str) else choice.model_dump(),
            parallel=self.parallel_tool_calls is not False,
            strict=any(tool.function.strict for tool in self.tools or ()),
            schema=self._schema(),
            thinking=self.wanted_thinking(),
            variables=self.variables,
            goes_on=self.goes_on(self._prefix()),
            options=self.options(limits),
            count=self.n or 1,
            names=self.names,
        )

    @property
    def names(self) -> dict[str, str]:
        fields = {SchemaFormat: "response_format.json_schema.schema", ObjectFormat: "response_format.schema"}
        field = fields.get(type(self.response_format))
        return super().names | ({"json_schema": field, "grammar": field} if field else {})

    def _schema(self) -> dict[str, object] | bool | None:
        if isinstance(self.response_format, SchemaFormat):
            return self.response_format.json_schema.schema_
        return self.response_format.schema_ or True if isinstance(self.response_format, ObjectFormat) else None

    def _prefix(self) -> bool:
        """Whether the last message is one; no other can be."""
        marked = [i for i, message in enumerate(self.messages) if getattr(message, "prefix", None)]
        if marked and marked[0] != len(self.messages) - 1:
            message = f"messages[{marked[0]}].prefix: only the last message can be one"
            raise Refusal(400, message, param=f"messages[{marked[0]}].prefix")
        return bool(marked)

    def options(self, limits: Limits) -> dict[str, object]:
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            message = (
                f"max_tokens is {self.max_tokens} and max_completion_tokens {self.max_completion_tokens}; give one"
            )
            raise Refusal(400, message, param="max_completion_tokens")
        if self.top_logprobs is not None and not self.logprobs:
            raise Refusal(400, "top_logprobs: only with logprobs=true", param="top_logprobs")
        options = super().options(limits)
        held = next((name for name in CONSTRAINTS if name in options), None)
        if held and self._schema() is not None:
            raise Refusal(400, f"response_format: is given beside {held}; give one of them", param="response_format")
        if self.max_completion_tokens is not None:
            options["max_tokens"] = limits.output_tokens(self.max_completion_tokens, "max_completion_tokens")
        if self.logprobs:
            options["logprobs"] = self.top_logprobs or 0
        return options


def conversation(messages: Iterable[Form]) -> list[dict[str, object]]:
    """As `LLM.chat` has it."""
    return told_apart([plain(message) for message in messages])


def plain(message: Message) -> dict[str, object]:
    left_out = {"content": True, "refusal": True, "annotations": True, "prefix": True}
    told = message.model_dump(exclude_none=True, exclude=left_out | {"tool_calls": {"__all__": {"index"}}})
    content = message.content
    if isinstance(content, list):
        content = "".join(part.text for part in content)
    if refusal := getattr(message, "refusal", None):
        content = f"{content or ''}{refusal}"
    return told if content is None else told | {"content": content}
