"""A request's tokens do not depend on what is beside or before it: in a batch, preempted, on a prefix, restored.

In float32, and where every token's sums have one order, from quantized weights. With NEON the order differs between
steps of few and of many tokens, and latent attention has two ways; rounding to bfloat16 or int8 makes more of such a
difference than greedy decoding of random weights forgives.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import divebell
from divebell import _native
from divebell.engine.cache import PAGE, Cache
from divebell.engine.completion import Completion, Receipt
from divebell.engine.core import Core
from divebell.engine.engine import Engine
from divebell.engine.llm import LLM
from divebell.engine.scheduler import Scheduler
from divebell.engine.speculative import Guess, Profit
from divebell.models.synth import plan, synth

DENSE = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 320,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 318,
    "eos_token_id": 319,
}
same_in_company = pytest.mark.skipif(
    _native.isa in ("neon", "amx"), reason="few and many tokens are added up differently here"
)
QUANTIZED = [pytest.param(format, marks=same_in_company) for format in ("q4_1", "q4_k")]


@pytest.fixture(scope="module", params=["llama", "deepseek_v2-lite", "deepseek_v3", *QUANTIZED])
def loaded(request, tiny, tmp_path_factory) -> Iterator[LLM]:
    quantized = request.param.startswith("q")
    file = dense(tmp_path_factory.mktemp("dense"), request.param) if quantized else tiny(request.param)
    with divebell.load(file, weights="stored" if quantized else "f32", context=512) as llm:
        yield llm


def dense(folder: Path, format: str) -> Path:
    """A file with random weights of that format."""
    synth(plan(DENSE, format, folder=False), folder / "dense.gguf", 1)
    return folder / "dense.gguf"


def fresh(llm: LLM, pages: int = 64) -> LLM:
    """The same model with an empty cache."""
    model = llm._engine._core.model
    core = Core(model, Cache(model.cache_layout, model.cache_dtype, pages))
    return LLM(Engine(core), llm._limits, llm._voice, llm.info, {})


def prompts(count: int) -> list[list[int]]:
    """Of mixed lengths, some with the same beginning."""
    random = np.random.default_rng(3)
    base = random.integers(0, 320, 200).tolist()
    return [base[: i % 3 * 90] + random.integers(0, 320, 1 + 17 * i % 60).tolist() for i in range(count)]


def repeated(receipt: Receipt) -> int:
    """Tokens that were computed again."""
    once = receipt.prompt_tokens - receipt.cached_tokens + receipt.completion_tokens - 1
    return receipt.computed_tokens - once - (receipt.drafted_tokens - receipt.accepted_tokens)


def run_all(self: Profit, guesses: list[Guess], requests: int, before: int) -> list[int]:
    return [guess.token for guess in guesses]


def run_none(self: Profit, guesses: list[Guess], requests: int, before: int) -> list[int]:
    return []


def test_alone_in_a_batch_and_after_giving_up_pages(loaded, monkeypatch):
    monkeypatch.setattr(Profit, "worthwhile", run_none)  # answers that take few steps need not give up pages
    asked, options = prompts(10), {"max_tokens": 120, "ignore_eos": True}
    alone = [fresh(loaded).generate(prompt, **options) for prompt in asked]
    together, crowded = fresh(loaded).batch(asked, **options), fresh(loaded, pages=8).batch(asked, **options)
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]
    assert [answer.token_ids for answer in crowded] == [answer.token_ids for answer in alone]
    assert sum(repeated(answer.receipt) for answer in together) == 0
    assert sum(repeated(answer.receipt) for answer in crowded) > 0


def answers(llm: LLM, asked: list[list[int]]) -> list[Completion]:
    """Together; a fifth, four in a row, are so long that they need more pages than they were admitted with."""
    lengths = [130 if number % 20 < 4 else 12 for number in range(len(asked))]
    begun = [llm.continuation(p, max_tokens=n, ignore_eos=True) for p, n in zip(asked, lengths, strict=True)]
    llm.engine.run(begun)
    return [generation.completion() for generation in begun]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepseek_v2-lite", QUANTIZED[0]])
def test_two_hundred_requests_alone_together_preempted_and_restored(name, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Profit, "worthwhile", run_none
    )  # what pays is a matter of time, and it decides how many give up pages
    asked, preempted = prompts(200), []
    file = dense(tmp_path, name) if name.startswith("q") else tiny(name)
    told = {"weights": "stored" if name.startswith("q") else "f32", "context": 512, "kv_dir": tmp_path / "pages"}
    preempt = Scheduler._preempt
    with divebell.load(file, **told) as llm:
        together = answers(llm, asked)
        monkeypatch.setattr(Scheduler, "_preempt", lambda self, s: preempted.append(s) or preempt(self, s))
        crowded = answers(fresh(llm, pages=8), asked)
    with divebell.load(file, **told) as llm:
        restored = answers(llm, asked)
        alone = fresh(llm)
        expected = [
            alone.generate(prompt, max_tokens=len(answer.token_ids), ignore_eos=True).token_ids
            for prompt, answer in zip(asked, together, strict=True)
        ]
    for found in (together, crowded, restored):
        assert [answer.token_ids for answer in found] == expected
    assert len(preempted) >= 5
    assert sum(answer.receipt.cached_tokens > 0 for answer in restored) > 100


def test_logits_on_a_reused_prefix_are_those_of_the_whole_prompt(loaded):
    ids = prompts(3)[2]
    llm = fresh(loaded)
    expected = llm.score(ids)
    reused = fresh(loaded)
    reused.generate([*ids[:150], 5, 6], max_tokens=20, ignore_eos=True)
    assert np.allclose(reused.score(ids, first=151), expected[150:], atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.02, "seed": 5, "frequency_penalty": 0.001}])
def test_an_answer_is_the_same_with_and_without_guesses(loaded, monkeypatch, options):
    asked, options = [[5, 6, 7, 8] * 20, *prompts(3)], options | {"max_tokens": 150, "ignore_eos": True}
    monkeypatch.setattr(Profit, "worthwhile", run_all)
    guessed = fresh(loaded).batch(asked, **options)
    monkeypatch.setattr(Profit, "worthwhile", run_none)
    plain = fresh(loaded).batch(asked, **options)
    assert [answer.token_ids for answer in guessed] == [answer.token_ids for answer in plain]
    assert sum(answer.receipt.accepted_tokens for answer in guessed) > 0
    assert sum(answer.receipt.drafted_tokens for answer in plain) == 0
    assert sum(repeated(answer.receipt) for answer in guessed) == 0


@pytest.mark.parametrize("weights", ["f32", "stored", "q8"])
@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_what_is_restored_is_what_was_computed_bit_for_bit(tiny, tmp_path, monkeypatch, name, weights):
    """Computed, from disk, and computed again."""
    monkeypatch.setattr(Profit, "worthwhile", run_none)  # what pays is a matter of time
    prompt = prompts(3)[2]
    pages, answers = [], []
    for folder in (tmp_path, tmp_path, None):
        with divebell.load(tiny(name), weights=weights, context=512, kv_dir=folder) as llm:
            llm.generate(prompt, max_tokens=1, ignore_eos=True)
            answer = llm.generate(prompt, max_tokens=30, ignore_eos=True)
            core = llm._engine._core
            pages.append([core.cache.read(node.page) for node in core.tree._nodes() if len(node.tokens) == PAGE])
            answers.append((answer.token_ids, answer.receipt.cached_tokens))
    assert len(pages[0]) == 3
    assert sorted(pages[0]) == sorted(pages[1]) == sorted(pages[2])
    assert answers[0] == answers[1] == answers[2]
