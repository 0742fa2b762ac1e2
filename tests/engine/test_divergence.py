import numpy as np
import pytest

from divebell.engine.divergence import divergence, of_logits
from divebell.errors import BadInput


class Fixed:
    """Answers with given logits, row by row."""

    def __init__(self, rows: np.ndarray):
        self.rows = rows

    def logits(self, token_ids):
        return self.rows[list(token_ids)]


def rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (50, 70)).astype(np.float32)


def by_definition(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    p, q = (np.exp(x.astype(np.float64)) for x in (p, q))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return (p * np.log(p / q)).sum(1)


def test_it_is_the_definitions():
    np.testing.assert_allclose(of_logits(rows(1), rows(2)), by_definition(rows(1), rows(2)), rtol=1e-5)


def test_of_a_model_from_itself_it_is_nothing():
    found = divergence(Fixed(rows(1)), Fixed(rows(1)), [[1, 2], [3]])
    assert abs(found.mean) < 1e-6
    assert (found.same_best, found.tokens) == (1.0, 3)


def test_all_texts_count_alike_by_token():
    p, q, texts = rows(1), rows(1) + rows(2) / 3, [[0, 1, 2], [9], list(range(40))]
    each = by_definition(p, q)[[i for ids in texts for i in ids]]
    found = divergence(Fixed(p), Fixed(q), texts)
    assert found.mean == pytest.approx(each.mean(), rel=1e-5)
    assert found.percentile_99 == pytest.approx(np.percentile(each, 99), rel=1e-5)
    assert found.tokens == 44
    assert 0 < found.same_best < 1


def test_without_a_text_there_is_no_figure():
    with pytest.raises(BadInput, match="no text"):
        divergence(Fixed(rows(1)), Fixed(rows(1)), [])
