"""How much each input of each matrix matters: the mean square of what flows into it while a model reads."""

from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from divebell.engine.cache import Cache, pages_for
from divebell.engine.pace import STEP_TOKENS
from divebell.engine.reading import ROWS
from divebell.ops.batch import Batch
from divebell.weights.tensor import Tensor


class Importance:
    """The ops of a model, noting what their matrices are fed.

    Give `ops` to `models.load`, with the weights as they are stored, and run the model. An expert is fed the tokens
    that chose it. Up-projections from a latent are not watched, nor is the embedding.
    """

    def __init__(self, ops: ModuleType):
        self._raw = ops
        self._tensors: dict[int, Any] = {}  # by the identity of a handle, which the model keeps alive
        self._sums: dict[str, dict[int, np.ndarray]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        watched = {name: getattr(self, f"_{name}") for name in ("weight", "experts", "linears", "swiglu", "moe")}
        self.ops = SimpleNamespace(**(vars(ops) | watched))

    def of(self, name: str, parts: int | None = None) -> np.ndarray | None:
        """float32 (columns,) of a stored tensor, all above zero; (parts, columns) of a stack. None if nothing went in.

        A part that nothing was fed to has the average of the others.
        """
        if name not in self._sums:
            return None
        means = {part: total / self._counts[name][part] for part, total in self._sums[name].items()}
        average = np.mean(list(means.values()), axis=0)
        if parts is None:
            return _above_zero(average)
        return np.stack([_above_zero(means.get(part, average)) for part in range(parts)])

    def _note(self, tensor: Tensor, x: np.ndarray, part: int = 0) -> None:
        if not len(x):
            return
        sums, counts = self._sums.setdefault(tensor.name, {}), self._counts.setdefault(tensor.name, {})
        sums[part] = sums.get(part, 0.0) + np.einsum("tc,tc->c", x, x, dtype=np.float64)
        counts[part] = counts.get(part, 0) + len(x)

    def _weight(self, tensor: Tensor) -> Any:
        handle = self._raw.weight(tensor)
        self._tensors[id(handle)] = tensor
        return handle

    def _experts(
        self,
        gates: Sequence[Tensor],
        ups: Sequence[Tensor],
        downs: Sequence[Tensor],
        shared: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Any:
        handle = self._raw.experts(gates, ups, downs, shared)
        self._tensors[id(handle)] = list(zip(gates, ups, downs, strict=True)), shared
        return handle

    def _linears(self, x: np.ndarray, weights: Sequence[Any], biases: Sequence | None = None) -> list[np.ndarray]:
        for handle in weights:
            self._note(self._tensors[id(handle)], x)
        return self._raw.linears(x, weights, biases)

    def _swiglu(self, x: np.ndarray, gate: Any, up: Any, down: Any) -> np.ndarray:
        self._note_feed(x, [self._tensors[id(handle)] for handle in (gate, up, down)])
        return self._raw.swiglu(x, gate, up, down)

    def _moe(self, x: np.ndarray, ids: np.ndarray, weights: np.ndarray, experts: Any) -> np.ndarray:
        routed, shared = self._tensors[id(experts)]
        stacked = len({tensor.name for tensor, _, _ in routed}) < len(routed)
        for index in np.unique(ids):
            self._note_feed(x[(ids == index).any(axis=1)], routed[index], int(index) if stacked else 0)
        if shared:
            self._note_feed(x, shared)
        return self._raw.moe(x, ids, weights, experts)

    def _note_feed(self, x: np.ndarray, feed: Sequence[Tensor], part: int = 0) -> None:
        gate, up, down = feed
        self._note(gate, x, part)
        self._note(up, x, part)
        self._note(down, gated(self._raw, x, gate, up), part)


def gated(ops: Any, x: np.ndarray, gate: Tensor, up: Tensor) -> np.ndarray:
    """silu(gate x) * (up x), which goes into a feed-forward block's last matrix."""
    g, u = ops.linears(x, [ops.weight(gate), ops.weight(up)])
    with np.errstate(over="ignore"):
        return g / (np.float32(1) + np.exp(-g)) * u


def _above_zero(means: np.ndarray) -> np.ndarray:
    """With a hundredth of the average added: a column that was quiet in this text may not be in another."""
    return (means + 0.01 * means.mean() + 1e-30).astype(np.float32)


def importance(checkpoint: Any, texts: Sequence[Sequence[int]]) -> Importance:
    """Of an open checkpoint that reads texts of at most STEP_TOKENS tokens, computing from its weights as stored."""
    from divebell import models
    from divebell.ops import native

    watch = Importance(native)
    model = models.load(checkpoint, watch.ops)
    pages = list(range(pages_for(STEP_TOKENS)))
    cache = Cache(model.cache_layout, model.cache_dtype, len(pages))
    for ids in texts:
        hidden = model.forward(Batch.of([np.asarray(ids, np.int32)], [0], [pages]), cache.layers)
        for begin in range(0, len(hidden), ROWS):
            model.logits(np.ascontiguousarray(hidden[begin : begin + ROWS]))
    return watch
