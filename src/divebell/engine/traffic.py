"""The least that a forward pass costs: weights it has to read once, multiply-adds it has to do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from divebell.weights.panels import IN_PANELS

_RATES = {"F32": "f32", "F16": "f32", "BF16": "bf16", "F8_E4M3": "bf16"}  # the quantized ones are multiplied as int8
_IN_TILES = {format.name for format in IN_PANELS}  # many tokens, in bfloat16, where the processor has tiles of it


@dataclass(frozen=True, slots=True)
class Work:
    """bytes: of weights and cache, each once. multiply_adds: by the kind of number that they can be done in."""

    bytes: int = 0
    multiply_adds: Counter = field(default_factory=Counter)

    def __add__(self, other: "Work") -> "Work":
        return Work(self.bytes + other.bytes, self.multiply_adds + other.multiply_adds)

    def seconds(self, read_gb_per_s: float, gmac_per_s: Mapping[str, float]) -> float:
        """The floor: reading and multiplying can go on at the same time, so the slower of the two."""
        arithmetic = sum(count / gmac_per_s[kind] for kind, count in self.multiply_adds.items())
        return max(self.bytes / read_gb_per_s, arithmetic) / 1e9


def _rate(format: str, tokens: int) -> str:
    """The kind of number that so many tokens are multiplied as by weights of a format."""
    from divebell import _native

    in_tiles = format in _IN_TILES and 0 < _native.tiles_from <= tokens
    return "bf16" if in_tiles else _RATES.get(format, "int8")


class Traffic:
    """Of one model in its stored formats. layout, dtype: of its cache."""

    def __init__(
        self, checkpoint: Any, parameters: Sequence[Any], config: Any, layout: Sequence[dict], dtype: np.dtype
    ):
        self.config, self.dtype = config, np.dtype(dtype)
        self._widths = [sum(layer.values()) for layer in layout]
        self._experts: list[tuple[int, int, str]] = []  # of each stack: bytes and numbers of one expert, and its format
        self._dense: Counter = Counter()
        self._dense_bytes = self._head = 0
        for parameter in parameters:
            tensors = [checkpoint.tensors[name] for name in parameter.stored_names(checkpoint.kind)]
            self._count(parameter, sum(t.nbytes for t in tensors), tensors[0].format.name)

    def _count(self, parameter: Any, nbytes: int, format: str) -> None:
        if parameter.kind == "experts":
            count = parameter.shape[0]
            self._experts.append((nbytes // count, parameter.count // count, format))
        elif parameter.kind == "head" or (parameter.kind == "embedding" and self.config.tied):
            self._dense_bytes += nbytes
            self._head, self._head_format = parameter.count, format
        elif parameter.kind != "embedding":
            self._dense_bytes += nbytes
            self._dense[format] += parameter.count if len(parameter.shape) > 1 else 0

    def of(self, chunks: Sequence[tuple[int, int]], chosen: Sequence[np.ndarray]) -> Work:
        """One pass over (new tokens, tokens before them) of each sequence, with the logits of each one's last token.

        chosen: the experts' ids (tokens, k) of each layer that has experts, in order.
        """
        tokens = sum(new for new, _ in chunks)
        adds: Counter = Counter()
        for format, count in self._dense.items():
            adds[_rate(format, tokens)] += count * tokens
        adds[_rate(self._head_format, len(chunks))] += self._head * len(chunks)
        bytes_ = self._dense_bytes + self._cache_bytes(chunks)
        stacks = len(self._experts) // len(chosen) if len(chosen) else 0
        for stack, (nbytes, count, format) in enumerate(self._experts):
            _, each = np.unique(chosen[stack // stacks], return_counts=True)
            bytes_ += nbytes * each.size
            for n in each.tolist():
                adds[_rate(format, n)] += count * n
        for chunk in chunks:
            adds[self._attention_rate(chunk)] += self._attention(chunk)
        return Work(int(bytes_), adds)

    def _attention_rate(self, chunk: tuple[int, int]) -> str:
        """Bytes are multiplied as such where a token's query is brought to them, and made keys and values of else.

        AVX2 makes whole numbers of 16 bits of latents: an instruction multiplies as many of them as of 8 bits.
        """
        from divebell import _native

        if self.dtype.itemsize == 4:
            return "f32"
        whole = _native.isa == "avx2" and getattr(self.config, "latent", None)
        return "int8" if whole or (self.dtype.itemsize == 1 and chunk[0] == 1) else "bf16"

    def _cache_bytes(self, chunks: Sequence[tuple[int, int]]) -> int:
        lengths = ((layer, new + before) for new, before in chunks for layer in range(len(self._widths)))
        return sum(self._widths[layer] * self._seen(layer, length) for layer, length in lengths) * self.dtype.itemsize

    def _attention(self, chunk: tuple[int, int]) -> int:
        new, before = chunk
        ends = np.arange(before + 1, before + new + 1)
        pairs = sum(int(self._seen(layer, ends).sum()) for layer in range(len(self._widths)))
        return pairs * self._per_pair(new)

    def _seen(self, layer: int, length: Any) -> Any:
        windows = getattr(self.config, "windows", None)
        window = windows[layer] if windows else None
        return length if window is None else np.minimum(length, window)

    def _per_pair(self, new: int) -> int:
        """Multiply-adds of one query with one key: latents are cheaper expanded for a prompt, absorbed for a token."""
        latent = getattr(self.config, "latent", None)
        if latent is None:
            return self.config.heads * 2 * self.config.head_dim
        if new == 1:
            return latent.heads * (2 * latent.rank + latent.rope)
        return latent.heads * (latent.nope + latent.rope + latent.v)
