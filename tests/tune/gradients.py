"""What transformers' autograd says of a tiny model, under divebell's names."""

import torch
from checkpoints import build


def transformers_gradients(trainee, name: str, ids: list[int], **changes) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss of a text, and own name -> gradient; of a stack (E, rows, cols)."""
    model = build(name, **changes).train()
    loss = model(torch.tensor(ids)[None], labels=torch.tensor(ids)[None]).loss
    loss.backward()
    found = {key: tensor.grad for key, tensor in model.named_parameters() if tensor.grad is not None}
    return loss.item(), {own: _of(parameter, found) for own, parameter in trainee.parameters.items()}


def _of(parameter, found: dict[str, torch.Tensor]) -> torch.Tensor | None:
    if not parameter.is_stack:
        return found.get(parameter.hf)
    experts, part = parameter.hf.split("{e}.")
    if part.startswith("down"):
        return found[experts + "down_proj"]
    gate, up = found[experts + "gate_up_proj"].chunk(2, dim=1)
    return gate if part.startswith("gate") else up
