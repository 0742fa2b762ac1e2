from types import SimpleNamespace

import pytest
from tools import OPENAI, ROME, call

from divebell.serve.answer import Answer
from divebell.serve.job import Update
from divebell.text.dialects import hermes, v4
from divebell.text.parser import Parser
from divebell.text.tools import tools_of

CALLS = f"{call('weather', ROME)}\n{call('clock', {})}"


def ended(text: str, reason: str = "stop", stop: str | None = None, dialect=hermes.DIALECT, **options) -> Answer:
    """stop: the stop string that ended it."""
    generation = SimpleNamespace(text=SimpleNamespace(stop=stop))
    answer = Answer(generation, Parser(dialect, tools=tools_of(OPENAI)), **options)
    answer.take(Update(text))
    answer.take(Update(finish_reason=reason))
    return answer


def cut(text: str, must_call: bool, stop: str | None = None) -> Answer:
    """By its length, or by a stop string."""
    return ended(text, "stop" if stop else "length", stop, must_call=must_call)


by = pytest.mark.parametrize("stop", [None, "."], ids=["length", "stop string"])


@by
@pytest.mark.parametrize("length", range(len(CALLS) + 1))
def test_the_beginning_of_a_call_that_must_come_is_no_text_when_it_is_cut_off(length, stop):
    assert cut(CALLS[:length], must_call=True, stop=stop).parts.text == ""


@by
@pytest.mark.parametrize("begun", ["<", "<tool", "<tool_call>", '<tool_call>\n{"na', "\n"])
def test_nor_is_the_beginning_of_another_call(begun, stop):
    answer = cut(f"{call('weather', ROME)}\n{begun}", must_call=False, stop=stop)
    assert answer.parts.text == ""
    assert len(answer.parts.tool_calls) == 1
    assert answer.finish_reason == ("tool_calls" if stop else "length")


FIRST = call("weather", ROME)


@pytest.mark.parametrize("length", range(FIRST.index("{", FIRST.index("arguments")) + 1, len(FIRST)))
def test_a_call_that_a_stop_string_breaks_off_is_not_to_be_made(length):
    whole = "}}" in FIRST[:length]
    for before in ("", FIRST + "\n"):
        answer = ended(before + FIRST[:length], stop=".")
        assert len(answer.parts.tool_calls) == 1 + bool(before)
        assert answer.finish_reason == ("tool_calls" if whole else "stop")
        assert ended(before + FIRST[:length]).finish_reason == "tool_calls"  # the model's own end


def test_nor_is_one_whose_arguments_are_closed_where_the_text_ends():
    broken = '<｜DSML｜invoke name="weather"><｜DSML｜parameter name="city" string="true">Ro'
    answer = ended(broken, stop="me", dialect=v4.DIALECT)
    assert answer.parts.tool_calls[0].arguments == '{"city": "Ro"}'
    assert answer.finish_reason == "stop"


def test_the_first_call_is_to_be_made_where_the_one_that_breaks_off_is_left_out():
    assert ended(f"{FIRST}\n{FIRST[:-20]}", stop=".", parallel=False).finish_reason == "tool_calls"


@pytest.mark.parametrize("text", ["a < b", "<tool", "see <tool_call>"])
def test_what_only_looks_like_one_stays_text(text):
    assert cut(text, must_call=False).parts.text == text
    assert ended(f"{call('weather', ROME)} and <tool").parts.text == "and <tool"
