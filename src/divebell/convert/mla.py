"""A dense model's attention as multi-head latent attention, tensor by tensor.

DeepSeek's layout normalises the latent (RMSNorm), and grouped-query attention has nothing like it. A number of the
latent that is always the same, and far larger than all others, makes that norm a constant: see `_LARGE`. It also
carries the biases of keys and values, for which the layout has no other place.
"""

from collections.abc import Sequence

import numpy as np

from divebell.convert import latent, rotary, shape
from divebell.convert.balance import balanced
from divebell.convert.calibration import Statistics
from divebell.convert.grouped import Grouped, Source
from divebell.convert.latent import Factors
from divebell.convert.rotary import Components
from divebell.convert.shape import Shape

_LARGE = 2.0**20  # numbers of a size of 100 beside it change the norm by less than float32 can tell


class Conversion:
    """shape: what is kept. loss: predicted, as a share of the squared outputs of attention, the mean of the layers."""

    def __init__(self, source: Source, statistics: Sequence[Statistics], share: float | None = None):
        """share: of the original's cache, or None for all that is needed to be exact."""
        self.source, self._statistics = source, statistics
        self._components = [self._components_of(layer) for layer in range(source.config.layers)]
        self.shape, self.loss = (shape.full(source), 0.0) if share is None else self._best(share)

    def layer(self, index: int) -> dict[str, np.ndarray]:
        """float32, by the own names of deepseek_v3's parameters."""
        attention, found = self.source.attention(index), self._components[index]
        factors = self._factors(index, self.shape)
        named = self._keys_and_values(found, factors) | self._queries(attention, found, factors.still)
        named = balanced(named, len(attention.q), 2 * len(factors.still), self.shape)
        named["o"] = attention.o.reshape(len(attention.o), -1)
        bias = self.source.bias(f"layers.{index}.o_bias")
        named["o_bias"] = np.zeros(len(attention.o)) if bias is None else bias
        return {f"layers.{index}.{name}": values.astype(np.float32) for name, values in named.items()}

    def _components_of(self, layer: int) -> Components:
        attention = self.source.attention(layer)
        return rotary.components(attention, self._statistics[layer], self.source.rope.frequencies, self.source.scale)

    def _factors(self, layer: int, kept: Shape) -> Factors:
        own = self._statistics[layer]
        attention, found = self.source.attention(layer), self._components[layer]
        return latent.factorise(attention, found, own, kept.counts, kept.rank - 1, self.source.scale)

    def _best(self, share: float) -> tuple[Shape, float]:
        """Of all ways to divide the width between RoPE and the latent, the one that loses least."""
        energies = np.array([own.energy / own.tokens for own in self._statistics])
        losses = np.stack([found.losses for found in self._components]) / energies[:, None, None]
        mean = losses.mean(axis=0)
        tried = []
        for pairs, rank in shape.ranks(shape.width_of(self.source, share), self.source).items():
            kept = Shape(rotary.counts(mean, pairs), rank)
            unturned = mean[np.arange(mean.shape[1]) >= kept.counts[:, None]].sum()
            cut = np.array([self._factors(layer, kept).loss for layer in range(len(energies))]) / energies
            tried.append((unturned + cut.mean(), kept))
        loss, best = min(tried, key=lambda each: each[0])
        return best, float(loss)

    def _keys_and_values(self, found: Components, factors: Factors) -> dict[str, np.ndarray]:
        rank, config = self.shape.rank, self.source.config
        down = np.zeros((rank, config.hidden + 1))
        narrowing = 2.0 ** -round(np.log2(rank) / 2)  # by what the norm widens
        down[: len(factors.down)] = factors.down / (narrowing * np.sqrt(rank))
        down[-1, -1] = _LARGE
        kept = np.concatenate([keys[:count] for keys, count in zip(found.keys, self.shape.counts, strict=True)])
        rows = np.concatenate([down, _interleaved(kept)])
        norm = np.append(np.full(rank - 1, _LARGE * narrowing), narrowing)  # what is constant is then about one
        up = np.zeros((*factors.mean.shape, rank))
        up[..., : factors.up.shape[-1]] = factors.up
        up[..., -1] = factors.mean / (narrowing * np.sqrt(rank))
        up = np.repeat(up, config.heads // config.groups, axis=0).reshape(-1, rank)
        return {"kv_a": rows[:, :-1], "kv_a_bias": rows[:, -1], "kv_norm": norm, "kv_b": up}

    def _queries(self, attention: Grouped, found: Components, still: np.ndarray) -> dict[str, np.ndarray]:
        """Where queries have biases, through a latent of their own, made constant in the same way."""
        rank = shape.query_rank(self.source)
        if rank is None:
            return {"q": self._asked(attention, found, still)[:, :-1]}
        heads, pairs, columns = attention.q.shape
        own = latent.real(attention.q).reshape(-1, columns)  # (heads * head_dim, hidden + 1)
        down = np.zeros((rank, columns))
        down[: len(own)] = own / np.sqrt(rank)
        down[-1, -1] = _LARGE
        each = np.eye(len(own)).reshape(heads, 2, pairs, len(own))
        alone = Grouped(each[:, 0] + 1j * each[:, 1], attention.k, attention.v, attention.o)
        up = np.zeros((len(self._asked(alone, found, still)), rank))
        up[:, : len(own)] = self._asked(alone, found, still)
        return {"q_a": down[:, :-1], "q_a_bias": down[:, -1], "q_norm": np.full(rank, _LARGE), "q_b": up}

    def _asked(self, attention: Grouped, found: Components, still: np.ndarray) -> np.ndarray:
        """float64 (heads * (nope + rope), columns), of which products with keys are scores."""
        quiet = latent.real(latent.still_queries(attention, found, still))
        parts = np.concatenate([p[:, :count].T for p, count in zip(found.parts, self.shape.counts, strict=True)])
        mixed = parts[:, attention.group_of].T.conj()  # (heads, kept)
        turning = np.repeat(attention.q, self.shape.counts, axis=1) * mixed[..., None]
        rows = np.concatenate([quiet, np.stack([_interleaved(head) for head in turning])], axis=1)
        return rows.reshape(-1, rows.shape[-1]) * (self.source.scale * np.sqrt(rows.shape[1]))


def _interleaved(pairs: np.ndarray) -> np.ndarray:
    """complex (n, columns) -> (2 n, columns), each real part before its imaginary one."""
    return np.stack([pairs.real, pairs.imag], axis=1).reshape(-1, pairs.shape[1])
