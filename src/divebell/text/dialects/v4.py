"""DeepSeek-V4: how it calls tools, and its prompts, for which the release has code instead of a template.

Source: encoding/encoding_dsv4.py of the release, whose prompts these are to the letter.
"""

from collections.abc import Sequence

from divebell.errors import BadInput
from divebell.text.dialects import dsml_prompt
from divebell.text.dialects.dsml import DSML, Dsml
from divebell.text.dialects.dsml_prompt import ASSISTANT, CLOSE, END, OPEN, USER, Options
from divebell.text.tools import Tool

DIALECT = Dsml("tool_calls")
ROLES = ("system", "developer", "user", "assistant", "tool", "latest_reminder")
REMINDER = "<｜latest_reminder｜>"
TASKS = ("action", "query", "authority", "domain", "title", "read_url")
TOOLS = f"""## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<{DSML}tool_calls>" block like the following:

<{DSML}tool_calls>
<{DSML}invoke name="$TOOL_NAME">
<{DSML}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{DSML}parameter>
...
</{DSML}invoke>
<{DSML}invoke name="$TOOL_NAME2">
...
</{DSML}invoke>
</{DSML}tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by {OPEN}), you MUST output your complete reasoning inside {OPEN}...{CLOSE} BEFORE any tool calls or final response.

Otherwise, output directly after {CLOSE} with tool calls or final response.

### Available Tool Schemas

%s

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
"""  # noqa: E501
UTMOST = """Reasoning Effort: Absolute maximum with no shortcuts permitted.
You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.
Explicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.

"""  # noqa: E501


def render(messages: Sequence[dict], tools: Sequence[Tool], options: Options) -> str:
    """The prompt of checked messages. Reasoning of earlier turns is left out, unless there are tools."""
    turns = merged(dsml_prompt.prepared(messages, tools, ROLES))
    drops = options.thinking and not any(turn.get("tools") for turn in turns)
    if drops:
        turns = without_earlier_developers(turns)
    return Prompt(turns, options, drops).text()


def merged(turns: Sequence[dict]) -> list[dict]:
    """Tools answer in the user's turn, together with what the user says then."""
    made: list[dict] = []
    for turn, results in runs(turns):
        blocks = [f"<tool_result>{result['content']}</tool_result>" for result in results] or [turn["content"]]
        if turn["role"] == "user" and made and made[-1]["role"] == "user" and "task" not in made[-1]:
            made[-1] = {**made[-1], "content": "\n\n".join([made[-1]["content"], *blocks])}
        else:
            made.append({**turn, "content": "\n\n".join(blocks)})
    return made


def without_earlier_developers(turns: Sequence[dict]) -> list[dict]:
    """As the release's code has it where it leaves out earlier reasoning."""
    last = dsml_prompt.last_speaker(turns)
    return [turn for i, turn in enumerate(turns) if turn["role"] != "developer" or i >= last]


def runs(turns: Sequence[dict]) -> list[tuple[dict, list[dict]]]:
    """Each turn, with those of tools that follow one another as one turn of the user, in the order of the calls."""
    found: list[tuple[dict, list[dict]]] = []
    for turn in turns:
        if turn["role"] != "tool":
            found.append((turn, []))
        elif found and found[-1][1]:
            found[-1][1].append(turn)
        else:
            found.append(({"role": "user"}, [turn]))
    callers = [{}, *(turn for turn, _ in found)]
    return [
        (turn, dsml_prompt.in_order_of_calls(results, caller))
        for (turn, results), caller in zip(found, callers, strict=False)
    ]


class Prompt:
    """drops: reasoning of earlier turns is left out."""

    def __init__(self, turns: Sequence[dict], options: Options, drops: bool):
        self._turns, self._options, self._drops = turns, options, drops
        self._last = dsml_prompt.last_speaker(turns)
        self._writers = {
            "system": lambda i, turn: self._with_additions(turn),
            "developer": lambda i, turn: USER + self._with_additions(turn),
            "user": lambda i, turn: USER + turn["content"],
            "latest_reminder": lambda i, turn: REMINDER + turn["content"],
            "assistant": self._assistant,
        }

    def text(self) -> str:
        return dsml_prompt.joined(self._turns, self._turn)

    def _turn(self, index: int, turn: dict) -> str:
        before = UTMOST if index == 0 and self._options.utmost else ""
        return before + self._writers[turn["role"]](index, turn) + self._after(index, turn)

    def _with_additions(self, turn: dict) -> str:
        return "\n\n".join([turn["content"], *dsml_prompt.additions(turn, TOOLS)])

    def _assistant(self, index: int, turn: dict) -> str:
        thinks = self._options.thinking and not (index and "task" in self._turns[index - 1])
        shown = thinks and (not self._drops or index > self._last)
        reasoning = turn.get("reasoning_content", "") + CLOSE if shown else ""
        return reasoning + turn["content"] + dsml_prompt.calls_text(turn, DIALECT) + END

    def _after(self, index: int, turn: dict) -> str:
        """Where the assistant's words begin after this turn, or what shorter task it has."""
        following = self._turns[index + 1]["role"] if index + 1 < len(self._turns) else None
        if following not in ("assistant", "latest_reminder") and (following or not self._options.asks):
            return ""
        if "task" in turn:
            return self._task(turn["task"])
        return self._answer_mark(index) if turn["role"] in dsml_prompt.SPEAKERS else ""

    def _task(self, task: object) -> str:
        if task not in TASKS:
            raise BadInput(f"messages: task is {task!r:.80}; allowed: {', '.join(TASKS)}")
        opened = ASSISTANT + (OPEN if self._options.thinking else CLOSE) if task == "action" else ""
        return f"{opened}<｜{task}｜>"

    def _answer_mark(self, index: int) -> str:
        thinks = self._options.thinking and not (self._drops and index < self._last)
        return ASSISTANT + (OPEN if thinks else CLOSE)
