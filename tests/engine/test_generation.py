"""Requests under a grammar, and scores of prompts, through the whole engine."""

import json
import re

import numpy as np
import pytest
from fakes import VOCABULARY, continuation

from divebell.engine.speculative import Profit
from divebell.errors import BadInput, Mismatch

COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}
CLOSED = COLOUR | {"additionalProperties": False}


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 5.0, "seed": 3}, {"temperature": 1.0, "top_p": 0.5, "top_k": 3}]
)
def test_an_answer_follows_its_schema_and_ends_with_it(llm, options):
    completion = llm.generate("a", json_schema=CLOSED, max_tokens=400, logprobs=2, **options)
    assert json.loads(completion.text)["colour"] in ("red", "green")
    assert completion.finish_reason == "stop"
    assert completion.token_ids[-1] == ord("}") - 32  # no step was spent on the end of the text
    assert [entry.token_id for entry in completion.logprobs] == list(completion.token_ids)


def test_the_model_may_end_where_the_grammar_accepts_and_only_there(make_llm):
    llm = make_llm()
    free = llm.generate("a", regex="[a-z]{3,6}", logit_bias={96: 100})
    assert re.fullmatch("[a-z]{3}", free.text)
    assert free.token_ids[-1] == 96


def test_log_probabilities_are_those_of_the_model_not_of_the_grammar(llm):
    free = llm.generate("a", max_tokens=1, logprobs=2)
    governed = llm.generate("a", max_tokens=1, logprobs=2, regex="[pq]+")
    assert governed.logprobs[0].top == free.logprobs[0].top
    assert governed.logprobs[0].logprob < free.logprobs[0].logprob


def test_governed_and_free_requests_share_their_steps(llm):
    def started():
        return [
            llm.stream("abc", max_tokens=30, seed=1, temperature=2.0),
            llm.stream("abc", max_tokens=30, seed=1, temperature=2.0, regex="[a-m]{20}"),
            llm.stream("abc", max_tokens=200, seed=2, temperature=2.0, json_schema=CLOSED),
            llm.stream("xyz", max_tokens=30, seed=2, temperature=2.0, governed_after="e", grammar='start: "ok"'),
        ]

    together = started()
    for stream in reversed(together):  # each step advances all four
        list(stream)
    assert max(len(batch.lengths) for batch in llm.core.model.batches) == 4
    alone = started()
    for stream in alone:
        list(stream)
    assert [s.completion.token_ids for s in together] == [s.completion.token_ids for s in alone]
    assert llm.core.tree.available == 64


def test_everything_is_free_up_to_the_mark(llm):
    whole = llm.generate([1, 2, 3], max_tokens=20).text
    mark = whole[6:9]
    governed = llm.generate([1, 2, 3], governed_after=mark, regex="[0-9]{4}")
    assert re.fullmatch(re.escape(whole[:9]) + "[0-9]{4}", governed.text)
    assert governed.finish_reason == "stop"


def test_a_chat_is_governed_after_the_reasoning_that_its_prompt_opens(llm):
    answer = llm.chat([{"role": "user", "content": "Hi"}], regex="[0-9]{4}")
    assert re.fullmatch("[0-9]{4}", answer.text)
    thinks = llm.chat([{"role": "user", "content": "think"}], regex="[0-9]{4}", logit_bias={ord("z") - 32: 12})
    assert re.fullmatch("z[0-9]{4}", thinks.text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"json_schema": {"not": {}}}, "json_schema: not in # can't be enforced"),
        ({"regex": "("}, "regex: "),
        ({"grammar": "start"}, "grammar: "),
    ],
)
def test_a_bad_grammar_is_refused_before_anything_is_computed(llm, options, says):
    with pytest.raises(BadInput, match=says):
        llm.generate("a", **options)
    assert not llm.core.model.batches
    assert not llm.core.scheduler.waiting


def test_a_dead_end_ends_its_own_request_and_no_other(llm):
    other = llm.stream("abc", max_tokens=9)
    with pytest.raises(BadInput, match="grammar: no token can follow"):
        llm.generate("a", grammar='start: "a" bad | "b"\nbad: bad "c"', logit_bias={ord("a") - 32: 50})
    assert list(other) == list(llm.stream("abc", max_tokens=9))
    assert llm.core.tree.available == 64


def test_without_a_tokenizer_no_grammar_can_be_followed(llm):
    llm._voice.speaks = False
    try:
        with pytest.raises(BadInput, match=r"regex is a\+, but this model's files have no tokenizer"):
            llm.generate([1], regex="a+")
    finally:
        del llm._voice.speaks


def test_a_space_that_the_grammar_wants_is_shown(llm):
    assert llm.chat([{"role": "user", "content": "Hi"}], regex=" ab").text == " ab"


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("length", [1, 2, 70, 700])
def test_prompt_log_probabilities_are_those_of_the_models_rows(llm, length, count):
    prompt = [int(i) for i in np.random.default_rng(length).integers(0, VOCABULARY, length)]
    found = llm.generate(prompt, max_tokens=3, prompt_logprobs=count).prompt_logprobs
    computed = sum(len(batch.ids) for batch in llm.core.model.batches)
    assert computed == length + 2  # one pass, and two tokens of the answer
    assert len(found) == length
    assert found[0] is None
    rows = llm.logits(prompt).astype(np.float64)
    expected = rows - np.log(np.exp(rows).sum(1, keepdims=True))
    for position, entry in enumerate(found[1:]):
        assert entry.token_id == prompt[position + 1]
        assert entry.logprob == pytest.approx(expected[position, entry.token_id], abs=1e-5)
        best = np.sort(expected[position])[::-1][:count]
        assert [value for _, value in entry.top] == pytest.approx(best, abs=1e-5)


def test_the_answer_does_not_depend_on_the_prompt_being_scored(llm):
    completion = llm.generate([1, 2, 3], max_tokens=9, prompt_logprobs=1, logprobs=1)
    assert list(completion.token_ids) == continuation([1, 2, 3], 9)
    assert len(completion.prompt_logprobs) == 3
    assert llm.generate([1, 2, 3], max_tokens=2).prompt_logprobs is None


def test_a_prompt_can_be_scored_without_an_answer(llm):
    completion = llm.generate([1, 2, 3], max_tokens=0, prompt_logprobs=1)
    assert completion.token_ids == ()
    assert completion.text == ""
    assert completion.finish_reason == "length"
    assert [entry and entry.token_id for entry in completion.prompt_logprobs] == [None, 2, 3]
    assert llm.core.tree.available == 64


def test_a_scored_prompt_is_computed_whatever_the_cache_holds(llm):
    conversation = llm.conversation()
    list(conversation.say("Hi", max_tokens=4))
    list(conversation.say("More", max_tokens=4, prompt_logprobs=2))
    completion = conversation.completion
    assert completion.receipt.cached_tokens == 0
    assert len(completion.prompt_logprobs) == completion.usage.prompt_tokens


def test_broken_logits_in_a_scored_prompt_are_an_error(make_llm):
    with pytest.raises(Mismatch, match="position 5"):
        make_llm(broken_at=5).generate([1] * 10, prompt_logprobs=1)


def test_an_answer_to_a_schema_is_the_same_with_guesses_and_takes_fewer_steps(make_llm, monkeypatch):
    options = {"json_schema": CLOSED, "max_tokens": 400, "temperature": 1.0, "seed": 4}
    answers, steps = [], []
    for worthwhile in (lambda self, guesses, requests, before: [guess.token for guess in guesses], lambda *_, **__: []):
        monkeypatch.setattr(Profit, "worthwhile", worthwhile)
        llm = make_llm()
        answers.append(llm.generate("a", **options))
        steps.append(len(llm.core.model.batches))
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[0].receipt.accepted_tokens == steps[1] - steps[0] > 10  # the schema's own letters
