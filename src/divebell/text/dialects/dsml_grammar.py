"""A Lark grammar of DSML calls whose parameters follow the JSON schemas of tools."""

from collections.abc import Sequence

from divebell.errors import BadInput
from divebell.text.lark import Lark, any_of, json_rule, quoted, repeated
from divebell.text.tools import Tool

DSML = "｜DSML｜"
END = f"</{DSML}parameter>\n"
# What can't be said of an object whose members are elements of their own.
OF_WHOLES = ("$ref", "allOf", "anyOf", "oneOf", "not", "if", "enum", "const", "minProperties", "maxProperties")
OF_STRINGS = ("pattern", "format", "minLength", "maxLength", "allOf", "anyOf", "oneOf", "not", "if", "$ref")


class DsmlGrammar:
    """block, block_end: the tags around all calls."""

    def __init__(self, block: str, block_end: str, lark: Lark):
        self._block, self._block_end, self._lark = block, block_end, lark
        self._rules: list[str] = []

    def write(self, tools: Sequence[Tool], parallel: bool) -> str:
        opening, closing = self._lark.text(f"\n\n{self._block}\n"), self._lark.text(self._block_end)
        for index, tool in enumerate(tools):
            self._tool(f"tool_{index}", tool)
        newline = quoted("\n")  # by itself: llguidance takes the longest literal that a text may begin
        calls = repeated(any_of(tools, "tool"), newline, parallel)
        return "\n".join([f"start: {opening} {calls} {newline} {closing}", *self._rules, self._text()])

    def _text(self) -> str:
        """A string up to the end mark's token; a vocabulary without it spells it in letters, as it would text."""
        return r"text: /(?s:.*)<\//" if self._lark.is_token(DSML) else rf"text[lazy]: /(?s:.*)<\/{DSML}/"

    def _tool(self, rule: str, tool: Tool) -> None:
        check_object(tool)
        required, names = tool.schema.get("required") or [], list(tool.schema.get("properties") or {})
        parts = [f"{rule}_{i}{'' if name in required else '?'}" for i, name in enumerate(names)]
        opening = self._lark.text(f'<{DSML}invoke name="{tool.name}">\n')
        self._rules.append(" ".join([f"{rule}:", opening, *parts, self._lark.text(f"</{DSML}invoke>")]))
        for i, name in enumerate(names):
            self._parameter(f"{rule}_{i}", name, within(tool.schema, name))

    def _parameter(self, rule: str, name: str, schema: dict) -> None:
        opening, end = f'<{DSML}parameter name="{name}" string=', self._lark.text(END)
        plain, encoded = self._lark.text(f'{opening}"true">'), self._lark.text(f'{opening}"false">')
        if (words := literals(schema)) is not None:
            self._rules.append(f"{rule}: {plain} ({' | '.join(map(quoted, words))}) {end}")
        elif schema.get("type") == "string" and not any(key in schema for key in OF_STRINGS):
            self._rules.append(f"{rule}: {plain} text {self._after_text()}")
        else:
            self._rules += [f"{rule}: {encoded} {rule}_json {end}", f"{rule}_json: {json_rule(schema)}"]

    def _after_text(self) -> str:
        return self._lark.text(END.removeprefix("</") if self._lark.is_token(DSML) else END.partition(DSML)[2])


def check_object(tool: Tool) -> None:
    """Raises BadInput naming the tool and what is unsayable of its parameters."""
    for key in OF_WHOLES:
        if key in tool.schema:
            raise BadInput(
                f"tools: the parameters of {tool.name!r} have {key!r} at the top, which calls in this model's "
                "form can't be held to: describe an object by 'properties' and 'required', or let tool_choice be 'auto'"
            )


def within(schema: dict, name: str) -> dict:
    """The schema of one property, with the definitions that it may point to."""
    inner = schema["properties"][name]
    inner = inner if isinstance(inner, dict) else {}  # true: anything
    return {key: schema[key] for key in ("$defs", "definitions") if key in schema} | inner


def literals(schema: dict) -> list[str] | None:
    """The strings that are allowed, where only strings are."""
    words = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(words, list) and words and all(isinstance(word, str) and word for word in words):
        return words
    return None
