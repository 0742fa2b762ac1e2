"""What a node of eight GPUs serves of a DeepSeek-V3, from first principles; held against DeepSeek's published day.

Prompts: FLOPs of a token over what the same machines sustained in training. Decoding: each part of a step at the rate
that DeepSeek publishes for it, one after the other: what overlapping them wins is taken for what uneven experts and
uneven load lose. Sources: DeepSeek-V3 (arXiv 2412.19437) table 1; FlashMLA's README of February 2025; DeepEP's, low
latency, EP128; open-infra-index, day 6.
"""

from dataclasses import dataclass

from divebell.costs.shape import Shape

GPUS = 8
READ, ATTENTION, NETWORK = 3000e9, 580e12, 39e9  # bytes, FLOPs and bytes a second and GPU
TRAINING_TOKENS, TRAINING_GPU_HOURS, TRAINING_CONTEXT = 14.8e12, 2.664e6, 4096
DISPATCH, COMBINE = 1, 2  # bytes of a number: FP8 to the experts, bfloat16 back


@dataclass(frozen=True, slots=True)
class Load:
    """hits: share of prompt tokens that are cached. answered: tokens of answers for one of prompts. cached: mean tokens
    before one that is decoded. user_tokens_per_s: what one user is given. experts: of each layer on a GPU, the shared
    one included."""

    hits: float
    answered: float
    cached: float
    user_tokens_per_s: float
    experts: int


def prompt_flops(shape: Shape, keys: float) -> float:
    """Of one token with `keys` keys before it, attention expanded."""
    return 2 * shape.active + 2 * shape.layers * shape.expanded * keys


def sustained_flops(shape: Shape) -> float:
    """A second and GPU in training: three times the forward pass, half a context before a token on the average."""
    per_token = 3 * prompt_flops(shape, TRAINING_CONTEXT / 2)
    return per_token * TRAINING_TOKENS / (TRAINING_GPU_HOURS * 3600)


def prompt_tokens_per_s(shape: Shape, load: Load) -> float:
    """Of a node, cached ones counted."""
    prompt = load.cached / (1 + load.answered / 2)  # mean length: half an answer is there on the average
    keys = prompt * (1 + load.hits) / 2  # what is computed lies behind what is cached
    computed = GPUS * sustained_flops(shape) / prompt_flops(shape, keys)
    return computed / (1 - load.hits)


def decode_tokens_per_s(shape: Shape, load: Load) -> float:
    """Of a node whose batches are as large as the users' speed allows."""
    step = 1 / load.user_tokens_per_s
    each = attention_seconds(shape, load.cached) + network_seconds(shape)
    return GPUS * (step - weight_seconds(shape, load.experts)) / each / step


def weight_seconds(shape: Shape, experts: int) -> float:
    """Reading a GPU's weights once: all but the routed experts, which lie on different ones."""
    own = sum(m.nbytes for m in shape.matrices if m.kind not in ("embedding", "experts"))
    routed = sum(m.nbytes * (experts - 1) for m in shape.matrices if m.experts)
    return (own + routed) / READ


def attention_seconds(shape: Shape, cached: float) -> float:
    """Of one token, absorbed: arithmetic or reading its cache, whichever takes longer."""
    flops = 2 * shape.layers * shape.absorbed * cached
    return max(flops / ATTENTION, shape.cache.per_token * cached / READ)


def network_seconds(shape: Shape) -> float:
    """Of one token to its experts and back."""
    stacks = [matrix for matrix in shape.matrices if matrix.experts]
    layers, chosen = len(stacks) / 3, stacks[0].chosen
    return layers * chosen * shape.hidden * (DISPATCH + COMBINE) / NETWORK
