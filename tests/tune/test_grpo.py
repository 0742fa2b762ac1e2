"""Rewards: the loss is the published formula's, what is drawn is what is trained, and rewards rise."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from talkers import questions, talker

from divebell.errors import BadInput, OverBudget
from divebell.text.chat import load_chat
from divebell.text.tokenizer import load_tokenizer
from divebell.tune import grpo
from divebell.tune.data import Speaker
from divebell.tune.grpo import Answer, Grpo, advantages
from divebell.tune.lora import Lora
from divebell.tune.model import Trainee
from divebell.tune.questions import Question, read_questions
from divebell.tune.rewards import REWARDS
from divebell.tune.rollouts import Rollouts
from divebell.tune.run import Run
from divebell.tune.samples import Sample
from divebell.tune.settings import Settings
from divebell.weights.checkpoint import open_checkpoint

BETA, CLIP = 0.3, 0.2


def formula(now: np.ndarray, answer: Answer) -> tuple[float, float]:
    """In float64, token by token: beta * k3 - min(ratio A, clipped ratio A), and k3; means over the tokens."""
    losses, divergences = [], []
    for own, drawn, base in zip(now, answer.drawn.numpy(), answer.base.numpy(), strict=True):
        ratio = np.exp(own) / np.exp(drawn)
        gain = min(ratio * answer.advantage, min(max(ratio, 1 - CLIP), 1 + CLIP) * answer.advantage)
        divergences.append(np.exp(base) / np.exp(own) - np.log(np.exp(base) / np.exp(own)) - 1)
        losses.append(BETA * divergences[-1] - gain)
    return float(np.mean(losses)), float(np.mean(divergences))


def test_the_loss_is_the_formula_in_float64(monkeypatch):
    random = np.random.default_rng(0)
    found, answers = [], []
    for length, advantage in ((3, 1.2), (7, -0.4), (1, 0.0), (5, -1.5)):
        now, drawn, base = (torch.from_numpy(random.normal(-2, 0.5, length)) for _ in range(3))
        found.append(now.requires_grad_(True))
        sample = Sample(np.zeros(length + 1, np.int32), np.arange(length + 1) > 0)
        answers.append(Answer(sample, {"answer": advantage > 0}, advantage, drawn, base))
    monkeypatch.setattr(grpo, "log_probabilities", lambda trainee, pack: found)
    sums = Grpo(Settings(beta=BETA, clip=CLIP)).loss(None, answers)
    expected = [formula(now.detach().numpy(), answer) for now, answer in zip(found, answers, strict=True)]
    assert sums["loss"].item() == pytest.approx(sum(loss for loss, _ in expected), rel=1e-12)
    assert sums["kl"].item() == pytest.approx(sum(kl for _, kl in expected), rel=1e-12)
    assert sums["reward"].item() == 1
    assert sums["length"].item() == 16
    assert 0 < sums["clipped"].item() < 4
    sums["loss"].backward()
    assert torch.autograd.gradcheck(lambda *own: _loss(monkeypatch, own, answers), tuple(found), eps=1e-7, atol=1e-5)


def _loss(monkeypatch, own, answers) -> torch.Tensor:
    monkeypatch.setattr(grpo, "log_probabilities", lambda trainee, pack: list(own))
    return Grpo(Settings(beta=BETA, clip=CLIP)).loss(None, answers)["loss"]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=4, max_size=4))
def test_advantages_are_within_a_group(rewards):
    own = advantages([*rewards, 1.0, 1.0, 1.0, 1.0], 4)
    assert own[4:] == [0.0] * 4
    mean, deviation = np.mean(rewards), np.std(rewards)
    assert own[:4] == pytest.approx([(r - mean) / deviation if deviation else 0 for r in rewards])


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_what_is_drawn_is_what_is_trained(name, tmp_path):
    """The engine's likelihoods with the adapter are torch's; other adapters give other answers, the same the same."""
    trainee = Trainee(open_checkpoint(talker(tmp_path / "model", name)), "stored")
    method = Lora(rank=4, alpha=8)
    trained, random = method.attach(trainee), torch.Generator().manual_seed(5)
    rollouts, asked = Rollouts(trainee, method, 40), [Question([5, 9, 30], "", "1", 12)] * 3
    bare = rollouts.answers(asked, [1, 2, 3])
    with torch.no_grad():
        [p.normal_(0, 0.05, generator=random) for key, p in trained.items() if ".lora_B." in key]
    drawn = rollouts.answers(asked, [1, 2, 3])
    assert drawn == rollouts.answers(asked, [1, 2, 3])
    assert drawn != bare
    assert len({tuple(ids) for ids in drawn}) == 3
    greedy = rollouts.answers(asked[:1], None)[0]
    whole = np.array([5, 9, 30, *greedy], np.int32)
    with torch.no_grad():
        rows = trainee.logits([whole])[2:-1]
        assert rows.argmax(-1).tolist() == greedy
    rollouts.close()


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    checkpoint = open_checkpoint(talker(tmp_path_factory.mktemp("talker")))
    tokenizer = load_tokenizer(checkpoint)
    return Speaker(tokenizer, load_chat(checkpoint, tokenizer), 60)


def written(folder: Path, *rows: dict) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_prompt_is_text_or_messages(speaker, tmp_path):
    path = written(
        tmp_path,
        {"prompt": "3+4=", "answer": 7},
        {"prompt": [{"role": "user", "content": "Hi"}], "answer": "Ho"},
        {"prompt": "Well? <think>\n", "answer": "yes"},
    )
    text, talk, opened = read_questions(path, speaker, 8)
    assert (text.answer, text.opening, opened.opening) == ("7", "", "<think>")
    assert speaker.tokenizer.decode(talk.ids, skip_special_tokens=False).endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_a_prompt_of_messages_tells_tools(speaker, tmp_path):
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]
    row = {"prompt": [{"role": "user", "content": "Hi"}], "answer": "Ho", "tools": tools}
    (question,) = read_questions(written(tmp_path, row), replace(speaker, longest=1000), 8)
    assert "clock" in speaker.tokenizer.decode(question.ids)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a"}, "line 2: answer is 'None'; give a text or a number"),
        ({"prompt": "a", "answer": " "}, "line 2: answer is ' '"),
        ({"prompt": 3, "answer": "b"}, "line 2: prompt is no text and no list of messages"),
        ({"prompt": "", "answer": "b"}, "line 2: prompt is empty"),
        ({"prompt": "a " * 90, "answer": "b"}, "line 2: has a prompt of .* it may have 60"),
    ],
)
def test_bad_questions_are_named(row, said, speaker, tmp_path):
    with pytest.raises(BadInput, match=said):
        read_questions(written(tmp_path, {"prompt": "a", "answer": "b"}, row), speaker, 8)


QUICK = {"batch": 4, "group": 8, "context": 32, "pack": 512, "rank": 4, "answer_tokens": 4}


@pytest.mark.slow
@pytest.mark.parametrize("updates", [1, 2])
def test_rewards_rise(updates, tmp_path, monkeypatch):
    """A rule that a random model meets now and then: that the answer has a vowel at its beginning."""
    monkeypatch.setitem(REWARDS, "answer", lambda text, expected: float(text.strip()[:1] in tuple("aeiou")))
    model = talker(tmp_path / "model")
    settings = Settings(steps=12, rate=1e-2, updates=updates, **QUICK)
    figures = list(Run("grpo", str(model), questions(tmp_path / "rows.jsonl"), settings).train(tmp_path / "out"))
    drawn = [row["reward"] for row in figures]
    assert np.mean(drawn[-2:]) > np.mean(drawn[:2]) + 0.3
    assert figures[-1]["held_out"] > 0.5
    assert figures[-1]["kl"] > 0
    assert figures[0]["clipped"] == 0 or updates > 1
    assert (tmp_path / "out" / "reward.png").stat().st_size > 1000


def test_what_cannot_be_done_is_refused(tmp_path):
    model, rows = str(talker(tmp_path / "model")), questions(tmp_path / "rows.jsonl")
    with pytest.raises(BadInput, match="rewards has 'beauty'; known: answer, format"):
        Run("grpo", model, rows, Settings(rewards=("beauty",)))
    with pytest.raises(BadInput, match="rewards is empty; give some of answer, format"):
        Run("grpo", model, rows, Settings(rewards=()))
    with pytest.raises(BadInput, match="group is 1; it must be at least 2"):
        Run("grpo", model, rows, Settings(group=1))
    with pytest.raises(BadInput, match="group is given, and full has no use for it; it is for grpo"):
        Run("full", model, rows, Settings(group=4))
    with pytest.raises(OverBudget, match="answers"):
        Run("grpo", model, rows, Settings(**QUICK), ram="100MiB")
