"""The default model, trained weights and all."""

import pytest

import divebell
from divebell.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exact():
    with divebell.load("smollm2-135m", weights="f32", context=1024) as llm:
        yield llm


def test_it_knows_the_capital_of_france(exact):
    answer = exact.chat([{"role": "user", "content": "What is the capital of France?"}], max_tokens=20, temperature=0.0)
    assert answer.text == "The capital of France is Paris."
    assert answer.finish_reason == "stop"


def test_a_conversation_goes_on_as_if_all_had_been_computed_anew(exact):
    conversation = exact.conversation(system="You answer in one sentence.")
    for question in ("What is a lighthouse?", "Who lives in one?"):
        list(conversation.say(question, max_tokens=40, temperature=0.0))
    assert conversation.completion.receipt.cached_tokens > 30
    assert (
        conversation.completion.token_ids
        == exact.chat(conversation.messages[:-1], max_tokens=40, temperature=0.0).token_ids
    )
    conversation.close()


def test_chat_answers_a_prompt_on_the_command_line(capsys):
    assert main(["chat", "--prompt", "Name one ocean.", "--max-tokens", "40", "--context", "512"]) == 0
    out, err = capsys.readouterr()
    assert "ocean" in out.lower()
    assert "tokens at" in err
