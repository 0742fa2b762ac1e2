from math import inf, nan

import pytest

from divebell.errors import BadInput
from divebell.serve.limits import Limits
from divebell.serve.refusal import Refusal


def refused(call, *arguments):
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    return caught.value


def test_a_prompt_has_its_limit():
    limits = Limits(prompt=100)
    limits.check_prompt(100)
    refusal = refused(limits.check_prompt, 101)
    assert (refusal.status_code, refusal.detail) == (
        400,
        "the prompt has 101 tokens; this server takes 100 at most (--max-prompt)",
    )


def test_an_answer_has_its_limit():
    assert Limits().output_tokens(None, "max_tokens") is None
    assert Limits().output_tokens(7, "max_tokens") == 7
    assert Limits(output=50).output_tokens(None, "max_tokens") == 50
    assert Limits(output=50).output_tokens(50, "max_tokens") == 50
    refusal = refused(Limits(output=50).output_tokens, 51, "max_tokens")
    assert (refusal.status_code, refusal.param) == (400, "max_tokens")


def test_a_full_queue_says_when_to_come_again():
    limits = Limits(queue=4)
    limits.check_queue(3, 1, 2.0)
    for seconds, after in ((0.0, "1"), (2.5, "3"), (1000.0, "60")):
        refusal = refused(limits.check_queue, 3, 2, seconds)
        assert (refusal.status_code, refusal.headers["Retry-After"]) == (429, after)


def test_what_took_too_long_is_not_to_be_tried_again():
    refusal = Limits(seconds=90).too_slow()
    assert (refusal.status_code, refusal.headers) == (503, {"x-should-retry": "false"})


def test_more_answers_than_the_queue_has_are_never_taken():
    assert refused(Limits(queue=4).check_queue, 0, 5, 1.0).status_code == 400


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": 0}, "--max-prompt is 0; it must be 1 or more"),
        ({"output": -1}, "--max-output is -1"),
        ({"queue": 0}, "--max-queue is 0"),
        ({"seconds": 0}, "--time-limit is 0"),
        ({"seconds": nan}, "--time-limit is nan"),
        ({"grace": -1}, "--grace is -1"),
        ({"grace": inf}, "--grace is inf"),
    ],
)
def test_a_limit_out_of_range_is_named(values, says):
    with pytest.raises(BadInput, match=says):
        Limits(**values)
