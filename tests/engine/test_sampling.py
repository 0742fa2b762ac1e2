import math
from fractions import Fraction

import pytest

from divebell.engine.sampling import Sampling
from divebell.errors import BadInput


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", "warm"),
        ("temperature", None),
        ("temperature", 10**400),
        ("top_k", -1),
        ("top_p", 0),
        ("top_p", 1.01),
        ("min_p", -0.01),
        ("min_p", 2),
        ("repetition_penalty", 0),
        ("repetition_penalty", 0.009),
        ("repetition_penalty", 1e-38),
        ("frequency_penalty", math.inf),
        ("presence_penalty", 1000),
        ("seed", -1),
        ("seed", 2**64),
        ("logprobs", -1),
        ("stop", ["a", ""]),
        ("stop", [3]),
        ("stop", 5),
        ("stop_ids", None),
        ("stop_ids", 5),
        ("stop_ids", "5"),
        ("logit_bias", [1]),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {3: 1000}),
        ("ignore_eos", 1),
        ("prompt_logprobs", -1),
        ("json_schema", "{}"),
        ("json_schema", False),
        ("regex", ""),
        ("regex", 3),
        ("grammar", b"start"),
        ("governed_after", ""),
        ("governed_from", ""),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(option, value):
    with pytest.raises(BadInput, match=option):
        Sampling.of({option: value})


def test_any_kind_of_number_is_taken_as_a_float():
    assert type(Sampling(temperature=Fraction(1, 2)).temperature) is float


def test_an_option_that_may_be_left_out_says_so():
    with pytest.raises(BadInput, match=r"max_tokens is 0; it must be an integer, 1 or more, or left out$"):
        Sampling.of({"max_tokens": 0})
    with pytest.raises(BadInput, match=r"top_k is -1; it must be an integer, 0 or more$"):
        Sampling.of({"top_k": -1})


def test_an_unknown_option_is_named_with_those_there_are():
    with pytest.raises(BadInput, match=r"temprature is not an option; .*temperature"):
        Sampling.of({"temprature": 1})


def test_an_answer_follows_one_grammar_only():
    with pytest.raises(BadInput, match="json_schema and regex are both given"):
        Sampling(json_schema=True, regex="a")
    with pytest.raises(BadInput, match="an answer under a regex ends where that ends"):
        Sampling(regex="a", ignore_eos=True)
    with pytest.raises(BadInput, match="governed_after is given, but none of json_schema, regex, grammar"):
        Sampling(governed_after="</think>")
    with pytest.raises(BadInput, match="governed_from is given, but none of json_schema, regex, grammar"):
        Sampling(governed_from="<tool_call>")
    assert Sampling(regex="a", governed_after="</think>").constraint == ("regex", "a")
    assert Sampling().constraint is None


def test_no_tokens_at_all_may_be_asked_for_where_the_prompt_is_scored():
    assert Sampling(max_tokens=0, prompt_logprobs=0).max_tokens == 0
    with pytest.raises(BadInput, match="max_tokens is -1; it must be an integer, 0 or more"):
        Sampling(max_tokens=-1, prompt_logprobs=0)


def test_stop_may_be_one_string():
    assert Sampling.of({"stop": "END"}).stop == ("END",)
    assert Sampling.of({"stop": None}).stop == ()


def test_the_vocabulary_bounds_bias_and_logprobs():
    with pytest.raises(BadInput, match=r"logit_bias has token 10; the vocabulary is 0 to 9"):
        Sampling.of({"logit_bias": {10: 1.0}}).check_vocabulary(10)
    with pytest.raises(BadInput, match="logprobs is 11"):
        Sampling.of({"logprobs": 11}).check_vocabulary(10)
    with pytest.raises(BadInput, match="prompt_logprobs is 11"):
        Sampling.of({"prompt_logprobs": 11}).check_vocabulary(10)
