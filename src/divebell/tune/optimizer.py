"""AdamW (arXiv 1711.05101) for everything, or Muon (Keller Jordan, 2024; arXiv 2502.16982) for matrices beside it."""

from collections.abc import Mapping
from math import ceil, cos, pi

import torch

ADAM = {"betas": (0.9, 0.95), "eps": 1e-8}


class Optimizer:
    """One or two of torch's, seen as one. parameters: what is trained, by name; what needs no gradient is left alone.

    Muon turns whole matrices, so that stacks, embedding, head, norms and biases are AdamW's.
    """

    def __init__(self, kind: str, parameters: Mapping[str, torch.nn.Parameter], rate: float):
        self.parameters = parameters = {n: p for n, p in parameters.items() if p.requires_grad}
        turned = [n for n in parameters if kind == "muon" and _is_matrix(n, parameters[n])]
        rest = [n for n in parameters if n not in set(turned)]
        self._parts = []
        if rest:
            own = [parameters[n] for n in rest]
            self._parts.append((rest, torch.optim.AdamW(own, lr=rate, weight_decay=0.0, **ADAM)))
        if turned:
            own = [parameters[n] for n in turned]
            muon = torch.optim.Muon(own, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
            self._parts.append((turned, muon))

    def step(self, rate: float, clip: float = 1.0) -> float:
        """Follows the gradients, cut to a norm of `clip`, and forgets them. Returns their norm before.

        Where that is not finite, nothing is done.
        """
        norm = torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), clip)
        if not norm.isfinite():
            return float(norm)
        for _, part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad()
        return float(norm)

    def state(self) -> dict[str, torch.Tensor]:
        """Moments and counts, "PARAMETER/FIELD" -> tensor."""
        return {
            f"{name}/{field}": torch.as_tensor(value)
            for names, part in self._parts
            for name in names
            for field, value in part.state[self.parameters[name]].items()
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        for names, part in self._parts:
            for name in names:
                own = {k.rpartition("/")[2]: v for k, v in state.items() if k.rpartition("/")[0] == name}
                part.state[self.parameters[name]] = own


def _is_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
    """Of two dimensions and one map; experts' adapters have two dimensions too, with a map of each expert in them."""
    return parameter.dim() == 2 and not name.startswith(("embedding", "head")) and ".experts." not in name


def rate_at(step: int, steps: int, peak: float, warm_up: float = 0.05) -> float:
    """Linear from nothing over the first `warm_up` of the steps, then half a cosine to a tenth of the peak."""
    warm = max(1, ceil(steps * warm_up))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.1 + 0.9 * (1 + cos(pi * (step - warm) / max(1, steps - warm))) / 2)
