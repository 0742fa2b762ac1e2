"""Parameters and arithmetic by formula, against the published totals and counts made by hand."""

import json

import pytest
from published import CONFIGS, GLM_52

from divebell.costs.roofline import demand
from divebell.costs.shape import shape_of, shape_of_config
from divebell.errors import BadFile, BadInput, DivebellError, Unsupported

TOTALS = [
    ("deepseek-v2.5", 235.74, 20.85),
    ("deepseek-v3", 671.03, 36.63),
    ("deepseek-v3.2", 671.88, 37.48),
    ("deepseek-v4-flash", 284.33, 13.27),
    ("deepseek-v4-pro", 1573.0, 48.85),
    ("kimi-k2", 1026.4, 31.7),
    ("glm-5", 743.9, 40.8),
    ("moonlight", 15.96, 2.58),
    ("llama-3.1-8b", 8.03, 7.50),
    ("glm-4.7-flash", 29.94, 3.58),
    ("mistral-small-4", 118.97, 6.096),
]


@pytest.mark.parametrize(("name", "total", "active"), TOTALS)
def test_parameters_are_the_published_ones(name, total, active):
    shape = shape_of(CONFIGS[name])
    assert shape.parameters / 1e9 == pytest.approx(total, rel=5e-4)
    assert shape.active / 1e9 == pytest.approx(active, rel=2e-3)


def test_deepseeks_own_name_for_v4_means_the_same():
    named, other = (shape_of(CONFIGS["deepseek-v4-flash"] | {"model_type": t}) for t in ("deepseek_v4", "deepseek_ref"))
    assert (named.matrices, named.cache) == (other.matrices, other.cache)


def test_of_a_model_with_eyes_the_language_model_is_planned_with_its_experts_in_four_bits():
    weights = {"num_bits": 4, "group_size": 32, "type": "int"}
    scheme = {"quant_method": "compressed-tensors", "format": "pack-quantized"}
    scheme["config_groups"] = {"group_0": {"weights": weights}}
    text = CONFIGS["kimi-k2"] | {"quantization_config": scheme}
    shape = shape_of({"model_type": "kimi_k25", "text_config": text, "vision_config": {}})
    assert shape.parameters / 1e9 == pytest.approx(1026.4, rel=5e-4)
    assert shape.weight_bytes / 1e9 == pytest.approx(594.2, rel=1e-3)
    assert {m.format.name for m in shape.matrices} == {"BF16", "Q4_0"}


UNPLANNED = [
    (CONFIGS["deepseek-v4.1-flash"], "deepseek_v41.*its cache alone is known: 890 bytes .* and 2,703,360 for each seq"),
    ({"model_type": "mistral_large4", "num_hidden_layers": 72, "kv_lora_rank": 512}, "mistral_large4.*qwen2$"),
]


@pytest.mark.parametrize(("values", "told"), UNPLANNED)
def test_of_what_can_not_be_planned_the_cache_is_told_where_it_is_known(values, told):
    with pytest.raises(Unsupported, match=told):
        shape_of(values)


def test_layers_that_share_a_choice_have_no_indexer():
    glm_5, glm_52 = shape_of(CONFIGS["glm-5"]), shape_of(GLM_52)
    one = 32 * 128 * 2048 + 128 * 6144 + 32 * 6144
    assert glm_5.parameters - glm_52.parameters == (78 - 21) * one
    (keys, scores), (same, all_scores) = glm_52.seen(100_000), glm_5.seen(100_000)
    assert keys == same == 78 * 2048
    assert all_scores / scores == pytest.approx(78 / 21)


def test_ratios_that_do_not_reach_the_last_layer_are_refused():
    with pytest.raises(BadFile, match="compress_ratios: has 5 entries; each of the 43 layers needs one"):
        shape_of(CONFIGS["deepseek-v4-flash"] | {"compress_ratios": [0, 0, 4, 128, 4]})


FLOPS = [
    ("deepseek-v3", 4096, 142.8),
    ("deepseek-v3", 131_072, 2300),
    ("deepseek-v3.2", 4096, 113.8),
    ("deepseek-v3.2", 1_048_576, 1157.7),
    ("deepseek-v4-flash", 4096, 29.1),
    ("deepseek-v4-flash", 1_048_576, 140.3),
    ("deepseek-v4-pro", 32_768, 113.9),
]


@pytest.mark.parametrize(("name", "context", "gflop"), FLOPS)
def test_arithmetic_of_a_decoded_token(name, context, gflop):
    adds = demand(shape_of(CONFIGS[name]), 1, context - 1).adds
    assert 2 * sum(adds.values()) / 1e9 == pytest.approx(gflop, rel=1e-3)


def test_formats_change_bytes_as_their_bits_do():
    released, four = (shape_of(CONFIGS["deepseek-v3"], format).weight_bytes for format in (None, "q4"))
    assert released == pytest.approx(672.99e9, rel=1e-3)
    assert four / released == pytest.approx(4.3125 / 8, rel=0.01)


def test_experts_are_read_once_however_many_tokens_choose_them():
    shape = shape_of(CONFIGS["deepseek-v4-flash"])
    few, many = (demand(shape, 1, 0, batch).bytes for batch in (1, 10_000))
    cache = shape.cache.fixed + shape.cache.per_token
    embedding = next(m.nbytes for m in shape.matrices if m.kind == "embedding")
    assert many - 10_000 * cache == pytest.approx(shape.weight_bytes - embedding, rel=1e-6)
    assert few / 1e9 == pytest.approx(11.2, rel=0.03)  # what others count for the released formats


def test_what_can_not_be_planned_is_named(tmp_path):
    with pytest.raises(Unsupported, match="deepseek_v4"):
        shape_of({"model_type": "mamba"})
    with pytest.raises(Unsupported, match="q3"):
        shape_of(CONFIGS["deepseek-v3"], "q3")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"dim": 2048, "n_layers": 27}))
    with pytest.raises(BadInput, match=r"model_type is missing.*names are of DeepSeek's inference code"):
        shape_of_config(path)
    path.write_text(json.dumps({"model_type": "deepseek_v4"}))
    with pytest.raises(BadFile, match="num_hidden_layers: is missing"):
        shape_of_config(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": 3}', '{"model_type": "llama", "hidden_size": -1}'])
def test_damaged_configs_are_refused(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(DivebellError):
        shape_of_config(path)


@pytest.mark.parametrize("wrong", [None, "x", [], {}, 2.5, -1, 10**9, 10**30, [{}]], ids=repr)
@pytest.mark.parametrize("name", ["deepseek-v3.2", "deepseek-v4-flash", "llama-3.1-8b"])
def test_a_field_that_can_not_be_is_refused_or_means_nothing(name, wrong):
    few = CONFIGS[name] | {"num_hidden_layers": 2}
    for field in CONFIGS[name]:
        try:
            shape = shape_of(few | {field: wrong}, "q4")
            assert demand(shape, 1, 4096, 8).seconds(1e9, {"int8": 1e9, "bf16": 1e9, "f32": 1e9}) > 0
        except DivebellError:
            pass
