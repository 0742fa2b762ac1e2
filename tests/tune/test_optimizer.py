"""The optimizers against their published formulas in float64."""

import numpy as np
import pytest
import torch

from divebell.tune.optimizer import Optimizer, rate_at

RATE, MOMENTUM, ROUNDS = 0.02, 0.95, 5
NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315
TOLERANCE = 2e-2  # of an update: torch turns matrices in bfloat16


def turned(matrix: np.ndarray) -> np.ndarray:
    """Newton-Schulz rounds (Keller Jordan, "Muon", 2024), which bring singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / np.linalg.norm(x)
    for _ in range(ROUNDS):
        squared = x @ x.T
        x = a * x + (b * squared + c * squared @ squared) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def muon(weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """Nesterov's momentum, turned, with the size of AdamW's updates (arXiv 2502.16982)."""
    average = np.zeros_like(weight)
    for gradient in gradients:
        average = MOMENTUM * average + (1 - MOMENTUM) * gradient
        ahead = MOMENTUM * average + (1 - MOMENTUM) * gradient
        weight = weight - RATE * 0.2 * np.sqrt(max(weight.shape)) * turned(ahead)
    return weight


def adamw(weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """arXiv 1711.05101 without decay; betas 0.9 and 0.95."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        weight = weight - RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.95**step)) + 1e-8)
    return weight


def followed(kind: str, name: str, weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    parameter = torch.nn.Parameter(torch.from_numpy(weight).float())
    optimizer = Optimizer(kind, {name: parameter}, rate=1.0)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient).float()
        optimizer.step(RATE, clip=1e9)
    return parameter.detach().double().numpy()


def numbers(*shape: int, count: int = 4) -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(2)
    return random.normal(size=shape), [random.normal(size=shape) for _ in range(count)]


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (32, 32)])
def test_muon_is_its_formula(shape):
    weight, gradients = numbers(*shape)
    moved, expected = (f - weight for f in (followed("muon", "q", weight, gradients), muon(weight, gradients)))
    assert np.linalg.norm(moved - expected) <= TOLERANCE * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("kind", "name", "shape"), [("adamw", "q", (24, 40)), ("muon", "norm", (40,)), ("muon", "head", (8, 6))]
)
def test_all_else_is_adamws(kind, name, shape):
    weight, gradients = numbers(*shape)
    np.testing.assert_allclose(followed(kind, name, weight, gradients), adamw(weight, gradients), rtol=0, atol=1e-5)


def test_gradients_are_cut_to_the_norm():
    gradient = numbers(6, 5)[1][0]
    first, second = (torch.nn.Parameter(torch.zeros(6, 5)) for _ in range(2))
    first.grad, second.grad = (torch.from_numpy(gradient).float() * scale for scale in (1, 3))
    optimizer = Optimizer("adamw", {"a": first, "b": second}, RATE)
    assert optimizer.step(RATE, clip=1.0) == pytest.approx(np.sqrt(10) * np.linalg.norm(gradient), rel=1e-5)
    assert first.grad is None


def test_the_rate_rises_and_falls():
    rates = [rate_at(step, 100, 2.0) for step in range(100)]
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert rates[5] == 2.0
    assert rates == sorted(rates[:5]) + sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.2, abs=0.01)
