"""Preferences: the loss is the published formula's, and what people prefer becomes likelier."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import peft
import pytest
import torch
from checkpoints import build
from talkers import preferences, talker
from torch.nn import functional

from divebell.errors import BadInput
from divebell.text.chat import load_chat
from divebell.text.tokenizer import load_tokenizer
from divebell.tune import dpo
from divebell.tune.data import Speaker, shown
from divebell.tune.dpo import Dpo
from divebell.tune.lora import Lora
from divebell.tune.model import Trainee
from divebell.tune.preferences import Preference, read_preferences
from divebell.tune.run import Run
from divebell.tune.samples import Sample
from divebell.tune.settings import Settings
from divebell.weights.checkpoint import open_checkpoint

BETA = 0.3


def sample(seed: int, length: int, prompt: int) -> Sample:
    """The same prompt for every seed."""
    ids = np.random.default_rng(7).integers(0, 320, prompt, np.int32)
    answer = np.random.default_rng(seed).integers(0, 320, length, np.int32)
    return Sample(np.concatenate([ids, answer]), np.arange(prompt + length) >= prompt)


PAIRS = [Preference(sample(1, 9, 5), sample(2, 4, 5)), Preference(sample(3, 2, 11), sample(4, 12, 11))]


def margins_of(own, base) -> list[float]:
    """beta ((ln p(c) - ln p0(c)) - (ln p(r) - ln p0(r))) of each pair. own, base: sample -> ln p of its answer."""
    grown = [[own(s) - base(s) for s in (pair.chosen, pair.rejected)] for pair in PAIRS]
    return [BETA * (chosen - rejected) for chosen, rejected in grown]


def loss_of(margins) -> float:
    """-ln sigmoid, summed."""
    return sum(np.log1p(np.exp(-margin)) for margin in margins)


def test_the_loss_is_the_formula_in_float64(monkeypatch):
    """On given likelihoods; those of the base are asked without adapters."""
    random, bare = np.random.default_rng(0), []
    samples = [s for pair in PAIRS for s in (pair.chosen, pair.rejected)]
    own, base = ([torch.from_numpy(random.normal(-2, 1, s.learned)) for s in samples] for _ in range(2))

    @contextmanager
    def as_it_began():
        bare.append(True)
        yield
        bare.pop()

    monkeypatch.setattr(dpo, "log_probabilities", lambda trainee, pack: base if bare else own)
    sums = Dpo(Settings(beta=BETA)).loss(SimpleNamespace(as_it_began=as_it_began), PAIRS)
    place = {id(sample): i for i, sample in enumerate(samples)}
    margins = margins_of(lambda s: own[place[id(s)]].sum().item(), lambda s: base[place[id(s)]].sum().item())
    assert sums["loss"].item() == pytest.approx(loss_of(margins), rel=1e-12)
    assert sums["margin"].item() == pytest.approx(sum(margins), rel=1e-12)
    assert sums["accuracy"].item() == sum(margin > 0 for margin in margins)


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_loss_and_gradients_are_those_of_transformers_and_peft(name, tiny, tmp_path):
    trainee, method = Trainee(open_checkpoint(tiny(name)), "f32"), Lora(rank=4, alpha=8)
    trained, random = method.attach(trainee), torch.Generator().manual_seed(5)
    with torch.no_grad():
        [p.normal_(0, 0.05, generator=random) for key, p in trained.items() if ".lora_B." in key]
    model = peft.PeftModel.from_pretrained(build(name), method.save(trainee, tmp_path), is_trainable=True)

    def ln_p(sample: Sample) -> torch.Tensor:
        logits = model(torch.from_numpy(sample.ids).long()[None]).logits[0]
        own = torch.log_softmax(logits, -1)[:-1].gather(1, torch.from_numpy(sample.ids[1:]).long()[:, None])
        return own[torch.from_numpy(sample.trained[1:])].sum()

    def base(sample: Sample) -> float:
        with torch.no_grad(), model.disable_adapter():
            return ln_p(sample)

    expected = -torch.stack([functional.logsigmoid(margin) for margin in margins_of(ln_p, base)]).sum()
    expected.backward()
    loss = Dpo(Settings(beta=BETA)).loss(trainee, PAIRS)["loss"]
    loss.backward()
    assert abs(expected.item() - 2 * np.log(2)) > 0.01  # the adapters matter
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    found = {key.replace(".default", ""): p.grad for key, p in model.named_parameters() if p.requires_grad}
    for key, parameter in trained.items():
        reference = found[f"base_model.model.{key}"]
        assert (parameter.grad - reference).norm() <= 1e-3 * reference.norm() + 1e-7, key


def test_the_base_is_what_the_adapters_were_added_to(tiny):
    trainee = Trainee(open_checkpoint(tiny("deepseek_v3")), "f32")
    ids = [PAIRS[0].chosen.ids]
    with torch.no_grad():
        before = trainee.logits(ids)
        trained = Lora(rank=4).attach(trainee)
        [p.normal_(0, 0.05) for key, p in trained.items() if ".lora_B." in key]
        changed = trainee.logits(ids)
        with trainee.as_it_began():
            assert torch.equal(trainee.logits(ids), before)
        assert torch.equal(trainee.logits(ids), changed)
    assert (changed - before).abs().max() > 0.01


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    checkpoint = open_checkpoint(talker(tmp_path_factory.mktemp("talker")))
    tokenizer = load_tokenizer(checkpoint)
    return Speaker(tokenizer, load_chat(checkpoint, tokenizer), 60)


def written(folder: Path, *rows: dict) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_prompt_is_text_or_messages(speaker, tmp_path):
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Bye"},
    ]
    path = written(
        tmp_path,
        {"prompt": "a b", "chosen": " c", "rejected": " d"},
        {"prompt": talk, "chosen": "Bye.", "rejected": "No."},
    )
    of_text, of_talk = read_preferences(path, speaker)
    assert shown(of_text.chosen, speaker.tokenizer) == "a b⟦ c<|im_end|>⟧"
    assert shown(of_text.rejected, speaker.tokenizer) == "a b⟦ d<|im_end|>⟧"
    assert shown(of_talk.rejected, speaker.tokenizer).endswith(
        "user\nBye<|im_end|>\n<|im_start|>assistant\n⟦No.<|im_end|>⟧\n"
    )
    assert shown(of_talk.chosen, speaker.tokenizer).count("⟦") == 1


def test_answers_may_be_messages(speaker, tmp_path):
    prompt = [{"role": "user", "content": "Hi"}]
    answers = {"chosen": "Yes.", "rejected": "No."}
    as_messages = {field: [{"role": "assistant", "content": text}] for field, text in answers.items()}
    one, other = read_preferences(
        written(tmp_path, {"prompt": prompt} | answers, {"prompt": prompt} | as_messages), speaker
    )
    assert other.chosen.ids.tolist() == one.chosen.ids.tolist()
    assert other.rejected.ids.tolist() == one.rejected.ids.tolist()


def test_tools_are_told_to_both_answers(speaker, tmp_path):
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]
    row = {"prompt": [{"role": "user", "content": "?"}], "chosen": "b", "rejected": "c", "tools": tools}
    roomy = replace(speaker, longest=1000)
    (pair,) = read_preferences(written(tmp_path, row), roomy)
    for sample in (pair.chosen, pair.rejected):
        assert "clock" in shown(sample, speaker.tokenizer).partition("⟦")[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {
                "prompt": [{"role": "user", "content": "a"}],
                "chosen": [{"role": "user", "content": "a"}],
                "rejected": "c",
            },
            "line 2: chosen is a list of 1; give a string, or the assistant's one message",
        ),
        (
            {"prompt": "a", "chosen": [{"role": "assistant", "content": "b"}], "rejected": "c"},
            "chosen is .*give a string",
        ),
        ({"prompt": "a", "chosen": "b"}, "line 2: has no 'rejected'; give 'prompt', 'chosen', 'rejected'"),
        ({"prompt": "a", "chosen": "b", "rejected": 3}, "line 2: rejected is '3'; give a string"),
        ({"prompt": 3, "chosen": "b", "rejected": "c"}, "line 2: prompt is no text and no list of messages"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "line 2: chosen and rejected are the same"),
        ({"prompt": "a", "chosen": "b " * 90, "rejected": "b"}, "line 2: has .* a sample may have 60"),
        ({"prompt": [{"role": "robot"}], "chosen": "b", "rejected": "c"}, "line 2: .*role is 'robot'"),
    ],
)
def test_bad_pairs_are_named(row, said, speaker, tmp_path):
    with pytest.raises(BadInput, match=said):
        read_preferences(written(tmp_path, {"prompt": "a", "chosen": "b", "rejected": "c"}, row), speaker)


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_a_run_learns_what_is_preferred(name, tmp_path):
    model, pairs = talker(tmp_path / "model", name), preferences(tmp_path / "pairs.jsonl")
    settings = Settings(steps=6, batch=8, context=64, pack=256, rank=4, rate=1e-2)
    run = Run("dpo", str(model), pairs, settings)
    assert run.example().count("⟦") == 2
    figures = list(run.train(tmp_path / "out"))
    assert figures[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)  # adapters begin as nothing
    assert figures[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert figures[-1]["loss"] < 0.6
    assert figures[-1]["margin"] > 0.2
    assert figures[-1]["accuracy"] > 0.9
    assert figures[-1]["held_out"] < figures[0]["held_out"]
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").exists()


def test_settings_of_other_methods_are_refused(tmp_path):
    with pytest.raises(BadInput, match="beta is given, and lora has no use for it; it is for dpo"):
        Settings(beta=0.1).check("lora")
    with pytest.raises(BadInput, match="beta is -1"):
        Settings(beta=-1).check("dpo")
