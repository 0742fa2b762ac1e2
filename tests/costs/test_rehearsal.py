"""What is rehearsed of a model, and that each kind of layer counts as often as the model has it."""

import pytest
from published import CONFIGS

from divebell import models
from divebell.costs import rehearsal
from divebell.costs.rehearsal import Point
from divebell.costs.rehearsed import typical
from divebell.costs.shape import shape_of
from divebell.errors import OverBudget

SMALL = {
    "model_type": "deepseek_v2",
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_attention_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": None,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}
DENSE = {
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize("values", [SMALL, DENSE], ids=["latents and experts", "dense"])
@pytest.mark.parametrize("format", [None, "q8_0", "q4"])
def test_small_models_are_rehearsed(values, format):
    module, config, choose = shape_of(values, format).source
    choose = typical(module.parameters(config), choose)
    wanted = [Point("prompt", 8, 0), Point("decode", 2, 8), Point("decode", 2, 0, 3)]
    seconds = rehearsal.rehearse(module, config, choose, wanted)
    assert len(seconds) == 3
    assert min(seconds) > 0


def test_a_cache_that_does_not_fit_is_refused_before_it_is_made():
    with pytest.raises(OverBudget, match=r"the cache would take .* TiB and .* are free; time a smaller depth or batch"):
        rehearsal.rehearse(*shape_of(DENSE).source, [Point("decode", 1, 1 << 20, 1 << 20)])


def test_fp8_is_rehearsed_with_its_scales():
    values = {**SMALL, "hidden_size": 128, "kv_lora_rank": 128, "quantization_config": {"quant_method": "fp8"}}
    source = shape_of(values).source
    assert rehearsal.rehearse(*source, [Point("decode", 1, 0)])[0] > 0


def test_each_kind_of_layer_counts_as_often_as_there_are(monkeypatch):
    took = {True: 2.0, False: 1.0}
    monkeypatch.setattr(rehearsal, "_head", lambda *_: 0.5)
    monkeypatch.setattr(rehearsal, "_perform", lambda _, act, *__: [act.made * took[act.config.experts is not None]])
    source = shape_of(CONFIGS["deepseek-v3"]).source
    assert rehearsal.rehearse(*source, [Point("decode", 1, 0)]) == [0.5 + 3 * 1.0 + 58 * 2.0]


def test_no_more_memory_than_allowed_is_taken():
    module, config, choose = shape_of(CONFIGS["deepseek-v3"], "q4").source
    for part, count in rehearsal._parts(config):
        act = rehearsal._act(module, part, count, choose)
        assert rehearsal._bytes(module, act.config, choose) <= rehearsal.MOST
        experts = act.config.experts
        assert experts is None or experts.router.top_k == 8


def test_typical_formats_are_those_of_most_layers():
    shape = shape_of(CONFIGS["llama-3.1-8b"], "q4_k")
    module, config, choose = shape.source
    format_of = typical(module.parameters(config), choose)
    down = [p for p in module.parameters(config) if p.name.endswith("mlp.down")]
    assert {choose(p).name for p in down} == {"Q4_K", "Q6_K"}
    assert {format_of(p).name for p in down} == {"Q4_K"} or len({format_of(p).name for p in down}) == 1
    assert models.architecture("llama") is module
