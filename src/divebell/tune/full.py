"""Every weight trained, in float32; the result is a checkpoint like the one it came from."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from divebell.models.parameter import Parameter
from divebell.models.write import write_model
from divebell.tune.model import Trainee
from divebell.weights.entry import Entry
from divebell.weights.formats import BF16, F32

FROZEN = ("router_bias",)  # moved by the balance of the experts' load, not by gradients


class Full:
    weights = "stored"

    def size(self, parameters: Iterable[Parameter]) -> int:
        """How many numbers are trained."""
        return sum(parameter.count for parameter in parameters)

    def attach(self, trainee: Trainee) -> dict[str, torch.nn.Parameter]:
        """What is trained, by own name; an expert's with its number behind."""
        trained = {}
        for name, weight in trainee.weights.items():
            listed = {f"{name}.{e}": w for e, w in enumerate(weight)} if isinstance(weight, list) else {name: weight}
            trained |= {key: each.thaw() for key, each in listed.items()}
        for name, vector in trainee.vectors.items():
            if not name.endswith(FROZEN):
                trained[name] = vector.requires_grad_(True)
        return trained

    def save(self, trainee: Trainee, folder: Path) -> Path:
        """A checkpoint in `folder`: matrices in bfloat16, norms, biases and routers in float32."""
        checkpoint = trainee.checkpoint
        kind, entries = checkpoint.kind, []
        for parameter in trainee.parameters.values():
            format = F32 if parameter.kind in ("norm", "bias", "router") else BF16
            shape = parameter.stored_shape(kind)
            entries += [Entry(name, shape, format) for name in parameter.stored_names(kind)]
        out = folder / ("model.gguf" if kind == "gguf" else "model")
        config = {key: value for key, value in checkpoint.config.items() if key != "quantization_config"}
        write_model(checkpoint, out, entries, _pieces(trainee), config)
        return out


def _pieces(trainee: Trainee) -> Iterator[np.ndarray]:
    for name, parameter in trainee.parameters.items():
        wide = parameter.kind in ("norm", "bias", "router")
        for values in _values(trainee, name):
            numbers = values.detach().to(torch.float32 if wide else torch.bfloat16).contiguous()
            yield numbers.view(torch.uint8).reshape(-1).numpy()


def _values(trainee: Trainee, name: str) -> list[torch.Tensor]:
    """One tensor, or one for each expert or head of a stack."""
    if name in trainee.vectors:
        return [trainee.vectors[name]]
    weight = trainee.weights.get(name)
    if weight is None:  # factors of RoPE, which are no weights
        return [torch.from_numpy(trainee.numbers(name))]
    return [each.dense for each in (weight if isinstance(weight, list) else [weight])]
