"""The functions that models are written in, each in several hands with one signature.

`divebell.ops.reference` (numpy, float32, the shortest correct form) is the specification; `divebell.ops.native` (C++)
is what people run; `divebell.ops.torch` is what tuning differentiates, with tensors for arrays. A model takes any of
these modules as its `ops`. T tokens, d hidden width, H heads; all arrays float32 and C-contiguous unless said
otherwise; every function returns new arrays and leaves its inputs alone, except the cache.

  weight(tensor) -> Weight                    a matrix (rows, cols) in its stored blocks; opaque
  vector(values) -> array (n,)                a norm's or bias's numbers, as this hand's arrays are
  experts(gates, ups, downs, shared=None) -> Experts    lists of E tensors (width, d), (width, d), (d, width); shared:
      gate, up, down that every token passes; opaque
  up_projections(kv_b=tensor) -> UpProjections      (H * (nope + v), rank): per head its keys' rows, then its values'
  up_projections(k_b=tensor, v_b=tensor)            the same as GGUF splits it: (H, rank, nope) and (H, v, rank)
  embed(table, ids) -> (T, d)                 rows of a Weight
  rms_norm(x, weight, eps) -> like x          over the first len(weight) numbers of the last axis, the rest copied
  add(x, y) -> like x                         x + y
  joined(parts) -> (T, sum of widths)         arrays (T, width) side by side
  gated(gate, up) -> like up                  silu(gate) * up
  linears(x, weights, biases=None) -> list of (T, rows)    several matrices over the same x; biases: arrays or None each
  swiglu(x, gate, up, down) -> (T, d)         down(silu(gate x) * (up x))
  rotate(x, positions, table, interleaved) -> like x    RoPE on the last r numbers of x (T, n, dim), the rest copied;
      table (positions, r): row p holds r/2 cosines, then r/2 sines; pairs (2i, 2i+1) if interleaved, else (i, i+r/2)
  route(logits, bias, router) -> ids int32 (T, k), weights (T, k)      bias: array or None; on a tie the lower id wins
  moe(x, ids, weights, experts) -> (T, d)     sum over k of weights * swiglu of the chosen experts, plus the shared one
  attention(q, k, v, pages, batch, scale, window) -> (T, H * v_dim)    q (T, H, D), k (T, G, D), v (T, G, v_dim), head h
      reads k and v of group h * G // H; pages: (keys, values); window: None, or how many positions a token sees
  mla(q, latent, pages, up, batch, scale) -> (T, H * v_dim)            q (T, H, nope + rope), latent (T, rank + rope),
      both rotated, latent's first `rank` numbers normed; pages: of width rank + rope
Both write this step's rows to the cache, then attend; a token at position p sees positions 0..p of its own sequence.
Torch's have no cache: each sequence of a batch is whole, and `pages` are left alone.

What the sampler asks of logits x (..., n), by blocks of BLOCK numbers along the last axis:
  block_maxima(x) -> (..., blocks)            NaN where a block has one
  block_sums(x, temperature=1.0) -> maxima, sums (..., blocks)       sums of e^((x - its block's maximum) / temperature)
  at_least(row, maxima, threshold) -> ids int32 (found,)               rising; maxima: block_maxima(row), row (n,)

C++'s have a `Recording` besides: what is called while it is open can be called again over the same arrays, without
Python. So a model's layers compute with ops alone, of arrays that ops gave or views of them.

A cache component (`pages`) is an array (num_pages, page_size, width), float32 or bfloat16. Attention reads keys by page
table, so a later op that selects keys (sparse attention) takes a selection beside the same table, and a model with
several residual streams keeps them as one more axis of its own state: neither asks for another batch, cache or weight
type.
"""

from dataclasses import dataclass

BLOCK = 256


@dataclass(frozen=True, slots=True)
class Router:
    """How scores become a choice of experts (DeepSeek-V2 section 2.2, DeepSeek-V3 section 2.1.2).

    score: "softmax" or "sigmoid" of the logits, float32.
    groups, kept_groups: experts lie in `groups` equal groups, of which the best `kept_groups` are searched.
    group_score: "max" (V2) or "top2" (V3: the sum of a group's two best), on scores with the bias added.
    The bias only takes part in the choice; weights are the unbiased scores, divided by their sum + 1e-20 when
    `renormalise`, times `scale`.
    """

    top_k: int
    score: str = "softmax"
    groups: int = 1
    kept_groups: int = 1
    group_score: str = "max"
    renormalise: bool = False
    scale: float = 1.0
