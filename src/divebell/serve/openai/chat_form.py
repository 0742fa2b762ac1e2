"""The request of /v1/chat/completions."""

from typing import Annotated, Literal

from pydantic import Field

from divebell.serve.form import Absent, Form
from divebell.serve.limits import Limits
from divebell.serve.openai.fields import MOST_TOP_LOGPROBS, Drawing
from divebell.serve.openai.tools import (
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
from divebell.serve.thinking import Effort, Thinking


class TextPart(Form):
    type: Literal["text"]
    text: str


Content = str | list[TextPart]


class Instructions(Form):
    role: Literal["system", "developer"]
    content: Content
    name: Absent = None


class Asking(Form):
    role: Literal["user"]
    content: Content
    name: Absent = None


class Answered(Form):
    """What the model said before; also as the official SDK writes its own objects out again."""

    role: Literal["assistant"]
    content: Content | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    name: Absent = None
    refusal: Absent = None
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


class ChatForm(Drawing):
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
    reasoning_effort: Effort | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    verbosity: Literal["medium"] | None = None
    audio: Absent = None
    function_call: Absent = None
    functions: Absent = None
    prediction: Absent = None
    prompt_cache_retention: Absent = None
    web_search_options: Absent = None

    def question(self, limits: Limits) -> Question:
        choice = self.tool_choice or "auto"
        return Question(
            messages=[plain(message) for message in self.messages],
            tools=[described(tool) for tool in self.tools or ()],
            choice=choice if isinstance(choice, str) else choice.model_dump(),
            parallel=self.parallel_tool_calls is not False,
            strict=any(tool.function.strict for tool in self.tools or ()),
            schema=self._schema(),
            thinking=Thinking.by_effort(self.reasoning_effort, "reasoning_effort"),
            options=self.options(limits),
            count=self.n or 1,
        )

    def _schema(self) -> dict[str, object] | bool | None:
        if isinstance(self.response_format, SchemaFormat):
            return self.response_format.json_schema.schema_
        return True if isinstance(self.response_format, ObjectFormat) else None

    def options(self, limits: Limits) -> dict[str, object]:
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            message = (
                f"max_tokens is {self.max_tokens} and max_completion_tokens {self.max_completion_tokens}; give one"
            )
            raise Refusal(400, message, param="max_completion_tokens")
        if self.top_logprobs is not None and not self.logprobs:
            raise Refusal(400, "top_logprobs: only with logprobs=true", param="top_logprobs")
        options = super().options(limits)
        if self.max_completion_tokens is not None:
            options["max_tokens"] = limits.output_tokens(self.max_completion_tokens, "max_completion_tokens")
        if self.logprobs:
            options["logprobs"] = self.top_logprobs or 0
        return options


def plain(message: Form) -> dict[str, object]:
    """As `LLM.chat` has it."""
    message = message.model_dump(exclude_none=True, exclude={"annotations"})
    if isinstance(message.get("content"), list):
        message["content"] = "".join(part["text"] for part in message["content"])
    return message
