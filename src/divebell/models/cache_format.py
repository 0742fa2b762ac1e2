"""What the numbers of a cache are: float32, bfloat16, or for latents bytes with two scales a token."""

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np

from divebell.errors import BadInput

DTYPES: Mapping[str, np.dtype] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "q8": np.dtype(np.uint8),
}
SCALES = 8  # bytes behind each token's own in "q8": float32 scales of the latent and of the rotated key


def check(name: object, layout: Sequence[Mapping[str, int]]) -> None:
    """BadInput for a format that does not exist, or that keys and values have none of."""
    if not isinstance(name, str) or name not in DTYPES:
        raise BadInput(f"cache is {name!r}; it must be one of {', '.join(DTYPES)}")
    if name == "q8" and any(set(layer) != {"latent"} for layer in layout):
        raise BadInput("cache is 'q8', which is for latents; this model caches keys and values: take f32 or bf16")


def widths(name: str, layout: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """Numbers per token -> elements of the format's dtype per token, for each layer's components."""
    more = SCALES if name == "q8" else 0
    return [{component: width + more for component, width in layer.items()} for layer in layout]


def bytes_per_token(name: str, layout: Sequence[Mapping[str, int]]) -> int:
    return DTYPES[name].itemsize * sum(width for layer in widths(name, layout) for width in layer.values())
