"""Frequencies and tables against transformers' own rotary modules."""

import numpy as np
import pytest
import torch
from checkpoints import LLAMA3, yarn
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from divebell.errors import BadFile, DivebellError, Unsupported
from divebell.models.fields import Fields
from divebell.models.rope import RopeTable, rope_of_config, rope_of_gguf


def longrope(factors: list[float], **more) -> dict:
    listed = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 4096}
    return listed | {"short_factor": factors, "long_factor": factors} | more


DEEPSEEK = {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 4096}
RELEASED = {  # head, fields; whose frequencies must be the same to the last bit
    "smollm2": (64, {"rope_theta": 100000}),
    "llama-3.1": (128, {"rope_theta": 500000.0, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 8192}}),
    "llama-2": (128, {"rope_theta": 10000.0}),
    "deepseek-v3": (64, {"rope_theta": 10000, "rope_scaling": DEEPSEEK | {"mscale": 1.0, "mscale_all_dim": 1.0}}),
    "deepseek-v2-lite": (
        64,
        {"rope_theta": 1e4, "rope_scaling": DEEPSEEK | {"mscale": 0.707, "mscale_all_dim": 0.707}},
    ),
}
OTHERS = {
    "qwen2.5": (128, {"rope_theta": 1000000.0}),
    "kimi-k2": (64, {"rope_theta": 50000.0, "rope_scaling": DEEPSEEK | {"beta_fast": 1.0, "factor": 32.0}}),
    "linear": (80, {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.5}}),
    "new-style": (64, {"rope_parameters": {"rope_type": "default", "rope_theta": 150000.0}}),
    "attention-factor": (64, {"rope_parameters": yarn(8.0, 512, attention_factor=1.5, truncate=False)}),
    "longrope": (8, {"rope_parameters": longrope([1.0, 1.5, 2.0, 7.25], factor=4.0)}),
    "longrope-listed": (8, {"rope_parameters": longrope([3.0, 1.0, 1.0, 90.0], rope_theta=1.0, attention_factor=1.0)}),
    "plain-yarn": (48, {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}}),
}


def reference(dim: int, fields: dict) -> LlamaRotaryEmbedding:
    sizes = {"hidden_size": 4 * dim, "num_attention_heads": 4, "head_dim": dim, "max_position_embeddings": 32768}
    return LlamaRotaryEmbedding(
        LlamaConfig(**sizes, **{k: dict(v) if isinstance(v, dict) else v for k, v in fields.items()})
    )


def ours(dim: int, fields: dict):
    return rope_of_config(Fields(fields, "config.json"), dim, 32768)


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_have_transformers_frequencies_to_the_bit(name):
    rope, module = ours(*RELEASED[name]), reference(*RELEASED[name])
    np.testing.assert_array_equal(rope.frequencies, module.inv_freq.numpy())
    assert rope.magnitude == pytest.approx(module.attention_scaling, abs=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_other_frequencies_within_one_unit_in_the_last_place(name):
    rope, module = ours(*OTHERS[name]), reference(*OTHERS[name])
    np.testing.assert_array_max_ulp(rope.frequencies, module.inv_freq.numpy(), maxulp=2)
    assert (rope.frequencies == module.inv_freq.numpy()).mean() > 0.9
    assert rope.magnitude == pytest.approx(module.attention_scaling, abs=1e-12)


@pytest.mark.parametrize("name", RELEASED)
def test_tables_at_17000_positions(name):
    rope, module = ours(*RELEASED[name]), reference(*RELEASED[name])
    table = RopeTable(rope)
    for length in (5, 700, 17000):
        table.reach(length)
    cos, sin = module(torch.zeros(1), torch.arange(17000)[None])
    half = cos.shape[-1] // 2
    expected = torch.cat([cos[0, :, :half], sin[0, :, :half]], dim=-1).numpy()
    np.testing.assert_allclose(table.rows[:17000], expected, atol=1.3e-7 * rope.magnitude, rtol=0)


def test_scores_of_deepseek_are_scaled_by_mscale_squared():
    assert ours(*RELEASED["deepseek-v3"]).score_scale == pytest.approx(1.873854, abs=1e-6)
    assert ours(*RELEASED["deepseek-v2-lite"]).score_scale == pytest.approx(1.589626, abs=1e-6)


@pytest.mark.parametrize("all_dim", [0.0, 0.707, 1.0])
def test_gguf_keys_give_the_same_rope(all_dim):
    scaling = DEEPSEEK | ({"mscale": all_dim, "mscale_all_dim": all_dim} if all_dim else {})
    keys = {
        "a.rope.freq_base": 10000.0,
        "a.rope.scaling.type": "yarn",
        "a.rope.scaling.factor": 40.0,
        "a.rope.scaling.original_context_length": 4096,
    } | ({"a.rope.scaling.yarn_log_multiplier": float(np.float32(0.1 * all_dim))} if all_dim else {})
    gguf, hf = rope_of_gguf(Fields(keys, "x.gguf", prefix="a."), 64, 163840), ours(64, {"rope_scaling": scaling})
    np.testing.assert_array_equal(gguf.frequencies, hf.frequencies)
    assert (gguf.magnitude, gguf.score_scale) == pytest.approx((hf.magnitude, hf.score_scale), rel=1e-6)


@pytest.mark.parametrize("kind", ["dynamic", "sinus"])
def test_unknown_types_are_refused_by_name(kind):
    with pytest.raises(Unsupported, match=rf"config.json: rope_type '{kind}'.*default, linear, llama3, longrope, yarn"):
        ours(64, {"rope_scaling": {"type": kind, "factor": 2.0}})


def test_longrope_of_two_lengths_is_refused_and_a_wrong_list_named():
    with pytest.raises(Unsupported, match="long_factor 'other than short_factor'"):
        ours(4, {"rope_scaling": longrope([1.0, 2.0]) | {"long_factor": [2.0, 2.0]}})
    for wrong in ([1.0], [1.0, 0.0], [1.0, "2"], None):
        with pytest.raises(BadFile, match="short_factor: must be a list of 2 numbers"):
            ours(4, {"rope_scaling": longrope([1.0, 2.0]) | {"short_factor": wrong}})


def test_a_missing_factor_is_named():
    with pytest.raises(BadFile, match=r"config\.json: rope_scaling\.factor: is missing"):
        ours(64, {"rope_scaling": {"type": "yarn"}})


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))
names = st.sampled_from([*DEEPSEEK, *LLAMA3, "attention_factor", "short_factor", "truncate", "mscale", "rope_theta"])
kinds = st.fixed_dictionaries({"rope_type": st.sampled_from(["default", "linear", "llama3", "longrope", "yarn"])})


@given(st.dictionaries(names, values), kinds)
def test_any_values_load_or_are_refused(fields, kind):
    try:
        rope = ours(64, {"rope_parameters": fields | kind})
    except DivebellError:
        return
    assert np.isfinite(rope.frequencies).all()
