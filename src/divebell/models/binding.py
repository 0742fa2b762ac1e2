"""A checkpoint's tensors bound to a model's parameters: checked one against the other, converted, handed to the ops."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from divebell.errors import BadInput, Mismatch
from divebell.models.changes import Place
from divebell.models.parameter import PARTS, Parameter
from divebell.weights.tensor import Tensor

CONVERSIONS = ("stored", "f32", "bf16", "q8", "q4")
_DERIVED = re.compile(r"(\.rotary_emb\.inv_freq|\.attn_rot_embd\.weight)$")  # can be computed from the configuration
_MOST_NAMED = 5


class Binding:
    """Raises Mismatch naming every missing, left-over or misshapen tensor (the first few of each).

    conversion: one of CONVERSIONS; "stored" keeps the file's blocks. Norms, biases and routers are float32 always:
    they are small, and a choice of experts is sensitive. unused: beginnings of names that may be there and are left.
    arranged: see `models.load`.
    places: what the ops' handles stand for, by their identity: a Place; for experts, the names of routed and shared.
    """

    def __init__(
        self,
        checkpoint: Any,
        parameters: list[Parameter],
        ops: ModuleType,
        conversion: str,
        unused: tuple[str, ...],
        arranged: Callable[[Tensor], Tensor] | None = None,
    ):
        if conversion not in CONVERSIONS:
            raise BadInput(f"weights is {conversion!r}; give one of {', '.join(CONVERSIONS)}")
        self.checkpoint, self.ops, self.conversion = checkpoint, ops, conversion
        self.parameters = {parameter.name: parameter for parameter in parameters}
        self.places: dict[int, Place | tuple[str, str]] = {}
        self._nets: dict[Place, tuple[Any, ...]] = {}
        self._parts: dict[str, list[list[Tensor]]] = {}
        self._arranged = arranged or (lambda tensor: tensor)
        self._check(unused)

    def matrix(self, name: str) -> Any:
        return self._placed(self.ops.weight(self._multiplied(name)[0]), (name, None))

    def _placed(self, handle: Any, place: tuple) -> Any:
        self.places[id(handle)] = place
        return handle

    def vector(self, name: str) -> Any:
        """float32 (n,) as the ops have it; None if the model has no such parameter."""
        values = self.numbers(name)
        return None if values is None else self.ops.vector(values)

    def numbers(self, name: str) -> np.ndarray | None:
        """float32 (n,), finite; None if the model has no such parameter."""
        if name not in self.parameters:
            return None
        tensor = self._stored(name)[0]
        values = tensor.f32()
        if not np.isfinite(values).all():
            raise damaged(self.checkpoint.path, tensor)
        return values

    def experts(self, name: str, shared: str) -> Any:
        """The stacks `name`, with the experts `shared` beside them if the model has any."""
        stacks = [self._multiplied(f"{name}.{part}") for part in PARTS]
        always = [self._multiplied(f"{shared}.{part}")[0] for part in PARTS if f"{shared}.{part}" in self.parameters]
        self._parts |= {name: stacks, shared: [[tensor] for tensor in always]}
        return self._placed(self.ops.experts(*stacks, shared=tuple(always) or None), (name, shared))

    def net(self, name: str, expert: int | None = None) -> tuple[Any, ...]:
        """Gate, up and down of one of the `experts`, or of the shared one, over their memory; () if there is none."""
        if (name, expert) not in self._nets:
            tensors = [stack[expert or 0] for stack in self._parts[name]]
            places = [(f"{name}.{part}", expert) for part in PARTS]
            handles = [self._placed(self.ops.weight(t), p) for t, p in zip(tensors, places, strict=False)]
            self._nets[name, expert] = tuple(handles)
        return self._nets[name, expert]

    def up_projections(self, prefix: str) -> Any:
        names = [name for name in ("kv_b", "k_b", "v_b") if prefix + name in self.parameters]
        # Of the others, rows are decoded one by one.
        tensors = {name: self._tensors(prefix + name, self._arranged if name == "v_b" else None)[0] for name in names}
        return self._placed(self.ops.up_projections(**tensors), (prefix + "kv_b", None))

    def whole_up_projection(self, prefix: str) -> np.ndarray:
        """float32 (heads * (nope + v), rank), as Hugging Face has it."""
        if prefix + "kv_b" in self.parameters:
            return self._stored(prefix + "kv_b")[0].f32()
        k_b, v_b = (self._stored(prefix + name)[0].f32() for name in ("k_b", "v_b"))
        return np.concatenate([k_b.transpose(0, 2, 1), v_b], axis=1).reshape(-1, v_b.shape[-1])

    def damaged_tensor(self) -> Tensor | None:
        """The first tensor that holds NaN or infinity. Reads every weight: for finding out, not for loading."""
        stored = (tensor for name in self.parameters for tensor in self._stored(name))
        parts = (part for tensor in stored for part in (tensor.split() if len(tensor.shape) > 2 else (tensor,)))
        return next((part for part in parts if not np.isfinite(part.f32()).all()), None)

    def _stored(self, name: str) -> list[Tensor]:
        return [self.checkpoint.tensors[stored] for stored in self.parameters[name].stored_names(self.checkpoint.kind)]

    def _multiplied(self, name: str) -> list[Tensor]:
        """As `_tensors`, and arranged, except an embedding whose rows are only looked up."""
        looked_up = name == "embedding" and "head" in self.parameters
        return self._tensors(name, None if looked_up else self._arranged)

    def _tensors(self, name: str, arranged: Callable[[Tensor], Tensor] | None = None) -> list[Tensor]:
        """Converted; a stack as the list of its matrices."""
        from divebell.weights.quantize import convert

        parameter, tensors = self.parameters[name], self._stored(name)
        if arranged and self.conversion == "stored" and parameter.kind != "router":
            tensors = [arranged(tensor) for tensor in tensors]
        if parameter.is_stack and self.checkpoint.kind == "gguf":
            tensors = list(tensors[0].split())
        target = "f32" if parameter.kind == "router" else self.conversion
        return tensors if target == "stored" else [convert(tensor, target) for tensor in tensors]

    def _check(self, unused: tuple[str, ...]) -> None:
        found = differences(self.checkpoint, list(self.parameters.values()), unused)
        problems = [_some("missing", found.missing), _some("left over", found.spare), _some("misshapen", found.wrong)]
        if any(problems):
            raise Mismatch(f"{self.checkpoint.path}: its tensors and its configuration differ: {''.join(problems)}")


@dataclass(frozen=True, slots=True)
class Differences:
    """Names of tensors that the configuration asks for and the file lacks, that it has and nothing asks for, that have
    another shape (with both), and that it has and the model leaves alone."""

    missing: list[str]
    spare: list[str]
    wrong: list[str]
    unused: list[str]


def differences(checkpoint: Any, parameters: list[Parameter], unused: tuple[str, ...]) -> Differences:
    """Between an open checkpoint's tensors and a model's parameters. unused: beginnings of names that may be there."""
    kind, stored = checkpoint.kind, checkpoint.tensors
    expected = {name: p.stored_shape(kind) for p in parameters for name in p.stored_names(kind)}
    others = [name for name in stored if name not in expected]
    left = [name for name in others if name.startswith(unused) or _DERIVED.search(name)]
    wrong = [
        f"{name} is {_size(stored[name].shape)} but the configuration asks for {_size(shape)}"
        for name, shape in expected.items()
        if name in stored and tuple(stored[name].shape) != shape
    ]
    missing, known = [name for name in expected if name not in stored], set(left)
    return Differences(missing, [name for name in others if name not in known], wrong, left)


def damaged(path: object, tensor: Tensor) -> Mismatch:
    """For a tensor with NaN or infinity in it."""
    return Mismatch(f"{path}: tensor {tensor.name} holds NaN or infinity: the file is damaged; fetch it again")


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{what}: {', '.join(names[:_MOST_NAMED])}{rest}. "


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
