"""Which format each tensor of a quantized GGUF file gets: the choices that llama.cpp's llama-quantize makes.

A mixture is asked for by its main format; the head, and the tensors that suffer most, get more bits. Source:
ggml-org/llama.cpp src/llama-quant.cpp as of October 2026, without an importance matrix; the K mixtures are its "_M".
Left out: exceptions for models of 8 experts or 70B, and for few key-value heads in Q2_K and IQ4.
"""

import re
from dataclasses import dataclass

from divebell.errors import Unsupported
from divebell.weights.formats import BY_NAME, F16, F32, Format

FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "BF16": 32,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q8_0": 7,
    "Q2_K": 10,
    "Q3_K": 12,
    "Q4_K": 15,
    "Q5_K": 17,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
    "MXFP4": 38,
}
"""`general.file_type` of each (llama.h, enum llama_ftype)."""

_FALLBACK = {"IQ4_XS": "IQ4_NL", "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


@dataclass(frozen=True, slots=True)
class Mixture:
    """main: a key of FILE_TYPES, in any case. layers: of the model. tied: its embedding is the head as well."""

    main: str
    layers: int
    tied: bool

    def __post_init__(self):
        if self.main.upper() not in FILE_TYPES:
            raise Unsupported("format", self.main, [name.lower() for name in FILE_TYPES])
        object.__setattr__(self, "main", self.main.upper())

    @property
    def file_type(self) -> int:
        return FILE_TYPES[self.main]

    def format_of(self, name: str, shape: tuple[int, ...]) -> Format:
        """The format of the tensor that GGUF calls `name`."""
        if len(shape) == 1 or name.endswith("_norm.weight") or "ffn_gate_inp" in name:
            return F32
        wanted = self.main if self.main in ("F32", "F16", "BF16") else self._wanted(name, shape)
        return _fitting(wanted, shape[-1])

    def _wanted(self, name: str, shape: tuple[int, ...]) -> str:
        if name == "output.weight" or (self.tied and name == "token_embd.weight"):
            plain = self.main in ("MXFP4", "Q8_0") or shape[-1] % BY_NAME[self.main].block
            return "Q8_0" if plain else "Q6_K"
        if self.main == "MXFP4":
            return "MXFP4" if len(shape) == 3 else "Q8_0"
        layer = re.match(r"blk\.(\d+)\.", name)
        return self._in_layer(name, int(layer[1])) if layer else self.main

    def _in_layer(self, name: str, layer: int) -> str:
        if "ffn_down" in name:
            return self._ffn_down(layer)
        if "attn_v.weight" in name or "attn_kv_b.weight" in name:
            return self._attn_v(layer)
        if "attn_output.weight" in name:
            return {"Q2_K": "Q3_K", "Q3_K": "Q4_K"}.get(self.main, self.main)
        return self.main

    def _ffn_down(self, layer: int) -> str:
        if self.main in ("Q4_K", "Q5_K"):
            return "Q6_K" if self._needs_bits(layer) else self.main
        if self.main in ("IQ4_NL", "IQ4_XS"):
            return "Q5_K" if layer < self.layers // 8 else self.main
        if self.main == "Q3_K":
            return "Q5_K" if layer < self.layers // 16 else "Q4_K"
        return "Q3_K" if self.main == "Q2_K" else self.main

    def _attn_v(self, layer: int) -> str:
        if self.main in ("Q4_K", "Q5_K"):
            return "Q6_K" if self._needs_bits(layer) else self.main
        if self.main == "Q3_K":
            return "Q5_K" if layer < 2 else "Q4_K"
        return "Q3_K" if self.main == "Q2_K" else self.main

    def _needs_bits(self, layer: int) -> bool:
        """The first eighth of the layers, the last, and every third between."""
        eighth = self.layers // 8
        return layer < eighth or layer >= 7 * self.layers // 8 or (layer - eighth) % 3 == 2


def _fitting(wanted: str, columns: int) -> Format:
    """`wanted`, or what stands in for it where its blocks do not divide a row."""
    while columns % BY_NAME[wanted].block:
        if wanted not in _FALLBACK:
            return F16
        wanted = _FALLBACK[wanted]
    return BY_NAME[wanted]
