"""What a model is made of: its parameters' own names, shapes, and names in each kind of file."""

from dataclasses import dataclass
from math import prod

import numpy as np

KINDS = ("embedding", "head", "norm", "bias", "attention", "mlp", "experts", "shared_experts", "router")

PARTS = ("gate", "up", "down")  # of a feed-forward block
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"  # in Hugging Face checkpoints


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor of a model, or one stack of its experts.

    name: our own, such as "layers.3.experts.gate".
    shape: logical, (rows, cols); (E, rows, cols) for a stack.
    hf: name in Hugging Face checkpoints, None if they hold it in another form; a stack's holds "{e}", a tensor each.
    gguf: name in GGUF files, None likewise; a stack is one tensor there.
    kind: one of KINDS.
    paired: heads whose rows this file keeps in RoPE's pairs, and Hugging Face's one half of a head after the other.
    """

    name: str
    shape: tuple[int, ...]
    hf: str | None
    gguf: str | None
    kind: str
    paired: int = 0

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def is_stack(self) -> bool:
        return self.kind == "experts"

    def stored_names(self, kind: str) -> list[str]:
        """Names of its tensors in a checkpoint of kind "safetensors" or "gguf"."""
        if kind == "gguf":
            return [self.gguf] if self.gguf else []
        if self.hf is None:
            return []
        return [self.hf.format(e=e) for e in range(self.shape[0])] if self.is_stack else [self.hf]

    def stored_shape(self, kind: str) -> tuple[int, ...]:
        return self.shape[1:] if self.is_stack and kind == "safetensors" else self.shape


def pairs_of_halves(heads: int, rows: int) -> np.ndarray:
    """Which of Hugging Face's rows stands at each place of a `paired` parameter (llama.cpp's converter, `permute`)."""
    return np.arange(rows).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)


def trunk(vocab_size: int, hidden: int, tied: bool) -> list[Parameter]:
    """Embedding, final norm, and the head unless it is the embedding itself."""
    ends = [
        Parameter("embedding", (vocab_size, hidden), EMBEDDING, "token_embd.weight", "embedding"),
        Parameter("norm", (hidden,), "model.norm.weight", "output_norm.weight", "norm"),
    ]
    head = Parameter("head", (vocab_size, hidden), HEAD, "output.weight", "head")
    return ends if tied else [*ends, head]


class Layer:
    """Shorthand for the parameters of one layer, which share the beginnings of their names."""

    def __init__(self, index: int):
        self.own, self.hf, self.gguf = f"layers.{index}.", f"model.layers.{index}.", f"blk.{index}."

    def matrix(self, name: str, shape: tuple[int, ...], hf: str | None, gguf: str | None, kind: str) -> Parameter:
        return Parameter(
            self.own + name, shape, hf and f"{self.hf}{hf}.weight", gguf and f"{self.gguf}{gguf}.weight", kind
        )

    def norm(self, name: str, width: int, hf: str, gguf: str) -> Parameter:
        return self.matrix(name, (width,), hf, gguf, "norm")

    def bias(self, name: str, width: int, hf: str, gguf: str | None) -> Parameter:
        return Parameter(self.own + name, (width,), f"{self.hf}{hf}.bias", gguf and f"{self.gguf}{gguf}.bias", "bias")

    def feed_forward(
        self, name: str, hidden: int, width: int, hf: str, gguf: str, kind: str, experts: int | None = None
    ) -> list[Parameter]:
        """Its PARTS; `hf` and `gguf` hold "%s" where the part's name goes."""
        stack = () if experts is None else (experts,)
        shapes = dict(zip(PARTS, ((width, hidden), (width, hidden), (hidden, width)), strict=True))
        return [
            self.matrix(f"{name}.{part}", (*stack, *shape), hf % f"{part}_proj", gguf % part, kind)
            for part, shape in shapes.items()
        ]
