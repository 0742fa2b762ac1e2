"""What an answer is held to, as vLLM's clients write it."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from divebell.serve.form import Absent, Form
from divebell.serve.refusal import Refusal
from divebell.text.lark import quoted


class StructuredOutputs(Form):
    """One of json (a schema, also as text), json_object, regex, choice and grammar."""

    json_: Annotated[dict[str, Any] | str | None, Field(alias="json")] = None
    json_object: Literal[True] | None = None
    regex: str | None = None
    choice: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    grammar: str | None = None
    disable_additional_properties: Literal[False] | None = None
    disable_any_whitespace: Literal[False] | None = None
    disable_fallback: bool | None = None
    structural_tag: Absent = None
    whitespace_pattern: Absent = None

    def option(self) -> dict[str, object]:
        """For `divebell.engine.sampling.Sampling`."""
        choice = None if self.choice is None else f"start: {' | '.join(map(quoted, self.choice))}"
        found = [
            ("json_schema", self._schema()),
            ("json_schema", self.json_object),
            ("regex", self.regex),
            ("grammar", choice),
            ("grammar", self.grammar),
        ]
        given = [(name, value) for name, value in found if value is not None]
        if len(given) != 1:
            message = f"structured_outputs: has {len(given)} of json, json_object, regex, choice and grammar; give one"
            raise Refusal(400, message, param="structured_outputs")
        return dict(given)

    def _schema(self) -> dict[str, Any] | None:
        if not isinstance(self.json_, str):
            return self.json_
        try:
            schema = json.loads(self.json_)
        except ValueError as problem:
            raise Refusal(400, f"structured_outputs.json: is not JSON: {problem}", param="structured_outputs") from None
        if not isinstance(schema, dict):
            raise Refusal(400, "structured_outputs.json: must be a schema, an object", param="structured_outputs")
        return schema
