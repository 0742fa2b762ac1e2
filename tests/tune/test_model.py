"""Whole tiny models of every class on torch: logits as transformers and the other hands have them, and gradients."""

import numpy as np
import pytest
import torch
from checkpoints import SHAPES, build
from gradients import transformers_gradients
from torch.nn import functional

from divebell.tune.model import Trainee
from divebell.weights.checkpoint import open_checkpoint

IDS = np.random.default_rng(3).integers(0, 320, 96, np.int32)
TOLERANCE = 1e-4


def thawed(folder) -> Trainee:
    trainee = Trainee(open_checkpoint(folder), "f32")
    for weight in trainee.weights.values():
        [each.thaw() for each in (weight if isinstance(weight, list) else [weight])]
    for vector in trainee.vectors.values():
        vector.requires_grad_(True)
    return trainee


def gradient(trainee: Trainee, name: str) -> torch.Tensor | None:
    if name in trainee.vectors:
        return trainee.vectors[name].grad
    weight = trainee.weights[name]
    if not isinstance(weight, list):
        return weight.dense.grad
    own = [torch.zeros(w.shape) if w.dense.grad is None else w.dense.grad for w in weight]
    return torch.stack(own)


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_of_a_whole_model(name, tiny):
    trainee = thawed(tiny(name))
    loss = functional.cross_entropy(trainee.logits([IDS])[:-1], torch.from_numpy(IDS[1:]).long())
    loss.backward()
    expected, gradients = transformers_gradients(trainee, name, IDS.tolist())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    for own, reference in gradients.items():
        if reference is None:
            assert own.endswith("router_bias")
            continue
        error = (gradient(trainee, own) - reference).norm() / reference.norm()
        assert error <= TOLERANCE, f"{own}: {error:.2e}"


@pytest.mark.parametrize("name", ["llama-tied-llama3", "mistral-window", "deepseek_v2-groups", "deepseek_v3"])
def test_packed_samples_do_not_see_each_other(name, tiny):
    trainee = Trainee(open_checkpoint(tiny(name)))
    packed = trainee.logits([IDS[:40], IDS[40:41], IDS[10:]])
    alone = torch.cat([trainee.logits([part]) for part in (IDS[:40], IDS[40:41], IDS[10:])])
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["qwen2", "deepseek_v3"])
def test_frozen_blocks_pass_gradients_on(name, tiny):
    """The same gradient of the embedded rows, whether weights are the kernels' or torch's own; and when recomputed."""
    whole = thawed(tiny(name))
    frozen = Trainee(open_checkpoint(tiny(name)), "f32")
    frozen.recompute_layers()
    for trainee in (whole, frozen):
        trainee.vectors["layers.0.attention_norm"].requires_grad_(True)
        trainee.logits([IDS]).square().mean().backward()
    own, other = (t.vectors["layers.0.attention_norm"].grad for t in (whole, frozen))
    assert (own - other).norm() / own.norm() <= TOLERANCE


@pytest.mark.parametrize("name", ["qwen2", "deepseek_v3"])
def test_logits_are_those_of_transformers(name, tiny):
    with torch.no_grad():
        reference = build(name)(torch.from_numpy(IDS)[None].long()).logits[0]
        logits = Trainee(open_checkpoint(tiny(name)), "f32").logits([IDS])
    assert (logits - reference).abs().max() <= 2e-4 * reference.std()
