"""Where a run is, in one file: what is trained, the optimizer's moments, the random numbers, the step.

A file of safetensors, which replaces the one before when it is complete: a process that dies leaves the last whole one.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, safe_open, save_file

from divebell.errors import BadFile
from divebell.tune.optimizer import Optimizer
from divebell.weights.mapped import draft

FILE = "state.safetensors"


def save_state(folder: Path, step: int, trained: Mapping[str, torch.nn.Parameter], optimizer: Optimizer) -> None:
    """step: how many are done."""
    tensors = {f"trained/{name}": tensor.detach() for name, tensor in trained.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizer.state().items()}
    tensors["random"] = torch.get_rng_state()
    with draft(folder / FILE) as part:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, {"step": str(step)})


def restore_state(folder: Path, trained: Mapping[str, torch.nn.Parameter], optimizer: Optimizer) -> int:
    """How many steps are done, with all as it was then; 0 where nothing was saved. BadFile for a damaged state."""
    if not (folder / FILE).is_file():
        return 0
    try:
        tensors = load_file(folder / FILE)
    except SafetensorError as error:
        told = f"is damaged ({error}); delete it, and the run begins anew"
        raise BadFile(folder / FILE, "state", told) from None
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors[f"trained/{name}"])
    moments = {k.removeprefix("optimizer/"): v for k, v in tensors.items() if k.startswith("optimizer/")}
    optimizer.restore(moments)
    torch.set_rng_state(tensors["random"])
    return steps_done(folder)


def steps_done(folder: Path) -> int:
    if not (folder / FILE).is_file():
        return 0
    with safe_open(folder / FILE, "pt") as file:
        return int(file.metadata()["step"])
