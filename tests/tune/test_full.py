"""Which weights are trained."""

import numpy as np
import pytest
from talkers import rows, talker

from divebell.convert.calibration import calibrate
from divebell.convert.experts import Mixtures
from divebell.convert.grouped import Source
from divebell.convert.mla import Conversion
from divebell.convert.write import write
from divebell.errors import BadInput
from divebell.tune.run import Run
from divebell.tune.settings import Settings
from divebell.weights.checkpoint import open_checkpoint

TEXTS = np.random.default_rng(4).integers(0, 300, (4, 64)).tolist()
ROUTER = "model.layers.1.mlp.gate.weight"


def trained(model: object, folder: object, **settings: object) -> np.ndarray:
    """By how much a router was changed."""
    data, given = rows(folder / "rows.jsonl"), Settings(steps=2, batch=4, context=64, pack=64, rate=1e-3, **settings)
    run = Run("full", str(model), data, given)
    assert len(list(run.train(folder / "out"))) == 2
    before, after = (open_checkpoint(each).tensors[ROUTER].f32() for each in (model, run.result))
    return abs(after - before)


@pytest.fixture
def mixture(tmp_path):
    """What `divebell convert --experts` makes."""
    source = Source(open_checkpoint(talker(tmp_path / "dense", intermediate_size=128)))
    write(Conversion(source, calibrate(source, TEXTS)), tmp_path / "mixture", Mixtures(source, TEXTS, 8))
    return tmp_path / "mixture"


def test_a_router_that_tells_an_order_alone_is_trained_only_where_it_is_named(mixture, tmp_path):
    for name, targets in (("left", ()), ("named", ("router",))):
        (tmp_path / name).mkdir()
        changed = trained(mixture, tmp_path / name, **({"targets": targets} if targets else {}))
        assert changed.any() == (name == "named")


def test_any_other_router_is_trained(tmp_path):
    assert trained(talker(tmp_path / "model", "deepseek_v3"), tmp_path).any()


@pytest.mark.parametrize("method", ["full", "new"])
def test_targets_that_would_be_ignored_are_refused(method):
    with pytest.raises(BadInput, match=f"targets is attention, mlp; {method} trains all"):
        Settings(targets=("attention", "mlp")).check(method)
