"""Messages to the prompt that a model was trained on, and its text back to reasoning, answer and calls of tools."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING

from divebell.errors import BadInput, BadTemplate
from divebell.text import builtin
from divebell.text.dialects import dialect_of, dsml_prompt, mistral, prompt_code
from divebell.text.dialects.dialect import Dialect
from divebell.text.lark import Lark, check_schema
from divebell.text.messages import checked_messages, checked_tools, for_template, plainer
from divebell.text.messages import plain as plain_data
from divebell.text.parser import Parser
from divebell.text.spelling import Speller, is_plain, spelling_of, with_short_ids
from divebell.text.stored_template import DEFAULT, TOOL_USE, stored_templates
from divebell.text.tools import chosen, tools_of

if TYPE_CHECKING:
    from divebell.text.template import ChatTemplate
    from divebell.text.tokenizer import Tokenizer

HERE = "\ue000go on here\ue000"  # a text that no message ends with, to be found in a prompt
THINKING = (("[THINK]", "[/THINK]"), ("<think>", "</think>"))


def load_chat(checkpoint, tokenizer: "Tokenizer") -> "ChatFormat":
    """The chat format of a checkpoint of either kind: its own template, else the one its control tokens point to.

    DeepSeek-V3.2 and V4 have code instead of a template; a template in their dialect is somebody's copy, and not used.
    Nothing is compiled yet and a missing template is no error yet. Raises BadFile for a field of the wrong type.
    """
    templates = stored_templates(checkpoint)
    code = prompt_code(templates.values(), checkpoint.config, tokenizer.token_id)
    known = None if templates or code else builtin.template_for(tokenizer)
    return ChatFormat({DEFAULT: known} if known else templates, tokenizer.named_tokens, tokenizer.token_id, code)


class ChatFormat:
    """Immutable, so all threads may share one.

    templates: jinja source by name. token_id: the id of a token by its spelling, or None. code: a module with `render`
    that makes the prompts instead of a template.
    """

    def __init__(
        self,
        templates: dict[str, str],
        named_tokens: dict[str, str],
        token_id: Callable[[str], int | None] = lambda token: None,
        code: ModuleType | None = None,
    ):
        self._sources, self._named_tokens, self._token_id, self._code = templates, named_tokens, token_id, code
        self._compiled: dict[str, ChatTemplate] = {}
        self._spellers: dict[str, Speller] = {}

    @property
    def templates(self) -> Mapping[str, str]:
        """Jinja source by name."""
        return self._sources

    def render(self, messages, tools=None, add_generation_prompt: bool = True, **template_variables) -> str:
        """The prompt, as `transformers`' `apply_chat_template(tokenize=False)` gives it.

        messages: as OpenAI's API has them. What a template has no place for (tools, calls, results, parts of content)
        is spelled in another way that it takes, rather than lost.

        Encode it with `add_special_tokens=False`: the template writes the begin token itself. As there, the text of a
        control token in a message becomes that token. `template_variables` are seen by the template.
        Raises BadInput naming the message and field, BadTemplate for a template that fails or does not end.
        """
        messages, tools = checked_messages(messages), checked_tools(tools)
        variables = plain_data(template_variables, "template variables")
        if self._code:
            options = dsml_prompt.options(variables, add_generation_prompt)
            return self._code.render(messages, tools_of(tools), options)
        for index, message in enumerate(messages):
            if message["role"] == "latest_reminder":
                raise BadInput(f"messages[{index}].role is 'latest_reminder', which DeepSeek-V4 alone knows")
        variables = {
            "documents": None,
            **self._named_tokens,
            **variables,
            "add_generation_prompt": add_generation_prompt,
        }
        name = TOOL_USE if tools is not None and TOOL_USE in self._sources else DEFAULT
        return self._rendered(name, self._spelled(name, messages, tools), tools, variables)

    def unfinished(self, messages, tools=None, **template_variables) -> str:
        """The prompt of a conversation whose last message, an assistant's text, is to go on where it ends.

        The rest is as in `render`. Raises BadInput for another last message, BadTemplate where it can't be found.
        """
        *before, last = checked_messages(messages)
        if last["role"] != "assistant" or not isinstance(last.get("content"), str) or last.get("tool_calls"):
            raise BadInput("messages: the last one is to go on, so it must be the assistant's, with text and no calls")
        marked = [*before, last | {"content": last["content"] + HERE}]
        text, mark, _ = self.render(marked, tools, add_generation_prompt=False, **template_variables).rpartition(HERE)
        if not mark:
            raise BadTemplate("the chat template leaves out the end of the last message, which is to go on")
        return text

    def parser(self, prompt: str = "", tools: Sequence[Mapping] | None = None) -> Parser:
        """For one request: tells reasoning, content and calls apart while the text comes.

        prompt: what the text continues; it may have opened the reasoning. tools: as they were rendered; without them
        nothing is a call.
        """
        tools = tools_of(checked_tools(tools))
        opened = self.governed_after(prompt) is not None
        return Parser(self.dialect if tools else None, self._thinking, opened, tools)

    def governed_after(self, prompt: str) -> str | None:
        """The mark that ends the reasoning which `prompt` has opened: what structures the answer holds from there on.

        None: from the first token. That is so, too, where the model was left to open its reasoning itself: it may not.
        """
        opened = self._thinking and prompt.rstrip().endswith(self._thinking[0])
        return self._thinking[1] if opened else None

    def call_grammar(self, tools: Sequence[Mapping], choice: object = "required", parallel: bool = True) -> str:
        """A grammar in llguidance's Lark of an answer that is a call, with arguments that follow the tool's schema.

        choice: "required", or {"type": "function", "function": {"name": ...}}; parallel: there may be several calls.
        `marks` must be special tokens of the tokenizer that it is used with, where they are tokens at all.
        Raises BadInput naming a choice that there is not, or what the form of call can't be held to.
        """
        tools = chosen(tools_of(checked_tools(tools)), choice)
        for tool in tools:
            check_schema(f"tools: the parameters of {tool.name!r}", tool.schema)
        return self.dialect.grammar(tools, parallel, Lark(self._token_id, self.marks))

    def strict_calls(self, tools: Sequence[Mapping], parallel: bool = True) -> dict[str, str]:
        """Options of `divebell.engine.sampling.Sampling` for a free answer whose calls, if any, follow the schemas.

        Raises BadInput as `call_grammar` does, and where nothing tells in time that a call comes.
        """
        opening, lark = self.dialect.opening, Lark(self._token_id, self.marks)
        others = [mark for mark in self.dialect.opens if not mark.startswith(opening.strip())]
        if not opening or not all(map(lark.is_token, others)):
            raise BadInput(
                "tools: 'strict' can't be enforced with tool_choice 'auto' for this model, whose calls have no mark in "
                "front that tells them from text: leave 'strict' out, or set tool_choice to 'required'"
            )
        return {"grammar": self.call_grammar(tools, "required", parallel), "governed_from": opening}

    def knows(self, variable: str) -> bool:
        """Whether a template has a variable of this name. Code that makes prompts checks its own."""
        name = re.compile(rf"\b{re.escape(variable)}\b")
        return self._code is not None or any(name.search(source) for source in self._sources.values())

    @property
    def reasons(self) -> bool:
        """Whether the model may reason before it answers."""
        return self._thinking is not None

    @cached_property
    def may_answer_at_once(self) -> bool:
        """Whether a model that reasons can be told not to: its prompt then is another one, and opens no reasoning."""
        asked = [{"role": "user", "content": "Hello"}]
        told = self.render(asked, thinking=False, enable_thinking=False)
        reasoning = self.render(asked, thinking=True, enable_thinking=True)
        return told != reasoning and self.governed_after(told) is None

    @cached_property
    def dialect(self) -> Dialect:
        """How the model calls tools."""
        if self._code:
            return self._code.DIALECT
        return dialect_of(self._sources.values(), lambda token: self._token_id(token) is not None)

    @cached_property
    def marks(self) -> frozenset[str]:
        """The control tokens that reasoning and calls are written with."""
        return frozenset([*self.dialect.marks, *(self._thinking or ())])

    @property
    def call_marks(self) -> frozenset[str]:
        """Those of calls."""
        return frozenset(self.dialect.marks)

    @cached_property
    def _thinking(self) -> tuple[str, str] | None:
        """The marks around the reasoning of a model that reasons."""
        if self._code:
            return THINKING[-1]
        return next((marks for marks in THINKING if any(marks[1] in source for source in self._sources.values())), None)

    def _rendered(self, name: str, messages: list[dict], tools: list[dict] | None, variables: dict) -> str:
        """With the first spelling of the messages that the template takes."""
        template = self._template(name)
        variables = variables | {"tools": tools}
        attempts = [[for_template(message) for message in messages], *plainer(messages)]
        for attempt in attempts[:-1]:
            try:
                return template.render(variables | {"messages": attempt})
            except BadTemplate as problem:
                if problem.__cause__ is None:  # stopped or refused, so no other spelling of the messages will help
                    raise
        return template.render(variables | {"messages": attempts[-1]})

    def _spelled(self, name: str, messages: list[dict], tools: list[dict] | None) -> list[dict]:
        if "developer" not in self._sources.get(name, ""):
            messages = [m | {"role": "system"} if m["role"] == "developer" else m for m in messages]
        if is_plain(messages, tools):
            return messages
        if isinstance(self.dialect, mistral.Mistral):
            messages = with_short_ids(messages)
        if name not in self._spellers:
            variables = {**self._named_tokens, "add_generation_prompt": True}
            spelling = spelling_of(lambda messages, tools: self._rendered(name, messages, tools, variables))
            self._spellers[name] = Speller(spelling, self.dialect)
        return self._spellers[name].spelled(messages, tools)

    def _template(self, name: str) -> "ChatTemplate":
        from divebell.text.template import ChatTemplate

        if name not in self._sources:
            raise self._missing()
        if name not in self._compiled:
            self._compiled[name] = ChatTemplate(self._sources[name])
        return self._compiled[name]

    def _missing(self) -> BadTemplate | BadInput:
        if self._sources:
            return BadTemplate(f"no chat template is named {DEFAULT!r}; found: {', '.join(sorted(self._sources))}")
        return BadInput(
            "this model has no chat template and no chat tokens that divebell knows: it is likely a base model. "
            "Let it continue a text with `divebell run` (in Python: generate), or, if it is a folder, put a "
            "chat_template.jinja into it"
        )
