"""The default model, trained weights and all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from smollm2 import in_transformers

import divebell
from divebell import _native
from divebell.cli import main
from divebell.engine.sampler import log_sums
from divebell.weights.pull import resolve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exact():
    with divebell.load("smollm2-135m", weights="f32", context=1024) as llm:
        yield llm


def test_it_knows_the_capital_of_france(exact):
    answer = exact.chat([{"role": "user", "content": "What is the capital of France?"}], max_tokens=20, temperature=0.0)
    assert answer.text == "The capital of France is Paris."
    assert answer.finish_reason == "stop"


def test_a_conversation_goes_on_as_if_all_had_been_computed_anew(exact):
    conversation = exact.conversation(system="You answer in one sentence.")
    for question in ("What is a lighthouse?", "Who lives in one?"):
        list(conversation.say(question, max_tokens=40, temperature=0.0))
    assert conversation.completion.receipt.cached_tokens > 30
    assert (
        conversation.completion.token_ids
        == exact.chat(conversation.messages[:-1], max_tokens=40, temperature=0.0).token_ids
    )


def test_chat_answers_a_prompt_on_the_command_line(capsys):
    options = ["--max-tokens", "40", "--context", "512", "--weights", "f32", "--temperature", "0"]
    assert main(["chat", "--prompt", "What is the capital of France?", *options]) == 0
    out, err = capsys.readouterr()
    assert out == "The capital of France is Paris.\n"
    assert "tokens at" in err


def test_perplexity_is_that_of_transformers(exact):
    """Real weights on real text: to a thousandth in float32, to half a hundredth from the stored blocks."""
    text = (Path(__file__).parents[2] / "LICENSE").read_text()
    ids = exact.tokenizer.encode(text)[:1024]
    with torch.no_grad():
        rows = in_transformers(Path(resolve("smollm2-135m")))(torch.tensor([ids])).logits[0].numpy()
    theirs = np.mean(rows[np.arange(1023), ids[1:]] - log_sums(rows[:-1]))
    assert np.abs(exact.logits(ids) - rows).max() <= 2e-4 * rows.std()
    assert abs(exact.score(ids).mean() - theirs) <= 1e-4
    with divebell.load("smollm2-135m", context=1024) as stored:
        assert abs(stored.score(ids).mean() - theirs) <= 0.02


@pytest.mark.skipif(_native.isa not in ("scalar", "avx2"), reason="few and many tokens add up in different orders here")
def test_excerpts_have_the_same_answers_alone_and_together_from_the_stored_blocks():
    """Trained weights have tokens that are nearly as likely as each other, which random ones seldom have."""
    text = (Path(__file__).parents[2] / "LICENSE").read_text()
    options = {"max_tokens": 8, "temperature": 0.0, "ignore_eos": True}
    with divebell.load("smollm2-135m", context=512) as llm:
        ids = llm.tokenizer.encode(text)
        asked = [ids[31 * i : 31 * i + 1 + 7 * i % 60] for i in range(30)]
        together = llm.batch(asked, **options)
    with divebell.load("smollm2-135m", context=512) as llm:
        alone = [llm.generate(prompt, **options) for prompt in asked]
    assert [answer.token_ids for answer in alone] == [answer.token_ids for answer in together]
    assert sum(answer.receipt.cached_tokens for answer in (*alone, *together)) < 30
