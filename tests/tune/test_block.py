"""One block trained by itself: it comes nearer, nothing else changes, and what makes it worse is undone."""

import numpy as np
import torch

from divebell.tune import block as module
from divebell.tune.block import learn, parts_of

TEXTS = [np.zeros(n, np.int32) for n in (300, 500, 300, 900, 600, 500, 700, 400)]
ROWS = sum(map(len, TEXTS))
RATE = 0.01


def task(noise: float = 0.0) -> tuple:
    """A map of two matrices, one of which is another than wanted, a matrix beside it, and what is wanted."""
    draw = torch.Generator().manual_seed(3)
    x, first, second = (torch.randn(shape, generator=draw) for shape in ((ROWS, 16), (8, 16), (12, 8)))
    wanted = x @ first.T @ second.T + noise * torch.randn((ROWS, 12), generator=draw)
    started = first + 0.3 * torch.randn(first.shape, generator=draw)
    matrices, beside = [torch.nn.Parameter(each) for each in (started, second)], torch.nn.Parameter(torch.ones(16))
    return lambda part: (x[part.rows] * beside) @ matrices[0].T @ matrices[1].T, matrices, beside, wanted


def loss(block, wanted) -> float:
    return sum(float((block(part) - wanted[part.rows]).square().sum()) for part in parts_of(TEXTS))


def test_parts_hold_whole_texts_and_all_of_them():
    parts = list(parts_of(TEXTS))
    assert [len(part.batch.ids) for part in parts] == [1100, 1500, 1200, 400]
    assert [part.rows.start for part in parts] == [0, 1100, 2600, 3800]
    assert [part.batch.starts.tolist() for part in parts[-2:]] == [[0, 500, 1200], [0, 400]]


def test_a_block_comes_nearer_and_nothing_else_changes(monkeypatch):
    monkeypatch.setattr(module, "PASSES", 40)
    block, matrices, beside, wanted = task()
    with torch.no_grad():
        before = loss(block, wanted)
        learn(block, matrices, wanted, torch.ones(ROWS, 1), list(parts_of(TEXTS)), RATE)
        assert loss(block, wanted) < 0.1 * before
    assert torch.equal(beside, torch.ones(16))
    assert all(matrix.grad is None for matrix in (*matrices, beside))


def test_what_makes_it_worse_is_undone():
    block, matrices, _, wanted = task()
    before = [matrix.detach().clone() for matrix in matrices]
    with torch.no_grad():
        learn(block, matrices, wanted, torch.ones(ROWS, 1), list(parts_of(TEXTS)), 10.0)
    assert all(torch.equal(own, right) for own, right in zip(matrices, before, strict=True))


def test_rows_count_as_they_are_told(monkeypatch):
    """Where half of the rows are wanted otherwise and count nothing, the others are learned."""
    monkeypatch.setattr(module, "PASSES", 40)
    block, matrices, _, wanted = task()
    counts = (torch.arange(ROWS) % 2 == 0).float()[:, None]
    spoilt = wanted * counts - 5 * wanted * (1 - counts)
    with torch.no_grad():
        before = loss(block, wanted)
        learn(block, matrices, spoilt, counts, list(parts_of(TEXTS)), RATE)
        assert loss(block, wanted) < 0.1 * before


def test_a_single_part_is_learned_too(monkeypatch):
    monkeypatch.setattr(module, "PASSES", 40)
    block, matrices, _, wanted = task()
    with torch.no_grad():
        parts = list(parts_of(TEXTS))[:1]
        before = float((block(parts[0]) - wanted[parts[0].rows]).square().sum())
        learn(block, matrices, wanted, torch.ones(ROWS, 1), parts, RATE)
        assert float((block(parts[0]) - wanted[parts[0].rows]).square().sum()) < before
