"""LoRA (arXiv 2106.09685): low-rank additions to frozen weights, named and laid out as peft saves them.

Routed experts are laid out as peft does it for transformers 5, where a layer's experts are two stacked parameters: one
A and B for gates and ups together, one for downs, the experts' ranks side by side.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from divebell.models.parameter import Parameter, pairs_of_halves
from divebell.ops.torch import Adapter
from divebell.tune.model import Trainee
from divebell.tune.settings import KINDS
from divebell.weights.adapter import WEIGHTS, write_adapter

_SPLIT = ("k_b", "v_b")  # GGUF's halves of kv_b, which a single adapter is for


class LowRank:
    """Adds scale * B (A x) to y, where y is: of one matrix, or of a stack of `experts` that keep their ranks apart.

    a: (rank * experts, columns), expert after expert. b: (rows, rank * experts), the experts of each rank side by side.
    """

    def __init__(self, a: torch.Tensor, b: torch.Tensor, scale: float, experts: int = 1):
        self.a, self.b = torch.nn.Parameter(a), torch.nn.Parameter(b)
        self.scale, self.experts = scale, experts

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._added(x, y, self.a, self.b)

    def of_expert(self, expert: int, rows: slice) -> Adapter:
        """The same of some rows of an expert."""

        def added(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            a = self.a.unflatten(0, (self.experts, -1))[expert]
            return self._added(x, y, a, self.b[rows].unflatten(1, (-1, self.experts))[..., expert])

        return added

    def _added(self, x: torch.Tensor, y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return y.addmm_(functional.linear(x, a), b.T, alpha=self.scale)


@dataclass
class Lora:
    """Adapters at every matrix of the chosen kinds (settings.TARGETS).

    weights: how the base is held: "f32", "bf16" or as it is "stored".
    experts: those that are trained, by the beginning of a layer's names ("layers.3."); None: all.
    """

    rank: int = 16
    alpha: float = 32.0
    kinds: tuple[str, ...] = KINDS
    weights: str = "stored"
    experts: Mapping[str, Sequence[int]] | None = None

    def size(self, parameters: Iterable[Parameter]) -> int:
        """How many numbers are trained, or a few more: an expert's gate and up share one of their matrices."""
        chosen = [p for p in parameters if p.kind in self.kinds and len(p.shape) > 1]
        counts = [len(self._kept(p)) if p.is_stack else prod(p.shape[:-2]) for p in chosen]
        return sum(self.rank * count * sum(p.shape[-2:]) for p, count in zip(chosen, counts, strict=True))

    def _kept(self, stack: Parameter) -> Sequence[int]:
        """Which of its experts are trained."""
        return range(stack.shape[0]) if self.experts is None else self.experts[stack.name.partition("experts")[0]]

    def attach(self, trainee: Trainee) -> dict[str, torch.nn.Parameter]:
        """What is trained, by its name in peft's files."""
        self._adapters: dict[str, LowRank] = {}
        self._stacks: dict[str, tuple[int, list[int]]] = {}  # by module: how many experts, and which are trained
        for parameter in trainee.parameters.values():
            if parameter.kind in self.kinds:
                self._attach(trainee, parameter)
        return {
            f"{module}.lora_{part}.weight": getattr(adapter, part.lower())
            for module, adapter in self._adapters.items()
            for part in "AB"
        }

    def _attach(self, trainee: Trainee, parameter: Parameter) -> None:
        own, _, part = parameter.name.rpartition(".")
        module = self.module(parameter)
        if not module or (parameter.is_stack and part == "up"):  # which goes with the gate
            return
        if parameter.is_stack:
            self._attach_experts(trainee, module, parameter)
        elif part in _SPLIT:
            self._attach_split(trainee, module, f"{own}.", parameter)
        elif len(parameter.shape) == 2:
            trainee.weights[parameter.name].adapter = self._adapter(module, parameter, *parameter.shape)

    def _attach_experts(self, trainee: Trainee, module: str, parameter: Parameter) -> None:
        (experts, rows, columns), kept = parameter.shape, self._kept(parameter)
        own, _, part = parameter.name.rpartition(".")
        fused = part == "gate"
        adapter = self._adapter(module, parameter, rows * (1 + fused), columns, len(kept))
        self._stacks[module] = experts, list(kept)
        for index, each in enumerate(("gate", "up") if fused else ("down",)):
            taken = slice(index * rows, (index + 1) * rows)
            weights = trainee.weights[f"{own}.{each}"]
            for place, expert in enumerate(kept):
                weights[expert].adapter = adapter.of_expert(place, taken)

    def _attach_split(self, trainee: Trainee, module: str, prefix: str, parameter: Parameter) -> None:
        up = trainee.ups[prefix]
        rows = sum(w.shape[1] for w in up.keys) + sum(w.shape[0] for w in up.values)
        up.adapter = self._adapter(module, parameter, rows, up.rank)

    def module(self, parameter: Parameter) -> str | None:
        """peft's name of what adapts it; None where nothing does."""
        own, _, part = parameter.name.rpartition(".")
        if parameter.is_stack:
            return parameter.hf.split(".{e}.")[0] + (".base_layer" if part == "gate" else "")
        if part in _SPLIT:
            return f"model.{own}.self_attn.kv_b_proj"
        return parameter.hf and parameter.hf.removesuffix(".weight")

    def _adapter(self, module: str, parameter: Parameter, rows: int, columns: int, experts: int = 1) -> LowRank:
        """The one that a module has."""
        if module not in self._adapters:
            self._adapters[module] = self.begin(module, parameter, rows, columns, experts)
        return self._adapters[module]

    def begin(self, module: str, parameter: Parameter, rows: int, columns: int, experts: int) -> LowRank:
        """One that changes nothing yet."""
        a, b = torch.empty(self.rank * experts, columns), torch.zeros(rows, self.rank * experts)
        torch.nn.init.kaiming_uniform_(a, a=sqrt(5))
        return LowRank(a, b, self.alpha / self.rank, experts)

    def place(self, kind: str, folder: Path) -> Path:
        """The file that `save` leaves last."""
        return folder / "adapter" / WEIGHTS

    def save(self, trainee: Trainee, folder: Path) -> Path:
        """adapter_config.json and adapter_model.safetensors in a folder `adapter`."""
        out = folder / "adapter"
        out.mkdir(exist_ok=True)
        tensors, matrices = {}, [p for p in trainee.parameters.values() if len(p.shape) == 2]
        paired = {self.module(p): p.paired for p in matrices if p.paired}
        for module, adapter in self._adapters.items():
            a, b = (each.numpy() for each in self._whole(module, adapter))
            tensors[f"base_model.model.{module}.lora_A.weight"] = a
            tensors[f"base_model.model.{module}.lora_B.weight"] = _in_halves(b, paired.get(module, 0))
        write_adapter(out, self.config(trainee), tensors)
        return out

    def _whole(self, module: str, adapter: LowRank) -> tuple[torch.Tensor, torch.Tensor]:
        """A and B as peft lays them out: zeros for experts that are left alone."""
        count, kept = self._stacks.get(module, (1, [0]))
        a, b = adapter.a.detach(), adapter.b.detach()
        if adapter.experts == count:
            return a, b
        whole_a, whole_b = torch.zeros(count, self.rank, a.shape[1]), torch.zeros(len(b), self.rank, count)
        whole_a[kept], whole_b[..., kept] = a.unflatten(0, (len(kept), -1)), b.unflatten(1, (-1, len(kept)))
        return whole_a.flatten(0, 1), whole_b.flatten(1)

    def config(self, trainee: Trainee) -> dict[str, Any]:
        """As adapter_config.json has it."""
        modules, parameters = _targets(trainee, list(self._adapters))
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": str(trainee.checkpoint.path),
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": modules,
            "target_parameters": parameters or None,
            "inference_mode": True,
        }


def _in_halves(b: np.ndarray, heads: int) -> np.ndarray:
    """Rows as Hugging Face has them."""
    return b[np.argsort(pairs_of_halves(heads, len(b)))] if heads else b


def _targets(trainee: Trainee, modules: list[str]) -> tuple[list[str], list[str]]:
    """peft's target_modules and target_parameters.

    Of a model with experts peft takes gate_proj, up_proj and down_proj for the routed ones, wherever they are, so that
    those of dense layers and shared experts have to be told as parameters.
    """
    if not getattr(trainee.config, "experts", None):
        return sorted({module.rpartition(".")[2] for module in modules}), []
    attention = sorted({m.rpartition(".")[2] for m in modules if ".self_attn." in m})
    found = set()
    for module in (m for m in modules if ".self_attn." not in m):
        _, own = module.split(".mlp", 1)
        routed = {".experts": "mlp.experts.down_proj", ".experts.base_layer": "mlp.experts.gate_up_proj"}
        found.add(routed.get(own, f"mlp{own}.weight"))
    return attention, sorted(found)
