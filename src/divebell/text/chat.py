"""Messages to the prompt that a model was trained on, and its text back to reasoning and answer."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from divebell.errors import BadFile, BadInput, BadTemplate
from divebell.text import builtin
from divebell.text.dialects import Splitter, plain, r1
from divebell.text.messages import checked_messages, checked_tools, for_template, plainer
from divebell.text.messages import plain as plain_data

if TYPE_CHECKING:
    from divebell.text.template import ChatTemplate
    from divebell.text.tokenizer import Tokenizer

DEFAULT, TOOL_USE = "default", "tool_use"
GGUF_KEY = "tokenizer.chat_template"


def load_chat(checkpoint, tokenizer: "Tokenizer") -> "ChatFormat":
    """The chat format of a checkpoint of either kind: its own template, else the one its control tokens point to.

    Nothing is compiled yet and a missing template is no error yet. Raises BadFile for a field of the wrong type.
    """
    templates = gguf_templates(checkpoint) if checkpoint.kind == "gguf" else folder_templates(Path(checkpoint.path))
    known = builtin.template_for(tokenizer)
    if not templates and known:
        templates = {DEFAULT: known}
    return ChatFormat(templates, tokenizer.named_tokens)


def gguf_templates(checkpoint) -> dict[str, str]:
    """`tokenizer.chat_template`, and named ones under `tokenizer.chat_template.NAME`."""
    found = {}
    for key, value in checkpoint.config.items():
        if key == GGUF_KEY or key.startswith(GGUF_KEY + "."):
            if not isinstance(value, str):
                raise BadFile(checkpoint.path, key, f"expected text, found {type(value).__name__}")
            found[key.removeprefix(GGUF_KEY).removeprefix(".") or DEFAULT] = value
    return found


def folder_templates(folder: Path) -> dict[str, str]:
    """chat_template.jinja and additional_chat_templates/*.jinja, else `chat_template` in tokenizer_config.json."""
    from divebell.text.folder import read_json

    files = {path.stem: path for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    if (folder / "chat_template.jinja").is_file():
        files[DEFAULT] = folder / "chat_template.jinja"
    if files:
        return {name: read_text(path) for name, path in files.items()}
    stated = read_json(folder / "tokenizer_config.json").get("chat_template")
    if stated is None or isinstance(stated, str):
        return {} if stated is None else {DEFAULT: stated}
    try:
        return {str(item["name"]): str(item["template"]) for item in stated}
    except (TypeError, KeyError):
        raise BadFile(folder / "tokenizer_config.json", "chat_template", "expected text or named templates") from None


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (ValueError, OSError) as problem:
        raise BadFile(path, "text", str(problem)) from None


class ChatFormat:
    """`templates`: jinja source by name; immutable, so all threads may share one."""

    def __init__(self, templates: dict[str, str], named_tokens: dict[str, str]):
        self._sources, self._named_tokens = templates, named_tokens
        self._compiled: dict[str, ChatTemplate] = {}

    def render(self, messages, tools=None, add_generation_prompt: bool = True, **template_variables) -> str:
        """The prompt, as `transformers`' `apply_chat_template(tokenize=False)` gives it.

        Encode it with `add_special_tokens=False`: the template writes the begin token itself. As there, the text of a
        control token in a message becomes that token. `template_variables` are seen by the template.
        Raises BadInput naming the message and field, BadTemplate for a template that fails or does not end.
        """
        messages, tools = checked_messages(messages), checked_tools(tools)
        template = self._template(tools)
        variables = {"documents": None, **self._named_tokens, **plain_data(template_variables, "template variables")}
        variables |= {"tools": tools, "add_generation_prompt": add_generation_prompt}
        attempts = [[for_template(message) for message in messages], *plainer(messages)]
        for attempt in attempts[:-1]:
            try:
                return template.render(variables | {"messages": attempt})
            except BadTemplate as problem:
                if problem.__cause__ is None:  # stopped or refused, so no other spelling of the messages will help
                    raise
        return template.render(variables | {"messages": attempts[-1]})

    def splitter(self, prompt: str | None = None) -> Splitter:
        """For one request: tells reasoning from answer piece by piece.

        prompt: what the text continues; without it, a prompt that `render` makes is taken.
        """
        prompt = self._usual_prompt if prompt is None and self._reasons else prompt or ""
        return (r1 if self._reasons else plain).splitter(prompt)

    def mark_after_reasoning(self, prompt: str) -> str | None:
        """What ends the reasoning that `prompt` has opened; None where it has opened none."""
        return r1.CLOSE if self._reasons and self.splitter(prompt).reasoned else None

    def split(self, text: str, prompt: str | None = None) -> tuple[str | None, str]:
        """(reasoning, answer) of a whole text; reasoning is None where there is none."""
        splitter = self.splitter(prompt)
        pieces = [splitter.push(text), splitter.flush()]
        reasoning, answer = ("".join(part) for part in zip(*pieces, strict=True))
        return (reasoning if splitter.reasoned else None), answer

    @cached_property
    def _reasons(self) -> bool:
        return any(r1.CLOSE in source for source in self._sources.values())

    @cached_property
    def _usual_prompt(self) -> str:
        return self.render([{"role": "user", "content": "Hello"}])

    def _template(self, tools: list[dict] | None) -> "ChatTemplate":
        from divebell.text.template import ChatTemplate

        name = TOOL_USE if tools is not None and TOOL_USE in self._sources else DEFAULT
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
