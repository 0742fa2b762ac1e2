"""Configurations that are wrong are refused with the field's name, what it is, and what it may be."""

import random

import numpy as np
import pytest
from checkpoints import LLAMA3, yarn
from hostile import replace
from hostile_json import damaged_json
from hypothesis import given
from hypothesis import strategies as st
from test_description import V2_LITE, V3

from divebell import models
from divebell.errors import BadFile, DivebellError, Mismatch, Unsupported
from divebell.models.fields import Fields

LLAMA = {
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
QWEN2 = LLAMA | {"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": True, "max_window_layers": 1}


def read(config: dict):
    return models.architecture(config["model_type"]).Config.from_hf(config, "there/config.json")


@pytest.mark.parametrize(
    ("base", "change", "error", "words"),
    [
        (LLAMA, {"hidden_size": None}, BadFile, r"hidden_size: is missing"),
        (LLAMA, {"hidden_size": "64"}, BadFile, r"hidden_size: is '64'; it must be an integer"),
        (LLAMA, {"hidden_size": 64.0}, BadFile, r"hidden_size: is 64.0; it must be an integer"),
        (LLAMA, {"num_hidden_layers": True}, BadFile, r"num_hidden_layers: is True; it must be an integer"),
        (LLAMA, {"vocab_size": 0}, BadFile, r"vocab_size: is 0; it must be at least 1"),
        (LLAMA, {"vocab_size": 2**63}, BadFile, r"vocab_size: .*below 2\^31"),
        (LLAMA, {"rms_norm_eps": float("nan")}, BadFile, r"rms_norm_eps: is nan; it must be a number"),
        (LLAMA, {"tie_word_embeddings": 1}, BadFile, r"tie_word_embeddings: is 1; it must be true or false"),
        (LLAMA, {"rope_scaling": [1]}, BadFile, r"rope_scaling: is \[1\]; it must be an object"),
        (LLAMA, {"hidden_act": "gelu"}, Unsupported, r"hidden_act 'gelu' is not supported; known: silu, swish"),
        (LLAMA, {"partial_rotary_factor": 0.5}, Unsupported, r"partial_rotary_factor 0.5"),
        (LLAMA, {"hidden_size": 66}, Mismatch, r"hidden size 66 is not a multiple of 4 attention heads"),
        (LLAMA, {"num_key_value_heads": 3}, Mismatch, r"4 attention heads can't share 3 key-value heads"),
        (LLAMA, {"head_dim": 15}, Mismatch, r"a head has 15 numbers"),
        (QWEN2, {"use_mrope": True}, Unsupported, r"use_mrope True"),
        (QWEN2, {"layer_types": ["full_attention"]}, BadFile, r"layer_types: has 1 entries for 2 layers"),
        (QWEN2, {"layer_types": ["full_attention", "mamba"]}, Unsupported, r"layer_types 'mamba'"),
        (V3, {"num_experts_per_tok": 129}, Mismatch, r"129 experts are to be chosen of 128"),
        (V3, {"topk_group": 9}, Mismatch, r"9 groups are to be kept of 8"),
        (V3, {"n_group": 7}, Mismatch, r"256 experts can't lie in 7 equal groups"),
        (V3, {"num_key_value_heads": 8}, Mismatch, r"num_key_value_heads is 8 for 128 heads"),
        (V3, {"scoring_func": "softmax"}, Unsupported, r"scoring_func 'softmax' is not supported; known: sigmoid"),
        (V3, {"topk_method": "hash"}, Unsupported, r"topk_method 'hash'"),
        (V3, {"qk_rope_head_dim": 63}, BadFile, r"qk_rope_head_dim: is 63; RoPE turns pairs"),
        (V2_LITE, {"norm_topk_prob": True}, Unsupported, r"norm_topk_prob True"),
        (V2_LITE, {"topk_method": "noaux_tc"}, Unsupported, r"topk_method 'noaux_tc'.*greedy, group_limited_greedy"),
    ],
)
def test_refusals(base, change, error, words):
    base = base | ({"norm_topk_prob": False} if base is V2_LITE else {})
    with pytest.raises(error, match=rf"there/config\.json: .*{words}"):
        read(base | change)


@pytest.mark.parametrize("base", [LLAMA, QWEN2, V3, V2_LITE, LLAMA | {"model_type": "mistral"}])
def test_the_bases_are_accepted(base):
    assert read(base).layers == base["num_hidden_layers"]


def test_windows_of_qwen2():
    assert read(QWEN2).windows == (None, 32)
    assert read(QWEN2 | {"use_sliding_window": False}).windows == (None, None)
    assert read(QWEN2 | {"layer_types": ["sliding_attention", "full_attention"]}).windows == (32, None)


def test_dense_and_sparse_layers_alternate_as_told():
    config = read(V3 | {"first_k_dense_replace": 1, "moe_layer_freq": 2, "num_hidden_layers": 6})
    assert [config.has_experts(i) for i in range(6)] == [False, False, True, False, True, False]
    assert not any(map(read(V3 | {"n_routed_experts": None}).has_experts, range(61)))


def test_nested_names_are_told_whole():
    fields = Fields({"a": {"b": "x"}}, "config.json")
    with pytest.raises(BadFile, match=r"config\.json: a\.b: is 'x'"):
        fields.section("a").number("b")


def test_numpy_scalars_of_gguf_metadata_are_numbers():
    fields = Fields({"x.n": np.uint32(7), "x.f": np.float32(0.5), "x.b": np.bool_(True)}, "m.gguf", prefix="x.")
    assert (fields.integer("n"), fields.number("f"), fields.flag("b", False)) == (7, 0.5, True)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["type", "factor"]), inner)),
    max_leaves=4,
)


@given(st.sampled_from([LLAMA, QWEN2, V3, V2_LITE]), st.data())
def test_any_values_are_read_or_refused(base, data):
    known = st.sampled_from([*base, "rope_scaling", "rope_parameters", "head_dim", "sliding_window", "layer_types"])
    changes = data.draw(st.dictionaries(known.filter(lambda name: name != "model_type"), anything, max_size=3))
    try:
        config = read(base | changes)
    except DivebellError:
        return
    assert config.vocab_size > 0


@pytest.mark.parametrize("cases", [range(500), pytest.param(range(500, 10_000), marks=pytest.mark.slow)], ids=len)
def test_mutated_configurations_are_described_or_refused(tmp_path, cases):
    path = tmp_path / "config.json"
    for case in cases:
        rng = random.Random(case)
        base = rng.choice([LLAMA, QWEN2, V3, V2_LITE | {"norm_topk_prob": False}])
        replace(path, damaged_json(rng, base | {"rope_scaling": rng.choice([None, yarn(), LLAMA3])}))
        try:
            described = models.describe_config(path)
        except DivebellError as error:
            message = str(error)
        else:
            assert described.parameters > 0
            continue
        assert message.startswith(f"{path}: "), case
        assert message.isprintable(), case
        assert len(message) < 1000, case


@pytest.mark.parametrize("config", [LLAMA, QWEN2, LLAMA | {"model_type": "mistral"}, V3])
def test_what_is_listed_before_the_tensors_is_bounded(config):
    """A config of a few bytes must not take the machine's memory."""
    with pytest.raises(BadFile, match="num_hidden_layers: is 10001; no model has more than 10,000 layers"):
        read(config | {"num_hidden_layers": 10_001})
    wide = {"qk_rope_head_dim": 10**9} if config is V3 else {"head_dim": 10**9}
    with pytest.raises(Mismatch, match="RoPE would turn 1,000,000,000 numbers of a head"):
        read(config | wide)
