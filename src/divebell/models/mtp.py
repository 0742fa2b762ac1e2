"""Multi-token prediction: one more layer, which tells the token after the next.

Sources: DeepSeek-V3 (arXiv 2412.19437), section 2.2, depth 1; names of its released weights, and of llama.cpp's
`nextn`. The paper's equation puts the hidden row first, the released weights the embedding.
"""

from types import ModuleType
from typing import Any

import numpy as np

from divebell.errors import Unsupported
from divebell.models import parameter
from divebell.models.binding import Binding
from divebell.models.parameter import Parameter
from divebell.models.rope import RopeTable
from divebell.ops.batch import Batch


def parameters(architecture: ModuleType, config: Any) -> list[Parameter]:
    """Beside the trunk's own. Raises Unsupported where there is not one such layer."""
    if config.draft_layers != 1:
        raise Unsupported("num_nextn_predict_layers", config.draft_layers, ("1",))
    layer, hidden = parameter.Layer(config.layers), config.hidden
    return [
        layer.norm("embedding_norm", hidden, "enorm", "nextn.enorm"),
        layer.norm("hidden_norm", hidden, "hnorm", "nextn.hnorm"),
        layer.matrix("join", (hidden, 2 * hidden), "eh_proj", "nextn.eh_proj", "mlp"),
        *architecture.layer_parameters(config, config.layers),
        layer.norm("head_norm", hidden, "shared_head.norm", "nextn.shared_head_norm"),
    ]


def stored(architecture: ModuleType, config: Any, checkpoint: Any) -> list[Parameter]:
    """The same if the checkpoint has the layer, else none."""
    if not getattr(config, "draft_layers", 0):
        return []
    listed = parameters(architecture, config)
    return listed if set(listed[0].stored_names(checkpoint.kind)) <= set(checkpoint.tensors) else []


def shared(config: Any) -> dict[str, str]:
    """Stored names of what a released file holds once more for this layer -> our own names of it."""
    begin = parameter.Layer(config.layers).hf
    head = "embedding" if config.tied else "head"
    return {f"{begin}embed_tokens.weight": "embedding", f"{begin}shared_head.head.weight": head}


def described(values: dict[str, Any], kept: bool) -> dict[str, Any]:
    """A config.json's fields, which speak of the layer only where it is kept."""
    field = "num_nextn_predict_layers"
    return values if kept or field not in values else values | {field: 0}


class Mtp:
    def __init__(self, architecture: ModuleType, config: Any, binding: Binding):
        own = f"layers.{config.layers}."
        self.ops, self.eps = binding.ops, config.eps
        self.norms = [binding.vector(own + "embedding_norm"), binding.vector(own + "hidden_norm")]
        self.join, self.norm = [binding.matrix(own + "join")], binding.vector(own + "head_norm")
        self.rope = RopeTable(architecture.rope(config, binding))
        self.layer = architecture.Layer(config, config.layers, binding, self.rope)

    def __call__(
        self, hidden: np.ndarray, following: np.ndarray, batch: Batch, cache: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Rows for the model's head, (T, d). hidden: the trunk's, after its last norm; following: embeddings of the
        tokens after those, which are the batch's."""
        self.rope.reach(int(batch.lengths.max()))
        pair = zip((following, hidden), self.norms, strict=True)
        joined = self.ops.joined([self.ops.rms_norm(x, norm, self.eps) for x, norm in pair])
        state = self.layer(self.ops.linears(joined, self.join)[0], batch, cache)
        return self.ops.rms_norm(state, self.norm, self.eps)
