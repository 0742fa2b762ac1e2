"""Adapter files: what peft writes is read back; what is damaged, or of a kind we do not know, is refused by name."""

import json
import random

import ml_dtypes
import numpy as np
import pytest
from hostile import damaged_bytes, within_200_mb
from hostile_json import damaged_json
from safetensors.numpy import save_file

from divebell.errors import BadFile, BadInput, DivebellError, Mismatch, OverBudget, Unsupported
from divebell.weights import adapter as module
from divebell.weights.adapter import CONFIG, PREFIX, WEIGHTS, read_adapter, write_adapter

MODULE = "model.layers.0.self_attn.q_proj"
TOLD = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]}


def pair(dtype=np.float32, rank=2) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(1).normal(size=(rank, 9)).astype(dtype)
    return {f"{PREFIX}{MODULE}.lora_A.weight": numbers[:, :5], f"{PREFIX}{MODULE}.lora_B.weight": numbers.T[:4]}


def save(folder, config=TOLD, tensors=None):
    (folder / CONFIG).write_text(json.dumps(config))
    tensors = pair() if tensors is None else tensors
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_numbers_are_the_files(dtype, tmp_path):
    file, expected = read_adapter(save(tmp_path, tensors=pair(dtype))), pair(dtype)
    found = file.pairs[MODULE]
    for part, numbers in zip("AB", (found.a, found.b), strict=True):
        np.testing.assert_array_equal(
            numbers.astype(np.float32), expected[f"{PREFIX}{MODULE}.lora_{part}.weight"].astype(np.float32)
        )
    save(tmp_path, tensors={name: values * 0 for name, values in pair(dtype).items()})
    assert found.a.any()  # a file that is written again changes nothing of what was read


def test_what_we_write_is_read(tmp_path):
    write_adapter(tmp_path, TOLD, pair())
    assert read_adapter(tmp_path).scale(MODULE) == 3.0


@pytest.mark.parametrize(
    ("fields", "rank", "scale"),
    [
        ({}, 2, 3.0),
        ({"use_rslora": True}, 2, 6 / 2**0.5),
        ({"rank_pattern": {"q_proj": 4}}, 4, 1.5),
        ({"rank_pattern": {"proj": 4}}, 2, 3.0),
        (
            {"rank_pattern": {"k_proj": 4, r".*\.q_proj": 8}, "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 4}},
            8,
            0.5,
        ),
        ({"alpha_pattern": {"^self_attn.q_proj": 4, "model.layers.1.self_attn.q_proj": 5}}, 2, 3.0),
        ({"target_parameters": ["q_proj.weight"], "alpha_pattern": {"q_proj": 4}}, 2, 3.0),
        ({"target_parameters": ["q_proj.weight"], "alpha_pattern": {"q_proj.weight": 4}}, 2, 2.0),
        ({"target_parameters": "q_proj.weight", "alpha_pattern": {"q_proj": 4}}, 2, 2.0),
    ],
)
def test_single_modules_may_have_another_rank_and_alpha(fields, rank, scale, tmp_path):
    file = read_adapter(save(tmp_path, TOLD | fields))
    assert (file.rank(MODULE), file.scale(MODULE)) == (rank, scale)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3'"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias 'all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa'"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"lora_bias": True}, "lora_bias"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"what_comes_next_year": 1}, "what_comes_next_year"),
        ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj|k_proj": 4}}, "alpha_pattern"),
    ],
)
def test_a_kind_that_computes_something_else_is_refused_by_name(fields, named, tmp_path):
    with pytest.raises(Unsupported, match=f"{CONFIG}: '?{named}.* is not supported"):
        read_adapter(save(tmp_path, TOLD | fields))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"r": 0}, "r: is 0"),
        ({"r": 1 << 40}, "r: is"),
        ({"r": True}, "r: is True"),
        ({"lora_alpha": "6"}, "lora_alpha"),
        ({"lora_alpha": 10**399}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern"),
        ({"use_rslora": "yes"}, "use_rslora"),
        ({"base_model_name_or_path": 3}, "base_model_name_or_path"),
    ],
)
def test_a_bad_field_is_named(fields, named, tmp_path):
    with pytest.raises(BadFile, match=f"{CONFIG}: {named}"):
        read_adapter(save(tmp_path, TOLD | fields)).scale(MODULE)


@pytest.mark.parametrize(
    ("tensors", "error", "named"),
    [
        ({}, BadFile, "there are none"),
        ({f"{PREFIX}{MODULE}.lora_A.weight": np.ones((2, 5), np.float32)}, BadFile, "lora_B.weight'?: is missing"),
        (
            pair() | {f"{PREFIX}{MODULE}.lora_B.weight": np.ones((4, 3), np.float32)},
            BadFile,
            "A's rows must be B's col",
        ),
        (pair() | {f"{PREFIX}{MODULE}.lora_B.weight": np.ones(4, np.float32)}, BadFile, "must be a matrix"),
        (pair() | {f"{PREFIX}{MODULE}.lora_B.weight": np.ones((4, 2), np.int8)}, Unsupported, "I8"),
        (
            pair() | {f"{PREFIX}{MODULE}.lora_A.weight": np.full((2, 5), np.nan, np.float32)},
            Mismatch,
            "NaN or infinity",
        ),
        (
            pair() | {f"{PREFIX}{MODULE}.lora_magnitude_vector": np.ones(4, np.float32)},
            Unsupported,
            "lora_magnitude_vec",
        ),
        ({"q_proj.lora_A.weight": np.ones((2, 5), np.float32)}, Unsupported, "q_proj.lora_A.weight"),
    ],
)
def test_a_bad_tensor_is_named(tensors, error, named, tmp_path):
    with pytest.raises(error, match=named):
        read_adapter(save(tmp_path, tensors=tensors))


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match="is no adapter: it must be a folder with"):
            read_adapter(path)


def test_one_that_memory_can_not_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: 300)
    with pytest.raises(OverBudget, match="300 B are available"):
        read_adapter(save(tmp_path))


def refusal(folder) -> str | None:
    try:
        read_adapter(folder).scale(MODULE)
    except DivebellError as error:
        return str(error)


@pytest.mark.parametrize("damaged", [CONFIG, WEIGHTS])
def test_damage_never_ends_in_anything_but_a_sentence(damaged, tmp_path):
    raw, refused = (save(tmp_path) / damaged).read_bytes(), 0
    for case in range(300):
        rng = random.Random(case)
        content = damaged_json(rng, dict(TOLD)) if damaged == CONFIG else damaged_bytes(rng, raw, 300)
        (tmp_path / damaged).write_bytes(content)
        with within_200_mb():
            problem = refusal(tmp_path)
        refused += problem is not None
        assert problem is None or (problem.isprintable() and len(problem) < 1000)
    assert refused > 50
