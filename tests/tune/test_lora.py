"""LoRA against transformers and peft: the same curve, and adapters that peft loads."""

import numpy as np
import peft
import pytest
import torch
from checkpoints import build
from gguf_files import write as write_gguf
from torch.nn import functional

import divebell
from divebell.models import merge
from divebell.tune.loop import train
from divebell.tune.lora import Lora
from divebell.tune.model import Trainee
from divebell.tune.objective import Objective
from divebell.tune.optimizer import ADAM, Optimizer
from divebell.tune.samples import Sample
from divebell.tune.settings import Settings
from divebell.weights.adapter import read_adapter
from divebell.weights.checkpoint import open_checkpoint

RATE = 1e-3


def texts(count: int, seed: int = 0) -> list[np.ndarray]:
    """Texts with something to learn: they count upwards."""
    random = np.random.default_rng(seed)
    return [(random.integers(0, 320) + np.arange(random.integers(8, 40), dtype=np.int32)) % 320 for _ in range(count)]


def tuned(folder, method, steps: int, before=lambda parameters: None) -> tuple[Trainee, list[float]]:
    trainee = Trainee(open_checkpoint(folder), "f32")
    parameters = method.attach(trainee)
    before(parameters)
    samples = [Sample(ids, np.ones(len(ids), bool)) for ids in texts(2 * steps)]
    batches = [[samples[i : i + 2]] for i in range(0, len(samples), 2)]
    optimizer, loss = Optimizer("adamw", parameters, RATE), Objective(Settings()).loss
    return trainee, [step.loss for step in train(trainee, batches, loss, optimizer, lambda step: RATE)]


def peft_model(name: str, folder) -> peft.PeftModel:
    return peft.PeftModel.from_pretrained(build(name), folder, is_trainable=True)


@pytest.mark.parametrize(("name", "steps"), [("qwen2", 10), pytest.param("deepseek_v3", 50, marks=pytest.mark.slow)])
def test_the_loss_curve_is_that_of_peft(name, steps, tiny, tmp_path):
    method = Lora(rank=4, alpha=8)
    start = {}
    _, losses = tuned(tiny(name), method, steps, lambda p: start.update({k: v.detach().clone() for k, v in p.items()}))
    untrained = Trainee(open_checkpoint(tiny(name)), "f32")
    own = method.attach(untrained)
    with torch.no_grad():
        [own[key].copy_(value) for key, value in start.items()]
    model = peft_model(name, method.save(untrained, tmp_path)).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == sum(p.numel() for p in own.values())
    optimizer, all_texts = torch.optim.AdamW(trained, lr=RATE, weight_decay=0, **ADAM), texts(2 * steps)
    for step, loss in enumerate(losses):
        pair = [torch.from_numpy(ids).long() for ids in all_texts[2 * step : 2 * step + 2]]
        sums = [functional.cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="sum") for ids in pair]
        reference = sum(sums) / sum(len(ids) - 1 for ids in pair)
        reference.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert loss == pytest.approx(reference.item(), abs=1e-3), f"step {step}"


@pytest.mark.parametrize("name", ["llama-tied-llama3", "deepseek_v2-lite", "deepseek_v3"])
def test_peft_loads_what_was_trained(name, tiny, tmp_path):
    method = Lora(rank=4, alpha=8)
    trainee, _ = tuned(tiny(name), method, 3)
    ids = texts(1, seed=9)[0]
    with torch.no_grad():
        expected = peft_model(name, method.save(trainee, tmp_path)).eval()(torch.from_numpy(ids)[None].long()).logits[0]
        logits, before = trainee.logits([ids]), build(name)(torch.from_numpy(ids)[None].long()).logits[0]
    assert (logits - expected).abs().max() <= 2e-4 * expected.std()
    assert (logits - before).abs().max() > 0.01 * expected.std()


@pytest.mark.parametrize("name", ["llama-tied-llama3", "qwen2", "deepseek_v2-lite", "deepseek_v3"])
def test_what_was_trained_is_what_is_served_beside_the_weights(name, tiny, tmp_path):
    """From the checkpoint, and from a GGUF of it, whose rows and names are others."""
    ids = texts(1, seed=9)[0]
    for base in (tiny(name), write_gguf(build(name), tmp_path / "base.gguf")):
        method = Lora(rank=4, alpha=8)
        trainee, _ = tuned(base, method, 3)
        out = method.save(trainee, tmp_path)
        with torch.no_grad():
            expected = trainee.logits([ids]).numpy()
        for served in (tiny(name), tmp_path / "base.gguf"):
            with divebell.load(served, "f32", context=256, adapters={"own": out}) as llm:
                assert np.abs(llm.logits(ids, adapter="own") - expected).max() <= 2e-4 * expected.std()
                assert np.abs(llm.logits(ids) - expected).max() > 0.01 * expected.std()


@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral", "deepseek_v2-lite", "deepseek_v3"])
def test_what_was_trained_is_what_is_served_merged(name, tiny, tmp_path):
    """In float32, and in nats of divergence with 8 bits, which choose another expert for a few tokens."""
    torch.manual_seed(0)
    method, given = Lora(rank=4, alpha=8), texts(40, seed=9)
    trainee, _ = tuned(tiny(name), method, 3)
    merge.plan(trainee.checkpoint, read_adapter(method.save(trainee, tmp_path))).write(tmp_path / "merged")
    with torch.no_grad():
        expected = [trainee.logits([ids]) for ids in given]
    with divebell.load(tmp_path / "merged", "f32", context=256) as llm:
        for ids, rows in zip(given, expected, strict=True):
            assert np.abs(llm.logits(ids) - rows.numpy()).max() <= 2e-4 * rows.std()
    with divebell.load(tmp_path / "merged", "q8", context=256) as llm:
        found = torch.cat([torch.from_numpy(llm.logits(ids)) for ids in given]).log_softmax(-1)
    rows = torch.cat(expected).log_softmax(-1)
    assert functional.kl_div(found, rows, log_target=True, reduction="batchmean") <= 0.01


def test_the_router_is_left_alone_unless_asked(tiny):
    names = [
        set(Lora(kinds=kinds).attach(Trainee(open_checkpoint(tiny("deepseek_v3")))))
        for kinds in (("experts",), ("experts", "router"))
    ]
    assert {name.split(".mlp.")[1] for name in names[1] - names[0]} == {"gate.lora_A.weight", "gate.lora_B.weight"}
