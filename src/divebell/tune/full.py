"""Every weight trained, in float32; the result is a checkpoint like the one it came from."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from divebell.models import mtp
from divebell.models.parameter import Parameter
from divebell.models.write import write_model
from divebell.ops.torch import Weight
from divebell.tune.model import Trainee
from divebell.weights.entry import Entry
from divebell.weights.formats import BF16, F32

MOVED = ("router_bias",)  # by the balance of the experts' load, not by gradients
_LEAST_SPREAD = 2.0**-7  # of a router's logits for normalised inputs; sigmoids of these differ by less than 1 %


class Full:
    """routers: also those that tell an order alone, see `_tells_an_order`; others are trained in any case."""

    weights = "stored"

    def __init__(self, routers: bool = False):
        self._routers = routers

    def size(self, parameters: Iterable[Parameter]) -> int:
        """How many numbers are trained."""
        return sum(parameter.count for parameter in parameters)

    def attach(self, trainee: Trainee) -> dict[str, torch.nn.Parameter]:
        """What is trained, or moved, by own name; an expert's with its number behind."""
        trained = {}
        for name, weight in trainee.weights.items():
            if trainee.parameters[name].kind == "router" and not self._routers and _tells_an_order(weight):
                continue
            listed = {f"{name}.{e}": w for e, w in enumerate(weight)} if isinstance(weight, list) else {name: weight}
            trained |= {key: each.thaw() for key, each in listed.items()}
        for name, vector in trainee.vectors.items():
            trained[name] = vector.requires_grad_(not name.endswith(MOVED))
        return trained

    def place(self, kind: str, folder: Path) -> Path:
        """Where `save` leaves a checkpoint of that kind."""
        return folder / ("model.gguf" if kind == "gguf" else "model")

    def save(self, trainee: Trainee, folder: Path) -> Path:
        """A checkpoint in `folder`: matrices in bfloat16, norms, biases and routers in float32."""
        checkpoint, kind = trainee.checkpoint, trainee.checkpoint.kind
        stored = [pair for name in trainee.parameters for pair in _stored(trainee, name, kind)]
        if trainee.mtp and kind == "safetensors":
            for name, own in mtp.shared(trainee.config).items():
                stored.append((Entry(name, trainee.parameters[own].shape, BF16), _values(trainee, own)))
        out = self.place(kind, folder)
        pieces = (piece for entry, values in stored for piece in _pieces(entry, values))
        write_model(checkpoint, out, [entry for entry, _ in stored], pieces, _described(trainee))
        return out


def _tells_an_order(router: Weight) -> bool:
    """Whether scores are all but equal, as in a model that `convert --experts` made: then the choice, which has no
    gradient, is all that it is for, and the optimizer's first steps would be larger than its numbers."""
    return bool(np.linalg.norm(router.tensor.f32(), axis=1).max() < _LEAST_SPREAD)


def _stored(trainee: Trainee, name: str, kind: str) -> list[tuple[Entry, Sequence[torch.Tensor]]]:
    """What a file holds of a parameter: each tensor with the values that go into it."""
    parameter, values = trainee.parameters[name], _values(trainee, name)
    names, shape = parameter.stored_names(kind), parameter.stored_shape(kind)
    format = F32 if parameter.kind in ("norm", "bias", "router") else BF16
    each = len(values) // len(names)
    return [(Entry(own, shape, format), values[i * each : (i + 1) * each]) for i, own in enumerate(names)]


def _pieces(entry: Entry, values: Sequence[torch.Tensor]) -> Iterator[np.ndarray]:
    for each in values:
        numbers = each.detach().to(torch.float32 if entry.format is F32 else torch.bfloat16).contiguous()
        yield numbers.view(torch.uint8).reshape(-1).numpy()


def _values(trainee: Trainee, name: str) -> list[torch.Tensor]:
    """One tensor, or one for each expert or head of a stack."""
    if name in trainee.vectors:
        return [trainee.vectors[name]]
    weight = trainee.weights.get(name)
    if weight is None:  # factors of RoPE, which are no weights
        return [torch.from_numpy(trainee.numbers(name))]
    return [_numbers(each) for each in (weight if isinstance(weight, list) else [weight])]


def _numbers(weight: Weight) -> torch.Tensor:
    return torch.from_numpy(weight.tensor.f32()) if weight.dense is None else weight.dense


def _described(trainee: Trainee) -> dict:
    """The config.json that goes with the weights."""
    values = {key: value for key, value in trainee.checkpoint.config.items() if key != "quantization_config"}
    return mtp.described(values, bool(trainee.mtp))
