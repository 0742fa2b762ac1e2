import pytest
from tools import OPENAI, ROME, call

from divebell.serve.answer import Answer
from divebell.serve.job import Update
from divebell.text.dialects import hermes
from divebell.text.parser import Parser
from divebell.text.tools import tools_of

CALLS = f"{call('weather', ROME)}\n{call('clock', {})}"


def cut(text: str, must_call: bool) -> Answer:
    answer = Answer(None, Parser(hermes.DIALECT, tools=tools_of(OPENAI)), must_call=must_call)
    answer.take(Update(text))
    answer.take(Update(finish_reason="length"))
    return answer


@pytest.mark.parametrize("length", range(len(CALLS) + 1))
def test_the_beginning_of_a_call_that_must_come_is_no_text_when_it_is_cut_off(length):
    assert cut(CALLS[:length], must_call=True).parts.text == ""


@pytest.mark.parametrize("begun", ["<", "<tool", "<tool_call>", '<tool_call>\n{"na', "\n"])
def test_nor_is_the_beginning_of_another_call(begun):
    answer = cut(f"{call('weather', ROME)}\n{begun}", must_call=False)
    assert answer.parts.text == ""
    assert len(answer.parts.tool_calls) == 1


@pytest.mark.parametrize("text", ["a < b", "<tool", "see <tool_call>"])
def test_what_only_looks_like_one_stays_text(text):
    assert cut(text, must_call=False).parts.text == text
    ended = Answer(None, Parser(hermes.DIALECT, tools=tools_of(OPENAI)))
    ended.take(Update(f"{call('weather', ROME)} and <tool"))
    ended.take(Update(finish_reason="stop"))
    assert ended.parts.text == "and <tool"
