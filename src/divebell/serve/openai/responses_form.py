"""The request of /v1/responses."""

from typing import Annotated, Any, Literal

from pydantic import Field

from divebell.serve.form import Absent, Form
from divebell.serve.limits import Limits
from divebell.serve.openai.responses_items import Item, conversation
from divebell.serve.openai.responses_tools import ChosenTool, Tool, Tools
from divebell.serve.openai.tools import ObjectFormat, TextFormat
from divebell.serve.question import Question
from divebell.serve.thinking import Effort, Thinking


class SchemaFormat(Form):
    type: Literal["json_schema"]
    name: str
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class TextConfig(Form):
    format: Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["medium"] | None = None


class StreamOptions(Form):
    include_obfuscation: Literal[False] | None = None


class Reasoning(Form):
    """summary: "auto" asks for the best there is, which here is none: the reasoning itself is told."""

    effort: Effort | None = None
    generate_summary: Absent = None
    summary: Literal["auto"] | None = None


class ResponseForm(Form):
    model: str
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, str] | None = None
    background: Literal[False] | None = None
    include: list[Literal["reasoning.encrypted_content"]] | None = None
    client_metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None
    user: str | None = None
    context_management: Absent = None
    conversation: Absent = None
    max_tool_calls: Absent = None
    moderation: Absent = None
    previous_response_id: Absent = None
    prompt: Absent = None
    prompt_cache_options: Absent = None
    prompt_cache_retention: Absent = None
    top_logprobs: Absent = None

    @property
    def called(self) -> Tools:
        return Tools(self.tools or ())

    def question(self, limits: Limits) -> Question:
        choice, tools = self.tool_choice or "auto", self.called
        return Question(
            messages=conversation(self.instructions, self.input),
            tools=tools.plain,
            choice=choice if isinstance(choice, str) else {"type": "function", "function": {"name": choice.name}},
            parallel=self.parallel_tool_calls is not False,
            strict=tools.strict,
            schema=self._schema(),
            thinking=Thinking.by_effort(self.reasoning and self.reasoning.effort, "reasoning.effort"),
            options=self._options(limits),
            names={} if self._schema() is None else dict.fromkeys(("json_schema", "grammar"), "text.format.schema"),
        )

    def _schema(self) -> dict[str, object] | bool | None:
        match self.text and self.text.format:
            case SchemaFormat(schema_=schema):
                return schema
            case ObjectFormat(schema_=schema):
                return schema or True
        return None

    def _options(self, limits: Limits) -> dict[str, object]:
        options = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": limits.output_tokens(self.max_output_tokens, "max_output_tokens"),
        }
        return {name: value for name, value in options.items() if value is not None}
