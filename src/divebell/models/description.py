"""What a model is, told from its headers alone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from divebell.models import cache_format
from divebell.models.parameter import Parameter


@dataclass(frozen=True, slots=True)
class Description:
    """parameters, active_parameters: those that exist, and those that one token's answer is computed with.

    The embedding counts as active only where it is the head too: a token reads one row of it. bytes: stored, by
    parameter kind ("unused" for what is left in the file, such as draft layers); active_bytes: of those, read for each
    token; both empty or 0 where there is no checkpoint. cache_layout: for each layer, numbers per token by component.
    experts, active_experts: routed ones of a layer, and how many of them a token passes; 0 for dense models.
    """

    architecture: str
    parameters: int
    active_parameters: int
    layers: int
    hidden: int
    vocabulary: int
    max_positions: int
    experts: int
    active_experts: int
    cache_layout: list[dict[str, int]]
    bytes: dict[str, int]
    active_bytes: int

    def cache_bytes(self, format: str) -> int:
        """Of a token, over all layers, in a cache of such a format. BadInput where the model can't have it."""
        cache_format.check(format, self.cache_layout)
        return cache_format.bytes_per_token(format, self.cache_layout)


def describe(architecture: str, module: Any, config: Any, checkpoint: Any = None) -> Description:
    parameters = module.parameters(config)
    experts = getattr(config, "experts", None)
    share = experts.router.top_k / experts.count if experts else 1.0
    stored = _bytes(parameters, checkpoint) if checkpoint else {}
    return Description(
        architecture=architecture,
        parameters=sum(parameter.count for parameter in parameters),
        active_parameters=_active(((p.kind, p.count) for p in parameters), share, config.tied),
        layers=config.layers,
        hidden=config.hidden,
        vocabulary=config.vocab_size,
        max_positions=config.max_positions,
        experts=experts.count if experts else 0,
        active_experts=experts.router.top_k if experts else 0,
        cache_layout=module.cache_layout(config),
        bytes=stored,
        active_bytes=_active(stored.items(), share, config.tied),
    )


def _active(amounts: Iterable[tuple[str, int]], share: float, tied: bool) -> int:
    """Of (kind, amount), what one token needs; `share` of the routed experts are."""
    idle = {"unused"} if tied else {"unused", "embedding"}
    return round(sum(n * (share if kind == "experts" else 1) for kind, n in amounts if kind not in idle))


def _bytes(parameters: list[Parameter], checkpoint: Any) -> dict[str, int]:
    kinds = {name: p.kind for p in parameters for name in p.stored_names(checkpoint.kind)}
    amounts: Counter[str] = Counter()
    for name, tensor in checkpoint.tensors.items():
        scales = 0 if tensor.scales is None else tensor.scales.nbytes
        amounts[kinds.get(name, "unused")] += tensor.nbytes + scales
    return dict(amounts.most_common())
