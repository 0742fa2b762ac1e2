"""The trunk that every decoder shares: embedding, layers, final norm, head."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from divebell.models import cache_format
from divebell.models.adapted import Adapted
from divebell.models.adapter import Adapter, memory, prepare
from divebell.models.binding import Binding, damaged
from divebell.models.changes import Changes, changes
from divebell.models.replay import MOST_TOKENS, Replay
from divebell.models.rope import RopeTable
from divebell.ops.batch import Batch
from divebell.weights.adapter import AdapterFile

# (state, batch, the layer's cache pages) -> state. The state is (T, d) here; a model with several residual streams may
# give it one more axis, so the trunk only ever passes it on.
Layer = Callable[[np.ndarray, Batch, dict[str, np.ndarray]], np.ndarray]


class Model:
    """A loaded model.

    config: the architecture's own, with `vocab_size`, `max_positions`, `hidden`, `layers`.
    cache_layout: per layer, name of each cache component -> elements of `cache_dtype` per token.
    layers: called in order; training wraps them.
    """

    def __init__(
        self, architecture: ModuleType, config: Any, binding: Binding, cache: str, adapted: Adapted | None = None
    ):
        self.config, self._ops, self._binding, self._adapted = config, binding.ops, binding, adapted
        self._architecture = architecture
        self.cache_layout = cache_format.widths(cache, architecture.cache_layout(config))
        self.cache_dtype = cache_format.DTYPES[cache]
        self._rope = RopeTable(architecture.rope(config, binding))
        self._embedding = binding.matrix("embedding")
        self._head = self._embedding if config.tied else binding.matrix("head")
        self._norm = binding.vector("norm")
        self.layers: list[Layer] = [
            architecture.Layer(config, index, binding, self._rope) for index in range(config.layers)
        ]
        self._replay: Replay | None = None

    def step(
        self, batch: Batch, cache: Sequence[dict[str, np.ndarray]], seconds: dict[str, float] | None = None
    ) -> np.ndarray:
        """As `forward`, to the bit; with ops that can be recorded, a few tokens do without Python between them.

        cache: the same list each time, of arrays that stay where they are. seconds: see Replay.
        """
        recording = getattr(self._ops, "Recording", None)
        if batch.adapters or len(batch.ids) > MOST_TOKENS or recording is None:
            return self.forward(batch, cache)
        self._replay = self._replay or Replay(recording, self._rope)
        return self._replay(self._forward, batch, cache, seconds)

    def forward(self, batch: Batch, cache: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
        """Hidden rows after the final norm, float32 (T, d). Writes the batch's tokens to the cache."""
        if not batch.adapters:
            return self._forward(batch, cache)
        self._adapted.begin(batch)
        try:
            return self._forward(batch, cache)
        finally:
            self._adapted.end()

    def begin(self, batch: Batch) -> np.ndarray:
        """The state before the first layer."""
        self._rope.reach(int(batch.lengths.max()))
        return self._ops.embed(self._embedding, batch.ids)

    def _forward(self, batch: Batch, cache: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
        state = self.begin(batch)
        for layer, pages in zip(self.layers, cache, strict=True):
            state = layer(state, batch, pages)
        return self._ops.rms_norm(state, self._norm, self.config.eps)

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """float32 (n, vocabulary) of some rows of `forward`'s result."""
        return self._ops.linears(hidden, [self._head])[0]

    def changes(self, file: AdapterFile) -> Changes:
        """What an adapter changes of this model. Raises Mismatch where it is for another, BadFile for a bad file."""
        return changes(file, self._architecture, self.config)

    def adapter_bytes(self, changes: Changes) -> int:
        """Memory that `adapter` will take for them."""
        return memory(changes, self._binding.conversion)

    def adapter(self, changes: Changes) -> Adapter:
        """For batches of this model."""
        return prepare(changes, self._binding)

    def check_weights(self) -> None:
        """Raises Mismatch naming the first damaged tensor. For when results are not finite; reads every weight."""
        if tensor := self._binding.damaged_tensor():
            raise damaged(self._binding.checkpoint.path, tensor)
