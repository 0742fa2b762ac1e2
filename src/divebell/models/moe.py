"""Mixture of experts as DeepSeek builds it: many small routed experts, some shared ones that every token passes.

Sources: DeepSeek-V2 (arXiv 2405.04434) section 2.2, DeepSeek-V3 (arXiv 2412.19437) section 2.1.2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from divebell.errors import Unsupported
from divebell.models import parameter
from divebell.models.binding import Binding
from divebell.models.fields import Fields
from divebell.models.parameter import Parameter
from divebell.ops import Router

_GGUF_SCORES = {1: "softmax", 2: "sigmoid"}
# GGUF files older than expert_group_count: experts, chosen ones -> groups, kept groups (V3 and R1; V2 and V2.5).
_GROUPS_OF_OLD_FILES = {(256, 8): (8, 4), (160, 6): (8, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """shared: how many experts' width the shared part has. corrected: a bias per expert takes part in the choice."""

    count: int
    width: int
    shared: int
    router: Router
    corrected: bool

    @classmethod
    def from_hf(cls, fields: Fields, read_router: Callable[[Fields], Router]) -> Self | None:
        count = fields.integer("n_routed_experts", None)
        if count is None:
            return None
        router = read_router(fields)
        experts = cls(
            count=count,
            width=fields.integer("moe_intermediate_size"),
            shared=fields.integer("n_shared_experts", 0, least=0),
            router=router,
            corrected=router.score == "sigmoid",
        )
        return experts._checked(fields)

    @classmethod
    def from_gguf(cls, fields: Fields, shapes: Mapping[str, tuple[int, ...]]) -> Self | None:
        count = fields.integer("expert_count", 0, least=0)
        if not count:
            return None
        experts = cls(
            count=count,
            width=fields.integer("expert_feed_forward_length"),
            shared=fields.integer("expert_shared_count", 0, least=0),
            router=_router_of_gguf(fields, count),
            corrected=any(name.endswith(".exp_probs_b.bias") for name in shapes),
        )
        return experts._checked(fields)

    def _checked(self, fields: Fields) -> Self:
        router = self.router
        if self.count % router.groups:
            raise fields.contradiction(f"{self.count} experts can't lie in {router.groups} equal groups")
        if router.kept_groups > router.groups:
            raise fields.contradiction(f"{router.kept_groups} groups are to be kept of {router.groups}")
        size = self.count // router.groups
        if router.top_k > router.kept_groups * size:
            raise fields.contradiction(f"{router.top_k} experts are to be chosen of {router.kept_groups * size}")
        # A group of one has no second best; with a single group there is nothing to choose between.
        return replace(self, router=replace(router, group_score="max")) if size == 1 or router.groups == 1 else self


def softmax_router(fields: Fields) -> Router:
    """V2's. The best experts of the groups that hold the best experts; weights are plain softmax values, scaled."""
    fields.choice("scoring_func", "softmax", ("softmax",))
    grouped = fields.choice("topk_method", "greedy", ("greedy", "group_limited_greedy")) == "group_limited_greedy"
    if fields.flag("norm_topk_prob", False):
        raise Unsupported("norm_topk_prob", True, ("false",), fields.path)
    return Router(
        top_k=fields.integer("num_experts_per_tok"),
        groups=fields.integer("n_group") if grouped else 1,
        kept_groups=fields.integer("topk_group") if grouped else 1,
        scale=fields.number("routed_scaling_factor", 1.0),
    )


def sigmoid_router(fields: Fields) -> Router:
    """V3's. Groups are judged by their two best; weights are the sigmoids without the bias, renormalised, scaled."""
    fields.choice("scoring_func", "sigmoid", ("sigmoid",))
    fields.choice("topk_method", "noaux_tc", ("noaux_tc",))
    return Router(
        top_k=fields.integer("num_experts_per_tok"),
        score="sigmoid",
        groups=fields.integer("n_group", 1),
        kept_groups=fields.integer("topk_group", 1),
        group_score="top2",
        renormalise=fields.flag("norm_topk_prob", True),
        scale=fields.number("routed_scaling_factor", 1.0),
    )


def _router_of_gguf(fields: Fields, count: int) -> Router:
    gating = fields.integer("expert_gating_func", 1, least=0) or 1
    if gating not in _GGUF_SCORES:
        known = tuple(f"{number} ({score})" for number, score in _GGUF_SCORES.items())
        raise Unsupported(fields.full("expert_gating_func"), gating, known, fields.path)
    top_k, score = fields.integer("expert_used_count"), _GGUF_SCORES[gating]
    groups, kept = _GROUPS_OF_OLD_FILES.get((count, top_k), (1, 1))
    return Router(
        top_k=top_k,
        score=score,
        groups=fields.integer("expert_group_count", groups, least=0) or 1,
        kept_groups=fields.integer("expert_group_used_count", kept, least=0) or 1,
        group_score="max" if score == "softmax" else "top2",
        renormalise=fields.flag("expert_weights_norm", False),
        scale=fields.number("expert_weights_scale", 0.0) or 1.0,
    )


def parameters(experts: Experts, hidden: int, layer: parameter.Layer) -> list[Parameter]:
    listed = [layer.matrix("router", (experts.count, hidden), "mlp.gate", "ffn_gate_inp", "router")]
    if experts.corrected:
        names = f"{layer.hf}mlp.gate.e_score_correction_bias", f"{layer.gguf}exp_probs_b.bias"
        listed.append(Parameter(f"{layer.own}router_bias", (experts.count,), *names, "bias"))
    stacks = "mlp.experts.{e}.%s", "ffn_%s_exps", "experts"
    listed += layer.feed_forward("experts", hidden, experts.width, *stacks, experts.count)
    if experts.shared:
        width, names = experts.shared * experts.width, ("mlp.shared_experts.%s", "ffn_%s_shexp", "shared_experts")
        listed += layer.feed_forward("shared_experts", hidden, width, *names)
    return listed


class Moe:
    def __init__(self, experts: Experts, binding: Binding, own: str):
        self.ops, self.choice = binding.ops, experts.router
        self.router, self.bias = [binding.matrix(own + "router")], binding.vector(own + "router_bias")
        self.experts = binding.experts(own + "experts", own + "shared_experts")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.ops.moe(x, *self.choose(self.ops.linears(x, self.router)[0]), self.experts)

    def choose(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each token's experts and their weights; training watches them."""
        return self.ops.route(logits, self.bias, self.choice)
