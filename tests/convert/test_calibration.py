"""Sums over attention, against the formulas that define them, one query and key at a time."""

import numpy as np
import pytest
from checkpoints import build

from divebell.convert.calibration import calibrate
from divebell.convert.grouped import Source
from divebell.convert.latent import factorise
from divebell.convert.rotary import components, counts
from divebell.weights.checkpoint import open_checkpoint

IDS = np.random.default_rng(5).integers(0, 320, 24).tolist()


@pytest.fixture(scope="module")
def source(tiny):
    return Source(open_checkpoint(tiny("llama")))


@pytest.fixture(scope="module")
def first(source):
    """Statistics of layer 0."""
    return calibrate(source, [IDS])[0]


def test_errors_of_scores_count_by_what_the_output_would_feel(source, first):
    import torch

    model = build("llama")
    ids = torch.tensor([IDS])
    probabilities = model.set_attn_implementation("eager") or model(ids, output_attentions=True).attentions[0][0]
    x = model.model.layers[0].input_layernorm(model.model.embed_tokens(ids))[0]
    values = model.model.layers[0].self_attn.v_proj(x).view(len(IDS), 2, 16)
    felt, output = np.zeros((4, len(IDS))), source.output(0)
    for head in range(4):
        own = values[:, head // 2].detach().numpy()
        for t in range(len(IDS)):
            p = probabilities[head, t].detach().numpy()
            for s in range(t + 1):
                felt[head, t - s] += p[s] ** 2 * ((output[:, head] @ (own[s] - p @ own)) ** 2).sum()
    np.testing.assert_allclose(first.felt[:, : len(IDS)], felt, rtol=1e-3, atol=1e-6)
    moments = np.column_stack([x.detach().numpy(), np.ones(len(IDS))])
    np.testing.assert_allclose(first.moments, moments.T @ moments, rtol=1e-3, atol=1e-3)
    assert first.tokens == len(IDS)


def test_components_hold_all_of_the_keys(source, first):
    attention = source.attention(0)
    found = components(attention, first, source.rope.frequencies, source.scale)
    np.testing.assert_allclose((found.parts @ found.keys).transpose(1, 0, 2), attention.k, atol=1e-9)
    assert (np.diff(found.losses, axis=1) <= 0).all()


def test_those_that_lose_most_keep_rope():
    losses = np.array([[9.0, 0.1], [5.0, 4.0], [1.0, 0.0]])
    assert counts(losses, 3).tolist() == [1, 2, 0]
    assert counts(losses, 5).tolist() == [2, 2, 1]


def test_what_the_latent_loses_is_as_predicted(source, first):
    """The squared error of values and keys, by the metric that is minimised, over the very text of the calibration."""
    attention = source.attention(0)
    found = components(attention, first, source.rope.frequencies, source.scale)
    kept = np.full(8, 2)  # all keys, so that the latent has values alone
    lost = []
    for rank in (8, 20, 32):
        factors = factorise(attention, found, first, kept, rank, source.scale)
        up = np.concatenate([factors.up, factors.mean[..., None]], axis=-1)
        down = np.concatenate([factors.down, np.eye(65)[-1:]])
        errors = (up @ down)[:, -16:] - attention.v
        lost.append(
            sum(
                first.value_weights[head]
                * np.trace(o @ errors[head // 2] @ first.covariance @ errors[head // 2].T @ o.T)
                for head, o in enumerate(attention.o.transpose(1, 0, 2))
            )
        )
        assert lost[-1] == pytest.approx(factors.loss, rel=0.05, abs=1e-6)
    assert lost[0] > lost[1] > 10 * lost[2]
