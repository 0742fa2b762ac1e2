"""A model reads texts, from its weights as stored."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from divebell import models
from divebell.convert.grouped import Source
from divebell.engine.cache import Cache, pages_for
from divebell.engine.pace import STEP_TOKENS
from divebell.ops.batch import Batch


def read(source: Source, ops: Any, texts: Sequence[Sequence[int]]) -> None:
    """Texts of at most STEP_TOKENS tokens. ops: which may note what they are given."""
    model = models.load(source.checkpoint, ops)
    pages = list(range(pages_for(STEP_TOKENS)))
    cache = Cache(model.cache_layout, model.cache_dtype, len(pages))
    for ids in texts:
        model.forward(Batch.of([np.asarray(ids, np.int32)], [0], [pages]), cache.layers)
