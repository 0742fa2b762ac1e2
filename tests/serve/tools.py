"""Tools for tests, and grammars that make a model of random weights say something."""

import json

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
OPENAI = [
    {"type": "function", "function": {"name": "weather", "description": "Forecast.", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}},
]
ANTHROPIC = [
    {"name": "weather", "description": "Forecast.", "input_schema": PARAMETERS},
    {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
]
ROME = {"city": "Rome", "days": 3}


def saying(text: str) -> str:
    """A grammar of one text."""
    return f"start: {json.dumps(text)}"


def call(name: str, arguments: dict) -> str:
    """As a model of the Hermes dialect writes it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def check(arguments: dict) -> None:
    """They follow PARAMETERS."""
    assert arguments["city"] in ("Rome", "Oslo")
    assert 1 <= arguments["days"] <= 9
    assert set(arguments) == {"city", "days"}
