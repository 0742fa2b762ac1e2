"""What an adapter changes of a model: peft's modules held against the parameters that the architecture states.

peft on transformers 5 lays a layer's routed experts out as two stacks: gates and ups together, and downs; older files
name each expert's matrices.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from divebell.errors import Mismatch
from divebell.models.parameter import Parameter, pairs_of_halves
from divebell.weights.adapter import WEIGHTS, AdapterFile, Pair
from divebell.weights.mapped import brief

KINDS = ("attention", "mlp", "experts", "shared_experts", "router")
Place = tuple[str, int | None]  # a parameter's name, and the expert where it is a stack


@dataclass(frozen=True, slots=True)
class Factors:
    """A matrix is changed by scale * b @ a: a (r, columns), b (rows, r); float32 or bfloat16."""

    a: np.ndarray
    b: np.ndarray
    scale: float

    def product(self, rows: slice = slice(None)) -> np.ndarray:
        """float32 (rows, columns), of some rows or all."""
        return np.float32(self.scale) * (self.b[rows].astype(np.float32) @ self.a.astype(np.float32))


Changes = dict[Place, Factors]


def changes(file: AdapterFile, module: ModuleType, config: Any) -> Changes:
    """Of a model whose architecture is `module`, with rows as its files have them; up-projections as Hugging Face has.

    Raises Mismatch, in one sentence, for an adapter of another model, BadFile where its file contradicts itself.
    """
    paired = {p.name: p.paired for p in module.parameters(config)}
    found = _released(file, [p for p in module.parameters(config.released()) if _changeable(p)])
    return {place: _in_rows(factors, paired.get(place[0], 0)) for place, factors in found.items()}


def digest(changes: Changes) -> bytes:
    """Equal for adapters that compute the same."""
    made = hashlib.blake2b(digest_size=16)
    for (name, expert), factors in sorted(changes.items(), key=str):
        head = f"{name} {expert} {factors.scale!r} {factors.a.shape} {factors.b.shape} {factors.a.dtype}"
        made.update(head.encode())
        made.update(np.ascontiguousarray(factors.a).view(np.uint8))
        made.update(np.ascontiguousarray(factors.b).view(np.uint8))
    return made.digest()


def _changeable(parameter: Parameter) -> bool:
    return parameter.kind in KINDS and parameter.hf is not None and len(parameter.shape) > 1


def _in_rows(factors: Factors, heads: int) -> Factors:
    return replace(factors, b=factors.b[pairs_of_halves(heads, len(factors.b))]) if heads else factors


def _released(file: AdapterFile, parameters: list[Parameter]) -> Changes:
    """parameters: of the model as Hugging Face's files have it."""
    plain = {name.removesuffix(".weight"): (p, e) for p in parameters for e, name in _names(p)}
    stacks: dict[str, dict[str, Parameter]] = defaultdict(dict)
    for p in (p for p in parameters if p.is_stack):
        stacks[p.hf.split(".{e}.")[0]][p.name.rpartition(".")[2]] = p
    found: Changes = {}
    for name, pair in file.pairs.items():
        stack = stacks.get(name.removesuffix(".base_layer"))
        if name in plain:
            parameter, expert = plain[name]
            found[parameter.name, expert] = _plain(file, name, pair, parameter)
        elif stack:
            found |= _stack(file, name, pair, stack)
        else:
            raise _foreign(file, f"it changes {brief(name)}, which this model does not have or does not let change")
    return found


def _names(parameter: Parameter) -> list[tuple[int | None, str]]:
    names = parameter.stored_names("safetensors")
    return list(enumerate(names)) if parameter.is_stack else [(None, names[0])]


def _plain(file: AdapterFile, name: str, pair: Pair, parameter: Parameter) -> Factors:
    found, shape = (len(pair.b), pair.a.shape[1]), parameter.stored_shape("safetensors")
    if found != shape:
        raise _foreign(file, f"{name} changes {_size(found)} numbers, the model has {_size(shape)}")
    _check_rank(file, name, len(pair.a), file.rank(name))
    return Factors(pair.a, pair.b, file.scale(name))


def _stack(file: AdapterFile, name: str, pair: Pair, stack: Mapping[str, Parameter]) -> Changes:
    """A: expert after expert. B: the experts of each rank side by side; of a gate and up, gates' rows first."""
    (experts, width, hidden), found = stack["gate"].shape, (len(pair.b), pair.a.shape[1])
    if found not in ((2 * width, hidden), (hidden, width)):
        problem = f"{name} changes {_size(found)} numbers of each expert"
        raise _foreign(file, f"{problem}, the model has {2 * width}x{hidden} and {hidden}x{width}")
    fused = found == (2 * width, hidden)
    module = stack_name(name, fused)
    _check_rank(file, module, len(pair.a), experts * file.rank(module))
    a = pair.a.reshape(experts, -1, pair.a.shape[1])
    b = np.ascontiguousarray(pair.b.reshape(len(pair.b), -1, experts).transpose(2, 0, 1))
    parts = {"gate": slice(0, width), "up": slice(width, None)} if fused else {"down": slice(None)}
    scale = file.scale(module)
    return {  # experts that were left alone are laid out as zeros
        (stack[part].name, e): Factors(a[e], b[e, rows], scale)
        for part, rows in parts.items()
        for e in range(experts)
        if b[e, rows].any()
    }


def stack_name(module: str, fused: bool) -> str:
    """What a config calls a layer's stack of gates and ups, or of downs, whatever peft's layers around it."""
    return f"{module.removesuffix('.base_layer')}.{'gate_up_proj' if fused else 'down_proj'}"


def _check_rank(file: AdapterFile, name: str, found: int, told: int) -> None:
    if found != told:
        raise Mismatch(f"{file.folder / WEIGHTS}: {name} has {found} ranks, but the config says {told}")


def _foreign(file: AdapterFile, problem: str) -> Mismatch:
    made = f" (it was made for {brief(file.base)})" if file.base else ""
    return Mismatch(f"{file.folder} is an adapter for another model{made}: {problem}; give one that was made for this")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
