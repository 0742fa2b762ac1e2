"""Against numpy's least squares, of rows that come in parts."""

import numpy as np
import torch

from divebell.tune.least_squares import LeastSquares


def change_of(x: np.ndarray, y: np.ndarray, parts: int) -> torch.Tensor | None:
    squares = LeastSquares(x.shape[1], y.shape[1])
    for rows in np.array_split(np.arange(len(x)), parts):
        squares.add(torch.from_numpy(x[rows]).float(), torch.from_numpy(y[rows]).float())
    return squares.change()


def test_it_is_least_squares():
    random = np.random.default_rng(1)
    x, wanted = random.normal(size=(400, 12)), random.normal(size=(12, 6))
    y = x @ wanted + 0.1 * random.normal(size=(400, 6))
    ridge = np.sqrt(1e-3 * np.mean((x**2).sum(axis=0)))
    rows = np.concatenate([x, ridge * np.eye(12)])
    right = np.linalg.lstsq(rows, np.concatenate([y, np.zeros((12, 6))]), rcond=None)[0]
    np.testing.assert_allclose(change_of(x, y, 2).numpy(), right, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(change_of(x, y, 7).numpy(), right, rtol=1e-3, atol=1e-3)


def test_few_tokens_are_damped_as_those_that_are_set_aside_ask_for():
    random = np.random.default_rng(3)
    x, wanted = random.normal(size=(24, 12)), random.normal(size=(12, 6))
    y = x @ wanted + 4 * random.normal(size=(24, 6))
    change = change_of(x, y, 2)
    loosest = np.linalg.lstsq(x, y, rcond=None)[0]
    assert 0 < np.square(change.numpy()).sum() < 0.8 * np.square(loosest).sum()


def test_one_part_tells_nothing():
    random = np.random.default_rng(4)
    x = random.normal(size=(400, 12))
    assert change_of(x, x @ random.normal(size=(12, 6)), 1) is None


def test_what_can_not_be_told_is_left_alone():
    random = np.random.default_rng(2)
    assert change_of(random.normal(size=(40, 12)), random.normal(size=(40, 6)), 3) is None
