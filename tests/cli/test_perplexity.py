import json

import numpy as np
import pytest
from fakes import fake_llm

import divebell
from divebell.cli import main


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    monkeypatch.setattr(divebell, "load", lambda name, context, **arguments: fake_llm(context=context))


@pytest.fixture
def text(tmp_path):
    """300 letters and a line end, which is left out."""
    letters = np.random.default_rng(0).integers(32, 32 + 95, 300)
    path = tmp_path / "text"
    path.write_text("".join(map(chr, letters)) + "\n")
    return path


def expected(text, context: int, tokens: int) -> float:
    """From all logits of each chunk, the second half of its predictions."""
    llm = fake_llm(context=context)
    ids = llm.tokenizer.encode(text.read_text()[:-1])[:tokens]
    losses = []
    for start in range(0, len(ids) - context + 1, context):
        chunk = ids[start : start + context]
        logits = llm.logits(chunk).astype(np.float64)
        loss = np.log(np.exp(logits).sum(1))[:-1] - logits[np.arange(context - 1), chunk[1:]]
        losses += list(loss[context // 2 :])
    return float(np.exp(np.mean(losses)))


@pytest.mark.parametrize(("context", "tokens", "scored"), [(64, 300, 4 * 31), (50, 120, 2 * 24), (300, 300, 149)])
def test_json_has_the_figure_and_how_many_tokens_it_is_of(text, capsys, context, tokens, scored):
    arguments = ["--context", str(context), "--tokens", str(tokens), "--json"]
    assert main(["perplexity", "model", str(text), *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["tokens"] == scored
    assert shown["perplexity"] == pytest.approx(expected(text, context, tokens), rel=1e-6)
    assert shown["uncertainty"] > 0


def test_people_see_the_uncertainty_and_the_count(text, capsys):
    assert main(["perplexity", "model", str(text), "--context", "64"]) == 0
    out = capsys.readouterr().out
    assert "±" in out
    assert "124 tokens scored in 4 chunks of 64" in out
    assert main(["perplexity", "model", str(text), "--context", "4", "--tokens", "4"]) == 0
    assert "1 token scored in 1 chunk of 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--context", "301"], "context is 301, but this text has only 300 tokens"),
        (["--context", "2"], "context is 2; it must be 4 or more"),
        (["--tokens", "0"], "tokens is 0; it must be 4 or more"),
        (["--tokens", "3"], "tokens is 3; it must be 4 or more"),
        (["--tokens", "511"], "tokens is 511; it must be at least the context of 512, or give a smaller --context"),
    ],
)
def test_what_can_not_be_scored_is_refused(text, capsys, arguments, says):
    assert main(["perplexity", "model", str(text), *arguments]) == 1
    assert says in capsys.readouterr().err
