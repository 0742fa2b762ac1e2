"""The requests of /v1/messages and /v1/messages/count_tokens."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from divebell.serve.anthropic.blocks import AssistantMessage, CacheControl, Message, TextBlock, instructions
from divebell.serve.anthropic.editing import ContextManagement
from divebell.serve.form import Absent, Form
from divebell.serve.limits import Limits
from divebell.serve.question import Question
from divebell.serve.refusal import Refusal
from divebell.serve.thinking import Thinking as Wanted

HELD = dict.fromkeys(("json_schema", "grammar"), "output_config.format.schema")
NO_THREADS = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def _threadless(thread: object) -> None:
    """The official SDK's `tool_runner` asks for one, and where these details come, sends the whole conversation."""
    if thread is not None:
        raise PydanticCustomError("none_required", "conversations are not kept", {"details": NO_THREADS})


Threadless = Annotated[Absent, BeforeValidator(_threadless)]


class Tool(Form):
    type: Literal["custom"] | None = None
    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None
    cache_control: CacheControl | None = None
    allowed_callers: list[Literal["direct"]] | None = None
    defer_loading: Literal[False] | None = None
    eager_input_streaming: bool | None = None

    def plain(self) -> dict[str, object]:
        """As OpenAI has it, which is how templates know tools."""
        function = {"name": self.name, "description": self.description, "parameters": self.input_schema}
        return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


class Auto(Form):
    type: Literal["auto", "any"]
    disable_parallel_tool_use: bool | None = None


class NoTool(Form):
    type: Literal["none"]


class OneTool(Form):
    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: bool | None = None


Choice = Annotated[Auto | NoTool | OneTool, Field(discriminator="type")]


class Thinking(Form):
    """budget_tokens: taken as a wish; max_tokens is the limit. display: "omitted" leaves the thoughts' text out."""

    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class Metadata(Form):
    user_id: str | None = None


class SchemaFormat(Form):
    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Form):
    format: SchemaFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class CountForm(Form):
    """What a prompt is made of."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    context_management: ContextManagement | None = None
    billing_policy: Absent = None
    compaction: Absent = None
    mcp_servers: Absent = None
    speed: Literal["standard"] | None = None

    def question(self, options: dict[str, object]) -> Question:
        told = instructions(self.system)
        system = [{"role": "system", "content": told}] if told else []
        messages = [*system, *(plain for message in self.messages for plain in message.plain())]
        formatted = self.output_config and self.output_config.format
        return Question(
            messages=self.context_management.edited(messages) if self.context_management else messages,
            tools=[tool.plain() for tool in self.tools or ()],
            choice=self._choice(),
            parallel=not getattr(self.tool_choice, "disable_parallel_tool_use", None),
            strict=any(tool.strict for tool in self.tools or ()),
            schema=formatted.schema_ if formatted else None,
            thinking=self._thinking(),
            goes_on=isinstance(self.messages[-1], AssistantMessage),
            options=options,
            names={"stop": "stop_sequences"} | (HELD if formatted else {}),
        )

    def _thinking(self) -> Wanted | None:
        """Up to a budget, which a model that does not reason keeps to as well."""
        if self.thinking is None:
            return None
        effort = self.output_config and self.output_config.effort
        return Wanted(self.thinking.type != "disabled", "thinking", effort, must=False)

    def _choice(self) -> str | dict[str, object]:
        match self.tool_choice:
            case OneTool(name=name):
                self._check_choice(name)
                return {"type": "function", "function": {"name": name}}
            case NoTool():
                return "none"
            case Auto(type="any"):
                return "required"
        return "auto"

    def _check_choice(self, name: str) -> None:
        known = [tool.name for tool in self.tools or ()]
        if known and name not in known:
            allowed = ", ".join(map(repr, known))
            message = f"tool_choice.name is {name!r:.80}; it must be the name of one of the tools: {allowed}"
            raise Refusal(400, message, param="tool_choice.name")


class MessageForm(CountForm):
    max_tokens: Annotated[int, Field(ge=1)]
    metadata: Metadata | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: Absent = None
    diagnostics: Absent = None
    fallback_credit_token: Absent = None
    fallbacks: Absent = None
    inference_geo: Absent = None
    thread: Threadless = None

    @property
    def hides_thinking(self) -> bool:
        return bool(self.thinking and self.thinking.display == "omitted")

    def options(self, limits: Limits) -> dict[str, object]:
        options = {name: getattr(self, name) for name in ("temperature", "top_k", "top_p")}
        options["stop"] = tuple(self.stop_sequences or ()) or None
        options["max_tokens"] = limits.output_tokens(self.max_tokens, "max_tokens")
        return {name: value for name, value in options.items() if value is not None}
