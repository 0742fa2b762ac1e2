from types import SimpleNamespace

import pytest

from divebell.engine.completion import Completion, Receipt, ToolCall, Usage
from divebell.engine.conversation import Answer, Reply
from divebell.text.dialects import hermes
from divebell.text.events import CallArguments, CallEnd, CallStart, Content, Reasoning
from divebell.text.parser import Parser
from divebell.text.tools import Tool


def test_what_the_events_of_an_answer_add_up_to():
    answer = Answer()
    assert (answer.text, answer.reasoning, answer.tool_calls) == ("", None, ())
    events = [Reasoning(""), Content("a"), CallStart(0, "f", None), CallArguments(0, "{"), CallArguments(0, "}")]
    for event in [*events, CallEnd(0), Content("b"), CallStart(1, "g", "7"), CallEnd(1)]:
        answer.add(event)
    assert (answer.text, answer.reasoning) == ("ab", "")
    assert answer.tool_calls == (ToolCall("f", "{}"), ToolCall("g", "", "7"))
    assert answer.items == [Reasoning(""), Content("a"), answer.tool_calls[0], Content("b"), answer.tool_calls[1]]


class Told:
    """A stream of pieces that are there already."""

    def __init__(self, pieces, finish_reason, stop=None):
        self._pieces = iter(pieces)
        self.generation = SimpleNamespace(finish_reason=finish_reason, text=SimpleNamespace(stop=stop))
        usage, receipt = Usage(1, 1), Receipt(1, 0, 1, 1, 0, 0, 0.0, 0.0, 0.0, 0)
        self.completion = Completion("", (), None, finish_reason, usage, receipt)

    def __next__(self):
        return next(self._pieces)


@pytest.mark.parametrize("begun", ["<", "<tool", "<tool_call>", '<tool_call>\n{"na'])
def test_the_beginning_of_a_second_call_is_no_text_where_the_answer_is_cut_off(begun):
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n'
    tools = [Tool("f", {}, {})]
    for told in (Told([call, begun], "length"), Told([call, begun], "stop", stop=".")):
        cut = Reply(told, Parser(hermes.DIALECT, tools=tools))
        assert [piece.text for piece in cut] == []
        assert (cut.completion.text, len(cut.completion.tool_calls)) == ("", 1)
    ended = Reply(Told([call, begun], "stop"), Parser(hermes.DIALECT, tools=tools))
    assert "".join(piece.text for piece in ended) == ended.completion.text == begun
