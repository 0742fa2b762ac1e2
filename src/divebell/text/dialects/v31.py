"""DeepSeek-V3.1: a name and its arguments between control tokens. Source: the model card, section on tool calls."""

import json
from collections.abc import Sequence

from divebell.text.dialects.r1 import CALL, CALL_END, CALLS, CALLS_END, SEPARATOR, DeepSeek
from divebell.text.tools import Tool

FORMAT = f"{CALLS}{CALL}tool_call_name{SEPARATOR}tool_call_arguments{CALL_END}{{additional_tool_calls}}{CALLS_END}"
RULES = f"""IMPORTANT: ALWAYS adhere to this exact format for tool use:
{FORMAT}

Where:
- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces"""


class V31(DeepSeek):
    def one(self, name: str, arguments: str) -> str:
        return f"{CALL}{name}{SEPARATOR}{arguments}{CALL_END}"

    def instructions(self, tools: Sequence[Tool]) -> str:
        """Word for word what the model was taught, as the model card gives it."""
        described = [
            f"### {tool.name}\nDescription: {tool.described.get('description', '')}\n\n"
            f"Parameters: {json.dumps(tool.schema, ensure_ascii=False)}\n\n"
            for tool in tools
        ]
        return f"## Tools\nYou have access to the following tools:\n\n{''.join(described)}{RULES}"


DIALECT = V31()
