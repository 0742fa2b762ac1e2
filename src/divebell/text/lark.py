"""Grammars in the Lark of the `llguidance` package (its docs/syntax.md), where a control token is `<[id]>`."""

import json
import re
from collections.abc import Callable, Iterable, Sequence

from divebell.errors import BadInput

# Numbers and separators as `json.dumps` writes them, so that a call is rendered again as the model wrote it.
PLAIN_JSON = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Lark:
    """Writes rules for one model. token_id: the id of a token by its spelling, or None; marks: those that matter."""

    def __init__(self, token_id: Callable[[str], int | None], marks: Iterable[str]):
        self._ids = {mark: id for mark in marks if (id := token_id(mark)) is not None}
        pattern = "|".join(map(re.escape, sorted(self._ids, key=len, reverse=True)))
        self._marks = re.compile(f"({pattern})") if pattern else None

    def text(self, text: str) -> str:
        """Exactly this text, with the marks in it as the tokens that they are."""
        parts = self._marks.split(text) if self._marks else [text]
        return " ".join(f"<[{self._ids[part]}]>" if part in self._ids else quoted(part) for part in parts if part)

    def is_token(self, mark: str) -> bool:
        return mark in self._ids


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def json_rule(schema: dict) -> str:
    """A value that follows a JSON schema. Nothing in it looks like GBNF, which is told from Lark by its `::=`."""
    return "%json " + json.dumps({**schema, "x-guidance": PLAIN_JSON}).replace("::=", ":\\u003a=")


def any_of(items: Sequence[object], rule: str) -> str:
    """One of `rule_0`, `rule_1`, ..., one for each of `items`."""
    return "(" + " | ".join(f"{rule}_{i}" for i in range(len(items))) + ")"


def repeated(rule: str, separator: str, parallel: bool) -> str:
    """`rule`, or with `parallel` one or more with `separator` (a rule, or "") between them."""
    return f"{rule} ({separator} {rule})*" if parallel else rule


def check_schema(what: str, schema: dict) -> None:
    """Raises BadInput for a JSON schema that can't be enforced."""
    from llguidance import LLMatcher

    problem = LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    if problem:
        raise BadInput(f"{what}: this schema can't be enforced: {problem.strip()}")
