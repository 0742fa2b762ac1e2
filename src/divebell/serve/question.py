"""A conversation to be answered, whichever protocol it came in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from divebell.engine.llm import ChatPrompt
from divebell.serve.answer import Answer
from divebell.serve.refusal import Refusal
from divebell.serve.served import Served, seeded
from divebell.text.lark import json_rule

Tools = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Question:
    """messages, tools: as `LLM.chat` has them. choice: "auto", "none", "required", or a tool as OpenAI names it.
    parallel: several calls may come in one answer. schema: what the answer is held to where it is no call: a JSON
    schema, True for any object. thinking: whether to reason first; None: as the model does. options: for `Sampling`.
    count: how many answers."""

    messages: Sequence[Mapping[str, object]]
    tools: Tools | None = None
    choice: str | Mapping[str, object] = "auto"
    parallel: bool = True
    schema: Mapping[str, object] | bool | None = None
    thinking: bool | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    count: int = 1

    def prompt(self, served: Served) -> ChatPrompt:
        """What the model reads."""
        variables = {} if self.thinking is None else {"thinking": self.thinking, "enable_thinking": self.thinking}
        prompt = served.llm.chat_prompt(self.messages, self._offered, variables)
        served.limits.check_prompt(len(prompt.ids))
        chat = served.llm.chat_format
        if self.thinking and not chat.reasons:
            raise Refusal(400, "thinking: this model does not reason before it answers; leave it out", param="thinking")
        if self.thinking is False and chat.governed_after(prompt.text):
            raise Refusal(400, "thinking: this model reasons before every answer; leave it out", param="thinking")
        return prompt

    def answers(self, served: Served) -> list[Answer]:
        """Those that are wanted, not begun. Refuses what can't be done."""
        prompt, tools = self.prompt(served), self._offered
        options = served.chat_options(self.options) | self._constraint(served, tools)
        made = [served.llm.answer(prompt, tools, **each) for each in seeded(options, self.count)]
        return [Answer(generation, parser, self.parallel) for generation, parser in made]

    @property
    def _offered(self) -> Tools | None:
        """A model that is not to call a tool is not told of any."""
        return None if self.choice == "none" else self.tools or None

    def _constraint(self, served: Served, tools: Tools | None) -> dict[str, object]:
        if not tools:
            if self.choice not in ("auto", "none"):
                raise Refusal(400, "tool_choice: there are no tools to choose from", param="tool_choice")
            return {} if self.schema is None else {"json_schema": self.schema}
        calls = None
        if self.choice != "auto":
            calls = served.llm.chat_format.call_grammar(tools, self.choice, self.parallel)
        elif self.schema is not None:
            calls = served.llm.chat_format.call_grammar(tools, "required", self.parallel)
            calls = either(calls, self.schema)
        return {} if calls is None else {"grammar": calls}


def either(calls: str, schema: Mapping[str, object] | bool) -> str:
    """A grammar of an answer that is calls, by their grammar, or a text that follows a JSON schema."""
    schema = {"type": "object"} if schema is True else dict(schema)
    renamed = calls.replace("start:", "only_calls:", 1)
    return f"start: only_calls | only_answer\n{renamed}\nonly_answer: {json_rule(schema)}"
