"""How far a student has followed its teacher, in a folder: a process that dies loses only the layer that it was in."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, safe_open, save_file

from divebell.weights.mapped import draft

_STREAMS = "streams.safetensors"
Distances = tuple[float, float]


class Walk:
    """folder: which is there."""

    def __init__(self, folder: Path):
        self._folder = folder

    def save(
        self, told: Sequence[Distances], matrices: Sequence[torch.Tensor], own: torch.Tensor, right: torch.Tensor
    ) -> None:
        """After a layer. told: of all layers so far. matrices: the layer's. own, right: both streams behind it."""
        with draft(self._layer(len(told) - 1)) as part:
            save_file({str(n): matrix.detach().contiguous() for n, matrix in enumerate(matrices)}, part)
        with draft(self._folder / _STREAMS) as part:  # last, as it says which layers count
            save_file({"own": own.contiguous(), "right": right.contiguous()}, part, {"told": json.dumps(told)})

    def restore(
        self, matrices: Callable[[int], Sequence[torch.Tensor]]
    ) -> tuple[list[Distances], dict[str, torch.Tensor]]:
        """Fills the matrices of each layer that is done. What was told of them, and the streams; nothing at first."""
        path = self._folder / _STREAMS
        if not path.is_file():
            return [], {}
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["told"])
        for index in range(len(told)):
            kept = load_file(self._layer(index))
            for number, matrix in enumerate(matrices(index)):
                matrix.copy_(kept[str(number)])
        return [(before, after) for before, after in told], load_file(path)

    def _layer(self, index: int) -> Path:
        return self._folder / f"layer-{index}.safetensors"
