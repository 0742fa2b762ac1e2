"""The default model at full rank: trained weights are less even than random ones."""

from pathlib import Path

import numpy as np
import pytest

import divebell
from divebell.convert.calibration import calibrate
from divebell.convert.grouped import Source
from divebell.convert.mla import Conversion
from divebell.convert.write import write
from divebell.engine.sampler import log_sums
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.pull import resolve

pytestmark = pytest.mark.slow
TEXT = (Path(__file__).parents[2] / "LICENSE").read_text()


def logits(path: Path) -> tuple[list[int], np.ndarray]:
    with divebell.load(path, weights="f32", context=512) as llm:
        ids = llm.tokenizer.encode(TEXT)[:256]
        return ids, llm.logits(ids)


def test_at_full_rank_nothing_changes(tmp_path):
    """What the calibration has seen tells only what may be cut, and here nothing is."""
    path = Path(resolve("smollm2-135m"))
    source = Source(open_checkpoint(path))
    write(Conversion(source, calibrate(source, [list(range(100, 132))])), tmp_path / "mla")
    (ids, before), (_, after) = logits(path), logits(tmp_path / "mla")
    assert np.abs(after - before).max() <= 1e-4 * before.std()
    told = [(rows[np.arange(255), ids[1:]] - log_sums(rows[:-1])).mean() for rows in (before, after)]
    assert abs(told[1] - told[0]) <= 1e-4
