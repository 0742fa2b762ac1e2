"""The least that a step takes anywhere: bytes over bandwidth, multiply-adds over rates, the larger of the two."""

from collections.abc import Mapping
from dataclasses import dataclass

from divebell.costs.shape import Matrix, Shape

RATES = {"F32": "f32", "F16": "f32", "BF16": "bf16"}  # what is not named is multiplied as 8-bit numbers
LATENT = "bf16"  # attention's arithmetic


@dataclass(frozen=True, slots=True)
class Demand:
    """bytes: of weights and cache, each once. adds: multiply-adds by the kind of number: int8, bf16, f32."""

    bytes: float
    adds: Mapping[str, float]

    def seconds(self, read: float, rates: Mapping[str, float]) -> float:
        """read: bytes a second; rates: multiply-adds a second."""
        return max(self.bytes / read, self.arithmetic(rates))

    def arithmetic(self, rates: Mapping[str, float]) -> float:
        return sum(count / rates[kind] for kind, count in self.adds.items())

    def bottleneck(self, read: float, rates: Mapping[str, float]) -> str:
        return "reading memory" if self.bytes / read > self.arithmetic(rates) else "multiplying"


def demand(shape: Shape, tokens: int, depth: int, batch: int = 1) -> Demand:
    """Of one pass over `tokens` new tokens of each of `batch` sequences with `depth` tokens before them.

    Which experts are chosen is taken as even: of E, k a token, T tokens choose E (1 - (1 - k/E)^T) on the average.
    """
    total, adds = tokens * batch, {"int8": 0.0, "bf16": 0.0, "f32": 0.0}
    bytes_ = 0.0
    for matrix in shape.matrices:
        if matrix.kind != "embedding":
            rows = batch if matrix.kind == "head" else total
            adds[RATES.get(matrix.format.name, "int8")] += matrix.count * rows * (matrix.chosen or 1)
            bytes_ += matrix.nbytes * (distinct(matrix, total) if matrix.experts else 1)
    keys, scores = shape.seen(depth + (tokens + 1) // 2)
    per_key = shape.absorbed if tokens == 1 else shape.expanded
    adds[LATENT] += total * (keys * per_key + scores)
    bytes_ += batch * (shape.cache.per_token * (depth + tokens) + shape.cache.fixed)
    return Demand(bytes_, adds)


def distinct(matrix: Matrix, tokens: int) -> float:
    """How many experts of a stack the tokens choose together, on the average."""
    return matrix.experts * (1 - (1 - matrix.chosen / matrix.experts) ** tokens)
