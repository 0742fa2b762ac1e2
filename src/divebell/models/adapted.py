"""Adapters that are not merged: y = W x + scale * B (A x), for the tokens of each sequence by its own adapter.

The layers of a model call `Adapted.ops`: those of a hand, and during a step with adapters what these add to them. So an
architecture's file says nothing of adapters, many of them share one set of weights, and a step without any is as it
would be without this file. What is fused is opened for the tokens whose adapter changes it, and for no others:

- a feed-forward block becomes two products, a gate and a third;
- routed experts are computed one after the other;
- latents' up-projections, which decoding absorbs into the queries, are merged for each adapter that changes them.
"""

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from divebell.models.adapter import Adapter
from divebell.models.binding import Binding
from divebell.ops.batch import Batch


class Adapted:
    """ops: for the model's layers. binding: knows which parameter a handle is."""

    def __init__(self, raw: ModuleType):
        self._raw, self.ops = raw, SimpleNamespace(**vars(raw))
        self._adapters: list[Adapter] = []
        self._owner = np.empty(0, np.int32)  # of each token, its adapter's place in the list; -1 without one
        self.binding: Binding | None = None

    def begin(self, batch: Batch) -> None:
        """Until `end`, all that is computed is of this batch's tokens."""
        self._adapters = [*dict.fromkeys(adapter for adapter in batch.adapters if adapter is not None)]
        numbers = [self._adapters.index(a) if a is not None else -1 for a in batch.adapters]
        self._owner = np.repeat(np.array(numbers, np.int32), np.diff(batch.starts))
        vars(self.ops).update(linears=self._linears, swiglu=self._swiglu, moe=self._moe, mla=self._mla)

    def end(self) -> None:
        self._adapters = []
        vars(self.ops).update(vars(self._raw))

    def _linears(self, x: np.ndarray, weights: Sequence[Any], biases: Sequence | None = None) -> list[np.ndarray]:
        outs = self._raw.linears(x, weights, biases)
        self._add(x, weights, outs, self._owner)
        return outs

    def _swiglu(self, x: np.ndarray, *net: Any) -> np.ndarray:
        return self._feed(x, net, self._owner)

    def _moe(self, x: np.ndarray, ids: np.ndarray, weights: np.ndarray, experts: Any) -> np.ndarray:
        routed, shared = self.binding.places[id(experts)]
        opened = self._rows(self._owner, lambda adapter: routed in adapter.blocks or shared in adapter.blocks)
        return _apart(
            opened,
            lambda rows: self._raw.moe(x[rows], ids[rows], weights[rows], experts),
            lambda rows: self._one_by_one(x[rows], ids[rows], weights[rows], routed, shared, self._owner[rows]),
            np.empty_like(x),
        )

    def _one_by_one(
        self, x: np.ndarray, ids: np.ndarray, weights: np.ndarray, routed: str, shared: str, owner: np.ndarray
    ) -> np.ndarray:
        always = self.binding.net(shared)
        out = self._feed(x, always, owner) if always else np.zeros_like(x)
        for expert in np.unique(ids):
            tokens, slots = np.nonzero(ids == expert)
            own = self._feed(x[tokens], self.binding.net(routed, int(expert)), owner[tokens])
            out[tokens] += weights[tokens, slots, None] * own
        return out

    def _feed(self, x: np.ndarray, net: Sequence[Any], owner: np.ndarray) -> np.ndarray:
        """down(silu(gate x) * (up x))"""
        places = [self.binding.places[id(handle)] for handle in net]
        opened = self._rows(owner, lambda adapter: any(place in adapter.products for place in places))
        return _apart(
            opened,
            lambda rows: self._raw.swiglu(x[rows], *net),
            lambda rows: self._opened(x[rows], net, owner[rows]),
            np.empty_like(x),
        )

    def _opened(self, x: np.ndarray, net: Sequence[Any], owner: np.ndarray) -> np.ndarray:
        gate, up = self._raw.linears(x, net[:2])
        self._add(x, net[:2], [gate, up], owner)
        hidden = self._raw.gated(gate, up)
        out = self._raw.linears(hidden, net[2:])
        self._add(hidden, net[2:], out, owner)
        return out[0]

    def _add(self, x: np.ndarray, weights: Sequence[Any], outs: Sequence[np.ndarray], owner: np.ndarray) -> None:
        places = [self.binding.places[id(weight)] for weight in weights]
        for adapter, rows in self._shares(owner):
            found = [(out, adapter.products[p]) for out, p in zip(outs, places, strict=True) if p in adapter.products]
            inner = self._raw.linears(x[rows], [a for _, (a, _, _) in found]) if found else []
            for (out, (_, b, scale)), each in zip(found, inner, strict=True):
                out[rows] += self._raw.linears(each * scale, [b])[0]

    def _mla(
        self, q: np.ndarray, latent: np.ndarray, pages: np.ndarray, up: Any, batch: Batch, scale: float
    ) -> np.ndarray:
        name = self.binding.places[id(up)][0]
        ups = [adapter.ups.get(name, up) if adapter else up for adapter in batch.adapters]
        different = {id(own): own for own in ups}
        if len(different) == 1:
            return self._raw.mla(q, latent, pages, ups[0], batch, scale)
        out = None
        for own in different.values():
            part, rows = batch.part([s for s, other in enumerate(ups) if other is own])
            mixed = self._raw.mla(q[rows], latent[rows], pages, own, part, scale)
            out = np.empty((len(q), mixed.shape[1]), np.float32) if out is None else out
            out[rows] = mixed
        return out

    def _shares(self, owner: np.ndarray) -> Iterator[tuple[Adapter, np.ndarray | slice]]:
        """Each adapter with its tokens, as a slice where they lie together."""
        for number, adapter in enumerate(self._adapters):
            rows = np.flatnonzero(owner == number)
            if len(rows):
                together = rows[-1] - rows[0] + 1 == len(rows)
                yield adapter, slice(rows[0], rows[-1] + 1) if together else rows

    def _rows(self, owner: np.ndarray, changes: Callable[[Adapter], bool]) -> np.ndarray:
        """bool, like `owner`: whose adapter changes something."""
        return np.isin(owner, [number for number, adapter in enumerate(self._adapters) if changes(adapter)])


def _apart(
    opened: np.ndarray, usual: Callable[[Any], np.ndarray], other: Callable[[Any], np.ndarray], out: np.ndarray
) -> np.ndarray:
    """`other` for the rows that are opened, `usual` for the rest."""
    if not opened.any():
        return usual(slice(None))
    if opened.all():
        return other(slice(None))
    out[opened], out[~opened] = other(np.flatnonzero(opened)), usual(np.flatnonzero(~opened))
    return out
