"""How close the reference's routing choices were: two implementations may differ where a choice is all but tied."""

import numpy as np
import torch


class Margins:
    """Collects, while a transformers DeepSeek model runs, each position's narrowest routing margin over all layers."""

    def __init__(self, model):
        self.narrowest: np.ndarray | None = None
        gates = [m for m in model.modules() if type(m).__name__ in ("DeepseekV2TopkRouter", "DeepseekV3TopkRouter")]
        self.hooks = [gate.register_forward_hook(self._note) for gate in gates]

    def tied(self, positions: int, within: float = 1e-5) -> np.ndarray:
        """bool (positions,)"""
        return np.zeros(positions, bool) if self.narrowest is None else self.narrowest < within

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def _note(self, gate, inputs, outputs) -> None:
        margins = _margins(gate, outputs[0].double()).numpy()
        self.narrowest = margins if self.narrowest is None else np.minimum(self.narrowest, margins)


def _margins(gate, logits: torch.Tensor) -> torch.Tensor:
    """Distance between the last taken and the first left, of groups and of experts in the kept groups."""
    sigmoid = hasattr(gate, "e_score_correction_bias")
    scores = logits.sigmoid() + gate.e_score_correction_bias if sigmoid else logits.softmax(-1)
    grouped = sigmoid or gate.topk_method == "group_limited_greedy"
    margin = torch.full(scores.shape[:1], torch.inf, dtype=scores.dtype)
    if grouped and gate.num_group > 1:
        parts = scores.unflatten(-1, (gate.num_group, -1))
        groups = parts.topk(2 if sigmoid else 1, dim=-1).values.sum(-1)
        ranked = groups.sort(dim=-1, descending=True)
        margin = ranked.values[:, gate.topk_group - 1] - ranked.values[:, gate.topk_group]
        kept = torch.zeros_like(groups).scatter(1, ranked.indices[:, : gate.topk_group], 1).bool()
        scores = parts.masked_fill(~kept[..., None], -torch.inf).flatten(1)
    ranked = scores.sort(dim=-1, descending=True).values
    return torch.minimum(margin, ranked[:, gate.top_k - 1] - ranked[:, gate.top_k])
