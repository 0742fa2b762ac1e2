"""A conversation to be answered, whichever protocol it came in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from divebell.engine.prompt import ChatPrompt
from divebell.serve.answer import Answer
from divebell.serve.errors import in_words_of
from divebell.serve.refusal import Refusal
from divebell.serve.served import Offer, seeded
from divebell.serve.thinking import Thinking
from divebell.text.lark import json_rule

Tools = list[dict[str, object]]
RESERVED = ("messages", "tools", "add_generation_prompt")  # variables that a request sets by other fields


@dataclass(frozen=True, slots=True)
class Question:
    """messages, tools: as `LLM.chat` has them. choice: "auto", "none", "required", or a tool as OpenAI names it.
    parallel: several calls may come in one answer, if no tool is named. strict: calls follow the schemas even where
    none need come. schema: what the answer is held to where it is no call: a JSON schema, True for any object.
    thinking: what is said of reasoning; None: as the model does. variables: for the chat template, besides. goes_on:
    the answer is the rest of the last message. options: for `Sampling`. count: how many answers.
    names: see `in_words_of`."""

    messages: Sequence[Mapping[str, object]]
    tools: Tools | None = None
    choice: str | Mapping[str, object] = "auto"
    parallel: bool = True
    strict: bool = False
    schema: Mapping[str, object] | bool | None = None
    thinking: Thinking | None = None
    variables: Mapping[str, object] = field(default_factory=dict)
    goes_on: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    count: int = 1
    names: Mapping[str, str] = field(default_factory=dict)

    def prompt(self, served: Offer) -> ChatPrompt:
        """What the model reads."""
        self._check_tools()
        if self.thinking:
            self.thinking.check(served.llm.chat_format)
        self._check_variables(served)
        variables = {**self.variables, **(self.thinking.variables if self.thinking else {})}
        prompt = served.llm.chat_prompt(self.messages, self._offered, variables, self.goes_on)
        served.limits.check_prompt(len(prompt.ids))
        return prompt

    def _check_tools(self) -> None:
        counts = Counter(tool["function"]["name"] for tool in self.tools or ())
        twice = next((name for name, count in counts.items() if count > 1), None)
        if twice is not None:
            raise Refusal(400, f"tools: two are called {twice!r:.160}; each needs a name of its own", param="tools")

    def _check_variables(self, served: Offer) -> None:
        for name in self.variables:
            if name in RESERVED or not served.llm.chat_format.knows(name):
                field = f"chat_template_kwargs.{name:.80}"
                raise Refusal(400, f"{field}: this model's chat template has no such variable", param=field)

    def answers(self, served: Offer) -> list[Answer]:
        """Those that are wanted, not begun. Refuses what can't be done."""
        prompt, tools = self.prompt(served), self._offered
        with in_words_of(self.names):
            options = served.chat_options(self.options) | self._constraint(served, tools)
            made = [served.llm.answer(prompt, tools, **each) for each in seeded(options, self.count)]
        must_call = self.choice not in ("auto", "none")
        return [Answer(generation, parser, self._several, must_call) for generation, parser in made]

    @property
    def _several(self) -> bool:
        """Who names a tool wants one call, often for its schema alone; some models would make it again and again."""
        return self.parallel and isinstance(self.choice, str)

    @property
    def _offered(self) -> Tools | None:
        """A model that is not to call a tool is not told of any."""
        return None if self.choice == "none" else self.tools or None

    def _constraint(self, served: Offer, tools: Tools | None) -> dict[str, object]:
        if not tools:
            if self.choice not in ("auto", "none"):
                raise Refusal(400, "tool_choice: there are no tools to choose from", param="tool_choice")
            return {} if self.schema is None else {"json_schema": self.schema}
        chat = served.llm.chat_format
        if self.choice != "auto":
            return {"grammar": chat.call_grammar(tools, self.choice, self._several)}
        if self.schema is not None:
            return {"grammar": either(chat.call_grammar(tools, "required", self.parallel), self.schema)}
        return chat.strict_calls(tools, self.parallel) if self.strict else {}


def either(calls: str, schema: Mapping[str, object] | bool) -> str:
    """A grammar of an answer that is calls, by their grammar, or a text that follows a JSON schema."""
    schema = {"type": "object"} if schema is True else dict(schema)
    renamed = calls.replace("start:", "only_calls:", 1)
    return f"start: only_calls | only_answer\n{renamed}\nonly_answer: {json_rule(schema)}"
