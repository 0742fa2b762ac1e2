"""Timing on a tiny model of the reference ops: what is counted is checked, how long it takes is not."""

import numpy as np
import pytest

from divebell import models
from divebell.engine.timing import Bench
from divebell.engine.traffic import Traffic, Work
from divebell.models.synth import plan, synth
from divebell.ops import reference
from divebell.weights.checkpoint import open_checkpoint

CONFIG = {
    "model_type": "deepseek_v2",
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "vocab_size": 128,
    "max_position_embeddings": 4096,
}
EXPERT = 3 * 32 * 64
ATTENTION = 64 * (2 * 48) + 64 * 48 + 32 * 2 * 48 + 64 * 2 * 16  # q, kv_a, up-projections, o
DENSE = 3 * ATTENTION + 3 * 64 * 96 + 2 * EXPERT  # with the shared expert of two layers
HEAD = 128 * 64


@pytest.fixture(autouse=True)
def attention_in_bfloat16(monkeypatch):
    monkeypatch.setattr("divebell._native.isa", "avx512")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("timing") / "tiny.gguf"
    synth(plan(CONFIG, "q8_0", folder=False), path)
    return open_checkpoint(path)


@pytest.fixture(scope="module")
def bench(checkpoint) -> Bench:
    made = Bench(lambda ops: models.load(checkpoint, ops), reference, lambda model: traffic(checkpoint, model))
    made.reserve(200, 3)
    return made


def traffic(checkpoint, model) -> Traffic:
    config = models.configuration(checkpoint)
    parameters = models.architecture(checkpoint.architecture).parameters(config)
    return Traffic(checkpoint, parameters, config, model.cache_layout, model.cache_dtype)


def test_one_token_reads_its_experts_once_and_every_other_matrix(bench):
    chosen = [np.array([[0, 3]], np.int32)] * 2
    work = bench.traffic.of([(1, 10)], chosen)
    adds = DENSE + HEAD + 4 * EXPERT
    assert work.multiply_adds["int8"] == adds
    assert work.multiply_adds["f32"] == 2 * 4 * 64
    assert work.multiply_adds["bf16"] == 3 * 11 * 2 * (2 * 32 + 16)
    cache = 3 * 11 * 48 * 2
    small = 2 * 4 * 64 * 4 + (7 * 64 + 3 * 32) * 4  # routers and norms
    assert work.bytes == adds * 34 // 32 + small + cache


@pytest.mark.parametrize("tokens", [1, 20])
def test_avx2_multiplies_latents_as_whole_numbers(bench, monkeypatch, tokens):
    chosen = [np.array([[0, 3]] * tokens, np.int32)] * 2
    before = bench.traffic.of([(tokens, 10)], chosen).multiply_adds
    monkeypatch.setattr("divebell._native.isa", "avx2")
    adds = bench.traffic.of([(tokens, 10)], chosen).multiply_adds
    assert adds["int8"] - before["int8"] == before["bf16"] > 0
    assert "bf16" not in adds


def test_tokens_that_chose_the_same_expert_share_its_bytes(bench):
    alone = bench.traffic.of([(1, 0)], [np.array([[0, 1]])] * 2)
    same = bench.traffic.of([(1, 0)] * 2, [np.array([[0, 1], [1, 0]])] * 2)
    other = bench.traffic.of([(1, 0)] * 2, [np.array([[0, 1], [2, 3]])] * 2)
    cache = 3 * 48 * 2
    assert same.bytes - alone.bytes == cache
    assert other.bytes - same.bytes == 2 * 2 * EXPERT * 34 // 32
    assert same.multiply_adds == other.multiply_adds


def test_the_floor_is_the_slower_of_reading_and_multiplying():
    work = Work(2 * 10**9, {"int8": 10**9, "f32": 10**9})
    assert work.seconds(1, {"int8": 10, "f32": 10}) == 2
    assert work.seconds(100, {"int8": 1, "f32": 0.5}) == 3


def test_a_window_bounds_what_is_read(checkpoint, tmp_path):
    config = CONFIG | {"model_type": "mistral", "sliding_window": 8}
    synth(plan(config, "f32", folder=False), tmp_path / "m.gguf")
    found = open_checkpoint(tmp_path / "m.gguf")
    counted = traffic(found, models.load(found, reference))
    assert counted.of([(1, 7)], []).bytes == counted.of([(1, 100)], []).bytes
    assert counted.of([(1, 6)], []).bytes < counted.of([(1, 7)], []).bytes


def test_a_prompt_is_taken_in_the_engines_steps(bench, monkeypatch):
    monkeypatch.setattr("divebell.engine.timing.STEP_TOKENS", 40)
    seen = []
    monkeypatch.setattr(bench.traffic, "of", lambda chunks, chosen: seen.append(chunks) or Work(1))
    timing = bench.prompt(100, 64)
    assert seen[:3] == [[(40, 64)], [(40, 104)], [(20, 144)]]
    assert timing.work.bytes == 3
    assert timing.tokens_per_s == pytest.approx(100 / timing.seconds)


def test_decoding_counts_every_sequence(bench):
    timing = bench.decode(5, 30, 3)
    assert timing.runs == 5
    assert timing.tokens_per_s == pytest.approx(3 / timing.seconds)
    assert timing.work.multiply_adds["int8"] == 3 * (DENSE + HEAD + 4 * EXPERT)


def test_the_ops_of_a_run_and_the_rest_are_its_time(bench):
    ops = bench.decode(1, 10, 1).ops
    assert {"linears", "mla", "moe", "rms_norm", "rotate", "route", "embed", "other"} <= set(ops)
    assert min(ops.values()) >= 0
