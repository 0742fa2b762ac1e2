import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.engine.perplexity import Perplexity, chunks, perplexity
from divebell.errors import BadInput


def test_chunks_are_whole_and_begin_with_the_begin_token():
    ids = list(range(100, 111))
    assert list(chunks(ids, 5, None)) == [[100, 101, 102, 103, 104], [105, 106, 107, 108, 109]]
    assert list(chunks(ids, 5, 1)) == [[1, 101, 102, 103, 104], [1, 106, 107, 108, 109]]


@pytest.mark.parametrize(
    ("tokens", "context", "says"),
    [
        (11, -1, "context is -1; it must be 4 or more"),
        (11, 3, "context is 3; it must be 4 or more"),
        (11, 12, "context is 12, but this text has only 11 tokens; take a context of 4 to 11, or a longer text"),
        (3, 512, "this text has 3 tokens; at least 4 are needed: give a longer one"),
        (1, 512, "this text has 1 token; at least 4"),
        (0, 2, "this text has 0 tokens; at least 4"),
    ],
)
def test_a_context_without_one_whole_chunk_is_refused(tokens, context, says):
    with pytest.raises(BadInput, match=says):
        list(chunks(list(range(tokens)), context, None))


def test_the_second_half_of_each_chunk_is_scored():
    asked = []

    def score(ids, first):
        asked.append((ids, first))
        return np.full(len(ids) - first, np.log(0.25))

    results = [(total.tokens, total.value) for total in perplexity(score, chunks(list(range(20)), 8, None))]
    assert [first for _, first in asked] == [5, 5]
    assert results == [(3, pytest.approx(4)), (6, pytest.approx(4))]


@given(st.lists(st.floats(-20, -0.001), min_size=2, max_size=50), st.integers(1, 49))
def test_value_and_uncertainty_do_not_depend_on_the_chunks(logprobs, cut):
    values = np.array(logprobs)
    total = Perplexity()
    total.add(values[:cut])
    total.add(values[cut:])
    assert total.tokens == len(values)
    assert total.value == pytest.approx(np.exp(-values.mean()))
    error = values.std() / np.sqrt(len(values) - 1)
    assert total.uncertainty == pytest.approx(total.value * error, rel=1e-4, abs=total.value * 1e-6)
