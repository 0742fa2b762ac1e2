"""A ridge regression from sums over tokens, so that a part of them at a time has to be there."""

import torch

DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0)  # of the change, in mean squares of what goes in
_ASIDE = 4  # one part in so many tells the damping


class LeastSquares:
    """From x, (T, columns), to y, (T, rows): what a matrix should add so that y is there."""

    def __init__(self, columns: int, rows: int):
        self._known, self._aside = (_Sums(columns, rows) for _ in range(2))
        self._seen = 0

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Rows of texts that are not in other parts: a token knows its neighbours."""
        (self._known if self._seen % _ASIDE else self._aside).add(x, y)
        self._seen += 1

    def change(self) -> torch.Tensor | None:
        """(columns, rows), from all tokens, damped as does best on parts that are set aside; None: better none."""
        tried = [(self._aside.loss(self._known.solved(damping)), damping) for damping in DAMPINGS]
        loss, damping = min(tried)
        if loss >= 0:
            return None
        self._known.join(self._aside)
        return self._known.solved(damping)


class _Sums:
    """moments: (columns, columns). products: (columns, rows)."""

    def __init__(self, columns: int, rows: int):
        self.moments, self.products = torch.zeros(columns, columns), torch.zeros(columns, rows)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.moments.addmm_(x.T, x)
        self.products.addmm_(x.T, y)

    def join(self, other: "_Sums") -> None:
        self.moments += other.moments
        self.products += other.products

    def solved(self, damping: float) -> torch.Tensor:
        ridge = (damping * self.moments.diagonal().mean()).clamp(min=1e-30) * torch.eye(len(self.moments))
        return torch.linalg.solve(self.moments + ridge, self.products)

    def loss(self, change: torch.Tensor) -> float:
        """By how much the squared error is more than without the change."""
        return float((change * (self.moments @ change - 2 * self.products)).sum())
