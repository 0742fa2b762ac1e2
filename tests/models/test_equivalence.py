"""Every architecture against transformers in float32: whole prompts, chunks, token by token, batches, greedy text."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints import SHAPES, build, save
from routing import Margins
from running import batch_logits, greedy, logits
from transformers import AutoModelForCausalLM

from divebell import models
from divebell.weights.checkpoint import open_checkpoint

TOLERANCE = 2e-4  # of the logits' standard deviation
OPS = ("reference", "native")
everywhere = [pytest.mark.parametrize("hand", OPS), pytest.mark.parametrize("name", SHAPES)]


@pytest.fixture(scope="module")
def loaded(tiny):
    """loaded(name, hand) -> Model with float32 weights, from a file; loaded once."""
    made = {}

    def load(name, hand):
        if (name, hand) not in made:
            ops = importlib.import_module(f"divebell.ops.{hand}")
            made[name, hand] = models.load(open_checkpoint(tiny(name)), ops, "f32")
        return made[name, hand]

    return load


@pytest.fixture(scope="module")
def expected():
    """expected(name) -> ids, transformers' logits, and which positions had a routing choice tied within 1e-5."""
    made = {}

    def compute(name):
        if name not in made:
            model, ids = build(name), prompt(300)
            margins = Margins(model)
            with torch.no_grad():
                made[name] = ids, model(torch.tensor(ids)[None]).logits[0].numpy(), margins.tied(len(ids))
        return made[name]

    return compute


@pytest.fixture(scope="module")
def greedy_text():
    """greedy_text(name) -> a prompt's ids, and the 64 that transformers puts after them."""
    made = {}

    def generate(name):
        if name not in made:
            ids = prompt(24, seed=2)
            settings = {"max_new_tokens": 64, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
            made[name] = ids, build(name).generate(torch.tensor(ids)[None], **settings)[0, len(ids) :].tolist()
        return made[name]

    return generate


def prompt(count: int, seed: int = 1, vocabulary: int = 320) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocabulary, count).tolist()


def agree(actual: np.ndarray, reference: np.ndarray, tied: np.ndarray) -> None:
    difference = np.abs(actual - reference).max(axis=1) / reference.std()
    print(f"largest difference {difference[~tied].max():.2e} of the deviation; {tied.sum()} positions tied")
    assert tied.mean() < 0.1
    assert difference[~tied].max() <= TOLERANCE


def both(function):
    for mark in everywhere:
        function = mark(function)
    return function


@both
def test_whole_prompt(name, hand, loaded, expected):
    ids, reference, tied = expected(name)
    agree(logits(loaded(name, hand), ids), reference, tied)


@both
def test_chunks(name, hand, loaded, expected):
    ids, reference, tied = expected(name)
    agree(logits(loaded(name, hand), ids, chunk=77), reference, tied)


@both
def test_token_by_token(name, hand, loaded, expected):
    ids, reference, tied = expected(name)
    agree(logits(loaded(name, hand), ids, chunk=1), reference, tied)


@both
def test_batch_of_unequal_lengths(name, hand, loaded, expected):
    ids, reference, tied = expected(name)
    lengths, first = [300, 1, 130, 64], [299, 0, 1, 64]
    prompts = [ids[:n] for n in lengths]
    for own, n in zip(batch_logits(loaded(name, hand), prompts, first), lengths, strict=True):
        agree(own, reference[:n], np.zeros(n, bool) if n < 20 else tied[:n])


@both
def test_greedy_text(name, hand, loaded, greedy_text):
    ids, text = greedy_text(name)
    assert greedy(loaded(name, hand), ids, 64) == text


@pytest.mark.parametrize("name", ["llama", "deepseek_v2-groups", "deepseek_v3"])
def test_bfloat16_files(name, tmp_path):
    """The weights are what was stored, so a float32 model of the rounded weights is the reference."""
    from divebell.ops import reference as ops

    save(name, tmp_path, dtype=torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="sdpa")
    ids = prompt(100)
    margins = Margins(model)
    with torch.no_grad():
        rows = model(torch.tensor(ids)[None]).logits[0].numpy()
    agree(logits(models.load(open_checkpoint(tmp_path), ops, "f32"), ids), rows, margins.tied(len(ids)))


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_frequencies_a_ten_thousandth_off_would_show(name, tiny, expected):
    """The comparison has teeth: prompts are long, and attention uneven, enough."""
    from divebell.ops import reference as ops

    ids, reference, _ = expected(name)
    model = models.load(open_checkpoint(tiny(name)), ops, "f32")
    model._rope.rope = replace(model._rope.rope, frequencies=model._rope.rope.frequencies * np.float32(1.0001))
    assert np.abs(logits(model, ids) - reference).max() / reference.std() > 2 * TOLERANCE


@pytest.fixture(scope="module")
def long_expected():
    """As `expected`, of 17,000 tokens, in chunks: all at once transformers takes 7 GB for its mask and scores."""
    made = {}

    def compute(name):
        if name not in made:
            model, ids, past = build(name, max_position_embeddings=32768), prompt(17_000), None
            rows, tied = [], []
            for begin in range(0, len(ids), 1_000):
                margins = Margins(model)
                with torch.no_grad():
                    out = model(torch.tensor(ids[begin : begin + 1_000])[None], past_key_values=past, use_cache=True)
                margins.remove()
                past = out.past_key_values
                rows.append(out.logits[0].numpy())
                tied.append(margins.tied(len(rows[-1])))
            made[name] = ids, np.concatenate(rows), np.concatenate(tied)
        return made[name]

    return compute


@pytest.mark.slow
@pytest.mark.parametrize(("hand", "length"), [("reference", 5_000), ("native", 17_000)])
@pytest.mark.parametrize("name", ["llama-tied-llama3", "deepseek_v3"])
def test_long_prompts(name, hand, length, tmp_path, long_expected):
    """Past the original context of YaRN and Llama 3's scaling, and past 16k, where rounded frequencies would show."""
    ops = importlib.import_module(f"divebell.ops.{hand}")
    folder = save(name, tmp_path, max_position_embeddings=32768)
    ids, rows, tied = long_expected(name)
    own = logits(models.load(open_checkpoint(folder), ops, "f32"), ids[:length], chunk=512)
    agree(own, rows[:length], tied[:length])
