"""A model run by hand: pages in a shuffled order; prompts whole, in chunks, token by token, several at once."""

from itertools import pairwise

import numpy as np

from divebell.ops.batch import Batch

PAGE = 64


def empty_cache(model, tokens: int, sequences: int = 1) -> tuple[list, list[list[int]]]:
    """Cache arrays full of NaN, so that reading what was never written shows; page lists for each sequence."""
    each = -(-tokens // PAGE)
    order = np.random.default_rng(7).permutation(each * sequences).tolist()
    cache = [
        {name: _unreadable((each * sequences, PAGE, width), model.cache_dtype) for name, width in layer.items()}
        for layer in model.cache_layout
    ]
    return cache, [order[i * each : (i + 1) * each] for i in range(sequences)]


def _unreadable(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.full(shape, 255 if dtype == np.uint8 else np.nan, dtype)  # scales of bytes are NaN then


def logits(model, ids, chunk: int | None = None) -> np.ndarray:
    """float32 (T, vocabulary) of one prompt, computed `chunk` tokens at a time."""
    cache, (pages,) = empty_cache(model, len(ids))
    bounds = [*range(0, len(ids), chunk or len(ids)), len(ids)]
    rows = [model.forward(Batch.of([ids[a:b]], [a], [pages]), cache) for a, b in pairwise(bounds)]
    return np.concatenate([model.logits(row) for row in rows])


def batch_logits(model, prompts: list, first: list[int]) -> list[np.ndarray]:
    """Logits of several prompts in two shared steps: `first` tokens of each (may be 0), then what is left of each."""
    cache, pages = empty_cache(model, max(map(len, prompts)), len(prompts))
    rows: list[list[np.ndarray]] = [[] for _ in prompts]
    for begin, end in ((np.zeros(len(prompts), int), first), (first, [len(p) for p in prompts])):
        some = [i for i in range(len(prompts)) if end[i] > begin[i]]
        ids = [prompts[i][begin[i] : end[i]] for i in some]
        hidden = model.forward(Batch.of(ids, [int(begin[i]) for i in some], [pages[i] for i in some]), cache)
        for i, part in zip(some, np.split(hidden, np.cumsum([len(x) for x in ids])[:-1]), strict=True):
            rows[i].append(model.logits(part))
    return [np.concatenate(row) for row in rows]


def greedy(model, ids: list[int], count: int) -> list[int]:
    """`count` tokens, each the likeliest after all before it."""
    cache, (pages,) = empty_cache(model, len(ids) + count)
    past, fresh, out = 0, list(ids), []
    while len(out) < count:
        hidden = model.forward(Batch.of([fresh], [past], [pages]), cache)
        past += len(fresh)
        fresh = [int(model.logits(np.ascontiguousarray(hidden[-1:])).argmax())]
        out += fresh
    return out
