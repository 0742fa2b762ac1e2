from divebell.engine.completion import ToolCall
from divebell.engine.conversation import Answer
from divebell.text.events import CallArguments, CallEnd, CallStart, Content, Reasoning


def test_what_the_events_of_an_answer_add_up_to():
    answer = Answer()
    assert (answer.text, answer.reasoning, answer.tool_calls) == ("", None, ())
    events = [Reasoning(""), Content("a"), CallStart(0, "f", None), CallArguments(0, "{"), CallArguments(0, "}")]
    for event in [*events, CallEnd(0), Content("b"), CallStart(1, "g", "7"), CallEnd(1)]:
        answer.add(event)
    assert (answer.text, answer.reasoning) == ("ab", "")
    assert answer.tool_calls == (ToolCall("f", "{}"), ToolCall("g", "", "7"))
