"""DeepSeek-V3.2: how it calls tools, and its prompts, for which the release has code instead of a template.

Source: encoding/encoding_dsv32.py of the release, whose prompts these are to the letter.
"""

from collections.abc import Sequence

from divebell.text.dialects import dsml_prompt
from divebell.text.dialects.dsml import DSML, Dsml
from divebell.text.dialects.dsml_prompt import ASSISTANT, CLOSE, END, OPEN, USER, Options
from divebell.text.tools import Tool

DIALECT = Dsml("function_calls")
ROLES = ("system", "developer", "user", "assistant", "tool")
TOOLS = f"""## Tools

You have access to a set of tools you can use to answer the user's question.
You can invoke functions by writing a "<{DSML}function_calls>" block like the following as part of your reply to the user:
<{DSML}function_calls>
<{DSML}invoke name="$FUNCTION_NAME">
<{DSML}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{DSML}parameter>
...
</{DSML}invoke>
<{DSML}invoke name="$FUNCTION_NAME2">
...
</{DSML}invoke>
</{DSML}function_calls>

String and scalar parameters should be specified as is without any escaping or quotes, while lists and objects should use JSON format. The "string" attribute should be set to "true" for string type parameters and "false" for other types (numbers, booleans, arrays, objects).

If the thinking_mode is enabled, then after function results you should strongly consider outputting a thinking block. Here is an example:

<{DSML}function_calls>
...
</{DSML}function_calls>

<function_results>
...
</function_results>

{OPEN}...thinking about results{CLOSE}

Here are the functions available in JSONSchema format:
<functions>
%s
</functions>
"""  # noqa: E501


def render(messages: Sequence[dict], tools: Sequence[Tool], options: Options) -> str:
    """The prompt of checked messages. Reasoning of earlier turns is left out."""
    return Prompt(dsml_prompt.prepared(messages, tools, ROLES), options).text()


class Prompt:
    def __init__(self, turns: Sequence[dict], options: Options):
        self._turns, self._options = turns, options
        self._last = dsml_prompt.last_speaker(turns)
        self._writers = {"system": self._system, "developer": self._developer, "user": self._user, "tool": self._tool}
        self._writers["assistant"] = self._assistant

    def text(self) -> str:
        return dsml_prompt.joined(self._turns, lambda i, turn: self._writers[turn["role"]](i, turn))

    def _system(self, index: int, turn: dict) -> str:
        return "\n\n".join([turn["content"], *dsml_prompt.additions(turn, TOOLS)])

    def _user(self, index: int, turn: dict) -> str:
        return USER + turn["content"] + self._answer_mark(index, index == self._last, ASSISTANT)

    def _developer(self, index: int, turn: dict) -> str:
        parts = [*dsml_prompt.additions(turn, TOOLS), f"# The user's message is: {turn['content']}"]
        return self._user(index, {"content": "".join("\n\n" + part for part in parts)})

    def _assistant(self, index: int, turn: dict) -> str:
        thought = self._options.thinking and index > self._last
        reasoning = turn.get("reasoning_content", "") + CLOSE if thought else ""
        return reasoning + turn["content"] + dsml_prompt.calls_text(turn, DIALECT) + END

    def _tool(self, index: int, turn: dict) -> str:
        """All results of one turn, where the first of them stands."""
        if self._turns[index - 1]["role"] == "tool":
            return ""
        end = next((i for i in range(index, len(self._turns)) if self._turns[i]["role"] != "tool"), len(self._turns))
        results = dsml_prompt.in_order_of_calls(self._turns[index:end], self._turns[index - 1])
        lines = "".join(f"\n<result>{result['content']}</result>" for result in results)
        answer = self._answer_mark(end - 1, index >= self._last, "\n\n")
        return f"\n\n<function_results>{lines}\n</function_results>{answer}"

    def _answer_mark(self, index: int, current: bool, before: str) -> str:
        """Where the assistant's words begin after this turn."""
        if index + 1 == len(self._turns) and not self._options.asks:
            return ""
        return before + (OPEN if current and self._options.thinking else CLOSE)
