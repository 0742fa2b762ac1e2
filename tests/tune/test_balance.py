"""Loads of experts: counted, moved by their biases, and evened within sequences, against plain formulas."""

import json

import numpy as np
import pytest
import torch
from talkers import rows, talker

from divebell.errors import BadInput
from divebell.ops import Router
from divebell.ops.torch import route
from divebell.tune.balance import excess, move, sequence_loss
from divebell.tune.model import Trainee
from divebell.tune.objective import Objective
from divebell.tune.run import Run
from divebell.tune.samples import Sample
from divebell.tune.settings import Settings
from divebell.tune.whole import Whole
from divebell.weights.checkpoint import open_checkpoint

QUICK = {"steps": 4, "batch": 4, "context": 64, "pack": 64, "rate": 1e-2}


IDS = np.arange(20, dtype=np.int32) * 7


def objective(trainee: Trainee, **settings: float) -> Whole:
    whole = Whole(Settings(**settings))
    whole.prepared(trainee, None, []).__enter__()
    return whole


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(talker(tmp_path_factory.mktemp("model"), "deepseek_v3"))


def plain_sequence_loss(scores: np.ndarray, top_k: int) -> float:
    """DeepSeek-V3, equations 17 to 20, without alpha."""
    tokens, experts = scores.shape
    total = 0.0
    for i in range(experts):
        f = sum(experts / (top_k * tokens) for s in scores if s[i] in np.sort(s)[-top_k:])
        p = sum(s[i] / s.sum() for s in scores) / tokens
        total += f * p
    return total


def test_the_loss_within_sequences_is_the_formula():
    scores = np.random.default_rng(0).uniform(0.01, 1, (30, 8))
    parts = [scores[:11], scores[11:12], scores[12:]]
    losses = sequence_loss(torch.from_numpy(scores).float(), [11, 1, 18], 3)
    assert losses.tolist() == pytest.approx([plain_sequence_loss(part, 3) for part in parts], rel=1e-5)


def test_its_gradient_lowers_experts_that_are_chosen_often():
    scores = torch.full((20, 4), 0.5)
    scores[:, 0] = 0.9
    scores.requires_grad_(True)
    sequence_loss(scores, [20], 1).sum().backward()
    assert (scores.grad[:, 0] > 0).all()
    assert (scores.grad[:, 1:] < 0).all()


def test_biases_move_by_the_sign_of_what_is_missing():
    bias = torch.tensor([0.5, 0.5, 0.5, -1.0])
    move(bias, torch.tensor([10, 0, 4, 2]), 0.001)
    assert bias.tolist() == pytest.approx([0.499, 0.501, 0.5, -0.999])


def test_moving_evens_a_skewed_choice():
    logits = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0)) + torch.linspace(-2, 2, 8)
    bias, router = torch.zeros(8), Router(top_k=2, score="sigmoid")

    def counts() -> torch.Tensor:
        return route(logits, bias, router)[0].flatten().bincount(minlength=8)

    before = excess(counts().tolist())
    for _ in range(500):
        move(bias, counts(), 0.002)
    assert before > 1.0
    assert excess(counts().tolist()) < 0.05


def metrics(out) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def bias_of(folder, layer: int) -> np.ndarray:
    return open_checkpoint(folder).tensors[f"model.layers.{layer}.mlp.gate.e_score_correction_bias"].f32()


@pytest.mark.parametrize("speed", [0.0, 0.01])
def test_a_run_moves_biases_by_the_loads_that_it_tells(speed, model, tmp_path):
    run = Run("full", model, rows(tmp_path / "rows.jsonl"), Settings(balance=speed, **QUICK))
    list(run.train(tmp_path / "out"))
    lines = metrics(tmp_path / "out")
    for layer in (1, 2):
        loads = np.array([line["load"][f"layers.{layer}"] for line in lines])
        assert (loads.sum(1) == [4 * line["tokens"] for line in lines]).all()
        moved = speed * np.sign(loads.mean(1, keepdims=True) - loads).sum(0)
        np.testing.assert_allclose(bias_of(run.result, layer), bias_of(model, layer) + moved, atol=1e-6)


def test_the_objective_adds_the_loss_of_every_layer(model):
    trainee = Trainee(open_checkpoint(model), "f32")
    pack = [Sample(np.arange(n, dtype=np.int32) * 5, np.ones(n, bool)) for n in (12, 30)]
    even = objective(trainee, sequence_balance=0.5)
    sums = even.loss(trainee, pack)
    expected = 0.0
    for moe in trainee.mixtures.values():
        scores = moe.choose.logits.sigmoid().detach().double().numpy()
        expected += 0.5 * (11 * plain_sequence_loss(scores[:12], 4) + 29 * plain_sequence_loss(scores[12:], 4))
    assert sums["balance"].item() == pytest.approx(expected, rel=1e-4)


def test_the_figure_is_of_next_tokens_and_the_gradient_of_all(model):
    trainee = Trainee(open_checkpoint(model), "f32")
    norm, pack = trainee.vectors["layers.0.attention_norm"].requires_grad_(True), [Sample(IDS, np.ones(20, bool))]

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, norm)[0]

    plain = Objective(Settings()).loss(trainee, pack)["loss"]
    sums = objective(trainee, sequence_balance=50.0).loss(trainee, pack)
    assert sums["loss"].item() == pytest.approx(plain.item(), rel=1e-6)
    alone = objective(trainee, sequence_balance=50.0).loss(trainee, pack)["balance"]
    torch.testing.assert_close(gradient(sums["loss"]), gradient(plain) + gradient(alone), rtol=1e-4, atol=1e-5)


def test_layers_that_are_run_again_are_counted_once(model):
    trainee = Trainee(open_checkpoint(model), "f32")
    whole = objective(trainee, sequence_balance=0.5)
    trainee.recompute_layers()
    trainee.vectors["layers.0.attention_norm"].requires_grad_(True)
    whole.loss(trainee, [Sample(IDS, np.ones(20, bool))])["loss"].backward()
    assert [sum(load) for load in whole.stepped()["load"].values()] == [80, 80]


def test_a_dense_model_has_no_loads(tiny):
    trainee = Trainee(open_checkpoint(tiny("llama")))
    whole = objective(trainee, balance=0.001, sequence_balance=1e-4)
    assert whole.loss(trainee, [Sample(IDS, np.ones(20, bool))])["balance"].item() == 0
    assert whole.stepped() == {}


def test_adapters_leave_the_balance_alone(model, tmp_path):
    data = rows(tmp_path / "rows.jsonl")
    with pytest.raises(BadInput, match="balance is given, and lora has no use for it; it is for full and new"):
        Run("lora", model, data, Settings(balance=0.001))
    with pytest.raises(BadInput, match="balance is -1"):
        Run("full", model, data, Settings(balance=-1.0))
