"""Grouped-query attention in complex numbers: each is what RoPE turns by one angle, and those of all heads that turn at
the same speed can be mixed with each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from divebell import models
from divebell.errors import Unsupported
from divebell.models.binding import Binding
from divebell.models.rope import Rope
from divebell.ops import reference
from divebell.weights.tensor import Tensor

KNOWN = ("llama", "mistral", "qwen2")


@dataclass(frozen=True, slots=True)
class Grouped:
    """Maps of [x, 1], so that the last column is the bias.

    q: complex128 (heads, pairs, hidden + 1). k: complex128 (groups, pairs, hidden + 1).
    v: float64 (groups, head_dim, hidden + 1). o: float32 (hidden, heads, head_dim).
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    o: np.ndarray

    @property
    def group_of(self) -> np.ndarray:
        """int (heads,)"""
        return np.arange(len(self.q)) // (len(self.q) // len(self.k))


class Source:
    """A dense model whose attention can be had layer by layer.

    Raises Unsupported where MLA has no place for what it does.
    """

    def __init__(self, checkpoint: Any):
        self.checkpoint = checkpoint
        module, self.config = models.architecture(checkpoint.architecture, checkpoint.path), None
        if module.__name__.rpartition(".")[2] not in KNOWN:
            raise Unsupported("conversion of architecture", checkpoint.architecture, KNOWN, checkpoint.path)
        self.config = models.configuration(checkpoint)
        self._refuse()
        self.parameters = {p.name: p for p in module.parameters(self.config)}
        self._binding = Binding(
            checkpoint, list(self.parameters.values()), reference, "f32", module.unused(self.config)
        )
        self.rope: Rope = module.rope(self.config, self._binding)

    @property
    def scale(self) -> float:
        """What the product of a query and a key, before RoPE, counts in a score."""
        return self.config.head_dim**-0.5 * self.rope.score_scale * self.rope.magnitude**2

    def output(self, layer: int) -> np.ndarray:
        """float32 (hidden, heads, head_dim)"""
        return self._binding.matrix(f"layers.{layer}.o").reshape(self.config.hidden, self.config.heads, -1)

    def attention(self, layer: int) -> Grouped:
        q, k, v = (self._affine(f"layers.{layer}.{name}") for name in "qkv")
        v = v.reshape(self.config.groups, self.config.head_dim, -1)
        return Grouped(self._paired(q), self._paired(k), v, self.output(layer))

    def stored(self, name: str) -> Tensor | None:
        """By own name; None if the model has no such parameter."""
        if name not in self.parameters:
            return None
        return self.checkpoint.tensors[self.parameters[name].stored_names(self.checkpoint.kind)[0]]

    def bias(self, name: str) -> np.ndarray | None:
        """float32, by own name; None if the model has no such parameter."""
        return self._binding.numbers(name)

    def _affine(self, name: str) -> np.ndarray:
        weight = self._binding.matrix(name).astype(np.float64)
        bias = self._binding.numbers(f"{name}_bias")
        return np.column_stack([weight, np.zeros(len(weight)) if bias is None else bias])

    def _paired(self, rows: np.ndarray) -> np.ndarray:
        heads = rows.reshape(-1, self.config.head_dim, rows.shape[-1])
        if self.config.interleaved:
            return heads[:, 0::2] + 1j * heads[:, 1::2]
        first, second = np.split(heads, 2, axis=1)
        return first + 1j * second

    def _refuse(self) -> None:
        path, config = self.checkpoint.path, self.config
        windows = {w for w in config.windows if w is not None and w < config.max_positions}
        if windows:
            raise Unsupported("MLA with a sliding window of", min(windows), ("none",), path)
        if config.mlp_bias:
            raise Unsupported("mlp_bias in deepseek_v3", True, ("false",), path)
