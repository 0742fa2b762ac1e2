"""Log-probabilities of a continuation, from a server's echo."""

from math import nan

import pytest

from divebell.evaluate.echo import likelihood


def choice(*tokens: tuple, text: str | None = None) -> dict:
    """tokens: text, log-probability, whether it is the likeliest."""
    told = {
        "tokens": [token for token, _, _ in tokens],
        "token_logprobs": [logprob for _, logprob, _ in tokens],
        "top_logprobs": [{"?": logprob if best else logprob + 1} for _, logprob, best in tokens],
    }
    return {"text": text or "".join(token for token, _, _ in tokens), "logprobs": told}


BEGIN = ("<s>", -9.0, False)


def test_the_tokens_that_spell_the_continuation_count():
    told = choice(("a ", -9.0, True), ("b", -1.0, True), ("c", -0.5, True))
    assert likelihood("a ", "bc", told | {"text": "a bc"}) == (-1.5 - 9.0, True)  # the space is the continuation's
    assert likelihood("a b", "c", told) == (-0.5, True)


def test_a_begin_token_that_is_not_echoed_is_none_of_it():
    told = choice(BEGIN, ("ab", -3.0, True), (" c", -0.25, False), text="ab c")
    assert likelihood("ab", " c", told) == (-0.25, False)


def test_a_token_over_the_border_counts_whole():
    assert likelihood("ab", "cd", choice(("a", -1.0, True), ("bc", -2.0, True), ("d", -4.0, True))) == (-6.0, True)


def test_parts_of_characters_are_spelled_in_bytes():
    told = choice(("天", -1.0, True), ("bytes:\\xe5\\x9c", -2.0, True), ("bytes:\\xb0", -4.0, False), text="天地")
    assert likelihood("天", "地", told) == (-6.0, False)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"text": "ab"}, "does not echo the prompt"),
        (choice(("a", -1, True), ("b", -1, True), text="abc"), "does not echo the prompt"),
        ({"text": "ab", "logprobs": {}}, "gives no lists of tokens"),
        ({"text": "ab", "logprobs": {"tokens": ["ab"], "token_logprobs": [], "top_logprobs": [{}]}}, "gives no lists"),
        (choice(("a", -1, True), ("\ufffd", -1, True), text="ab"), "gives tokens that do not spell the prompt"),
        (choice((1, -1, True), (2, -1, True), text="ab"), "gives tokens that are no texts"),
        (choice(("a", -1, True), ("bytes:\\xzz", -1, True), text="ab"), "non-hexadecimal"),
        (choice(("a", -1, True), ("b", nan, True)), "gives no log-probability of each token"),
        (
            {"text": "ab", "logprobs": {"tokens": ["ab"], "token_logprobs": [None], "top_logprobs": [None]}},
            "gives no log",
        ),
    ],
)
def test_what_is_missing_is_told(told, says):
    with pytest.raises(ValueError, match=says):
        likelihood("a", "b", told)
