"""The six forms that are timed have the released model's counts, run in the engine, and are held against the first."""

from pathlib import Path

import pytest

from divebell.atlas import grouped_moe, measured
from divebell.atlas.variants import BATCHES
from divebell.costs.hardware import hardware
from divebell.costs.plan import Speed
from divebell.costs.rehearsal import Point, rehearse
from divebell.costs.settings import Settings
from divebell.models import deepseek_v2
from divebell.models.fields import Fields
from divebell.weights.formats import F32
from divebell.weights.strict_json import read_object

FORMS = {(form.experts, form.attention): form.shape for form in measured.forms()}
SMALL = {
    "model_type": "deepseek_v2",
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
}


def test_the_first_form_is_deepseek_v2_lite_with_experts_in_its_first_layer_too():
    released = 15.706e9 - 3 * 2048 * 10944 + 66 * 3 * 2048 * 1408 + 64 * 2048
    assert FORMS[True, "latent (MLA)"].parameters == pytest.approx(released, rel=1e-4)
    assert FORMS[True, "latent (MLA)"].active == pytest.approx(2.45e9, rel=1e-2)
    assert FORMS[True, "latent (MLA)"].cache.per_token == 27 * 2 * 576


def test_forms_differ_in_what_they_are_named_after():
    routers = 27 * 64 * 2048
    for attention in ("latent (MLA)", "grouped-query", "full"):
        sparse, dense = FORMS[True, attention], FORMS[False, attention]
        assert sparse.parameters - dense.parameters == routers
        assert dense.active > 6 * sparse.active
        assert dense.cache == sparse.cache
    assert FORMS[True, "grouped-query"].cache.per_token == 27 * 2 * 2 * 8 * 128
    assert FORMS[True, "full"].cache.per_token == 27 * 2 * 2 * 16 * 128


def test_experts_behind_grouped_queries_run():
    experts = deepseek_v2.Config.experts_of_config(Fields(SMALL, "config.json"))
    config = grouped_moe.Config.from_hf(SMALL, experts=experts)
    names = [one.name for one in grouped_moe.parameters(config)]
    assert len(names) == len(set(names))
    assert not [name for name in names if ".mlp." in name]
    assert {"layers.1.experts.gate", "layers.1.router", "layers.0.k"} <= set(names)
    seconds = rehearse(grouped_moe, config, lambda _: F32, [Point("decode", 2, 8, 3), Point("prompt", 8, 0)])
    assert min(seconds) > 0


@pytest.fixture
def timed(monkeypatch):
    """As if a step took its cache's bytes in microseconds, and a tenth more where there are no experts."""

    def on_this(shape, points, machine, own):
        dense = 1.1 if shape.active > 10e9 else 1.0
        took = [shape.cache.per_token * depth * batch * dense * 1e-6 for _, _, depth, batch in points]
        return [
            Speed(*point, seconds, seconds / 2, "", None, None) for point, seconds in zip(points, took, strict=True)
        ]

    monkeypatch.setattr(measured, "on_this", on_this)
    return measured.trials(hardware("epyc-9654"), Settings(), lambda name: None)


def test_factors_are_of_the_same_context_and_batch(timed):
    found = {(one.form.name, one.context, one.batch): one for one in measured.factors(timed)}
    assert len(found) == 5 * len(measured.CONTEXTS) * len(measured.BATCHES)
    for context in measured.CONTEXTS:
        assert found["experts, full", context, 8].measured == pytest.approx(8192 / 1152)
        assert found["dense, full", context, 1].by_formula == pytest.approx(1.1 * 8192 / 1152)


def test_what_the_formula_says_of_a_processor():
    reaches = measured.reaches(hardware("epyc-9654"))
    assert len(reaches) == 5 * len(BATCHES)
    # Neither 27 times the weights nor 27 times the cache are read in any form of this shape.
    assert not any(one.context for one in reaches)
    assert max(one.greatest for one in reaches) < FORMS[False, "full"].active / FORMS[True, "latent (MLA)"].active + 1


def test_the_shape_is_the_one_that_benchmarks_run():
    name = "deepseek-v2-lite.json"
    ours = read_object(Path(measured.__file__).parent / name, "config")
    released = read_object(Path(__file__).parents[2] / "benchmarks" / "configs" / name, "config")
    assert ours.items() <= released.items()
