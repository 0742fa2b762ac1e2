"""Dense blocks as mixtures of experts: exact with all of them, the same in transformers, and better than chance."""

import numpy as np
import pytest
import torch
import transformers
from checkpoints import save
from running import logits as run

from divebell import models
from divebell.convert.calibration import calibrate
from divebell.convert.experts import Division, Mixtures, division, grouped, mixture, mlp_inputs, parts_of
from divebell.convert.grouped import Source
from divebell.convert.mla import Conversion
from divebell.convert.write import write
from divebell.errors import BadInput
from divebell.ops import native, reference
from divebell.weights.checkpoint import open_checkpoint

RANDOM = np.random.default_rng(4)
IDS = RANDOM.integers(0, 320, 96, np.int32)
TEXTS = RANDOM.integers(0, 320, (4, 64)).tolist()
EXACT = 1e-3
DIVIDED = division(128, 8)


def converted(folder, out, pieces=8, **changes) -> Mixtures:
    source = Source(open_checkpoint(folder))
    mixtures = Mixtures(source, TEXTS, pieces)
    for name, value in changes.items():
        object.__setattr__(mixtures.division, name, value)
    write(Conversion(source, calibrate(source, TEXTS)), out, mixtures)
    return mixtures


def logits(folder) -> np.ndarray:
    return run(models.load(open_checkpoint(folder), native, "f32"), IDS)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def dense(request, tmp_path_factory):
    return save(request.param, tmp_path_factory.mktemp("dense") / request.param, intermediate_size=128)


def test_with_all_experts_nothing_changes(dense, tmp_path):
    converted(dense, tmp_path / "moe", chosen=6)
    before = logits(dense)
    assert abs(logits(tmp_path / "moe") - before).max() <= EXACT * before.std()


def test_half_of_them_are_active_and_transformers_says_the_same(dense, tmp_path):
    converted(dense, tmp_path / "moe")
    described = models.describe(open_checkpoint(tmp_path / "moe"))
    assert (described.experts, described.active_experts) == (6, 2)
    assert DIVIDED.active == 0.5
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "moe", dtype=torch.float32).eval()
    assert type(loaded).__name__ == "DeepseekV3ForCausalLM"
    with torch.no_grad():
        right = loaded(torch.from_numpy(IDS)[None].long()).logits[0].numpy()
    # Of two experts that are all but equal, either may be chosen.
    away = abs(logits(tmp_path / "moe") - right).max(axis=1)
    assert (away <= 2e-4 * right.std()).mean() > 0.97


def test_what_is_stored_in_bfloat16_stays_so(tmp_path):
    folder = save("llama", tmp_path / "llama", dtype=torch.bfloat16, intermediate_size=128)
    converted(folder, tmp_path / "moe", chosen=6)
    tensors = open_checkpoint(tmp_path / "moe").tensors
    assert tensors["model.layers.0.mlp.experts.3.down_proj.weight"].format.name == "BF16"
    assert tensors["model.layers.0.mlp.gate.weight"].format.name == "F32"
    before = logits(folder)
    assert abs(logits(tmp_path / "moe") - before).max() <= EXACT * before.std()


def block_of_four_topics() -> tuple[np.ndarray, list[np.ndarray]]:
    """Inputs of four kinds, each of which moves neurons of its own, 24 of 96; 32 more are always active."""
    topics = RANDOM.integers(0, 4, 1024)
    x = RANDOM.normal(0, 0.1, (1024, 16)).astype(np.float32)
    x[np.arange(1024), topics] += 2
    x[:, 15] = 1
    gate = np.zeros((128, 16), np.float32)
    gate[np.arange(128) < 32, 15] = 4
    for neuron in range(32, 128):
        gate[neuron, (neuron * 7) % 4] = 3
        gate[neuron, 15] = -3
    up = RANDOM.normal(0, 0.1, (128, 16)).astype(np.float32)
    up[:, 15] += 1 + (np.arange(128) < 32)
    return x, [gate, up, RANDOM.normal(0, 1, (16, 128)).astype(np.float32)]


def test_neurons_that_are_active_together_come_together():
    x, block = block_of_four_topics()
    divided = Division(shared=2, routed=6, chosen=2, width=16)
    order = mixture(x, block, divided).order
    assert sorted(order.tolist()) == list(range(128))
    assert sorted(order[:32].tolist()) == list(range(32))
    purity = [np.bincount((own * 7) % 4).max() / 16 for own in order[32:].reshape(6, 16)]
    assert np.mean(purity) > 0.8


def test_the_router_finds_the_experts_that_add_most():
    x, block = block_of_four_topics()
    divided = Division(shared=2, routed=6, chosen=2, width=16)
    found = mixture(x, block, divided)
    parts = parts_of(block, found, divided)
    added = np.stack(
        [
            np.linalg.norm(reference.gated(x @ g.T, x @ u.T) @ d.T, axis=1)
            for g, u, d in zip(*(parts[f"experts.{part}"] for part in ("gate", "up", "down")), strict=True)
        ],
        axis=1,
    )
    choice = 1 / (1 + np.exp(-x @ found.router.T)) + found.bias
    chosen, best = (np.sort(np.argsort(-each, axis=1)[:, :2], axis=1) for each in (choice, added))
    by_choice, by_best = (np.take_along_axis(added, each, 1).sum() for each in (chosen, best))
    assert by_choice > 0.95 * by_best
    assert by_choice > 1.3 * added.mean(axis=1).sum() * 2


def test_groups_have_one_size():
    active = abs(RANDOM.normal(size=(60, 40)))
    assert np.bincount(grouped(active, 5)).tolist() == [12] * 5


def test_inputs_are_what_each_block_is_given(dense):
    source = Source(open_checkpoint(dense))
    inputs = mlp_inputs(source, TEXTS[:2])
    model = transformers.AutoModelForCausalLM.from_pretrained(dense, dtype=torch.float32).eval()
    seen = []
    model.model.layers[1].mlp.register_forward_pre_hook(lambda module, given: seen.append(given[0][0]))
    with torch.no_grad():
        [model(torch.tensor([ids])) for ids in TEXTS[:2]]
    right = torch.cat(seen).numpy()
    assert abs(inputs[1] - right).max() <= 5e-3 * abs(right).max()


def test_pieces_that_cannot_be_are_refused():
    assert division(1536, 16) == Division(shared=4, routed=12, chosen=4, width=96)
    for pieces in (0, 2, 7, 10, 128):
        with pytest.raises(BadInput, match=f"experts is {pieces}; .*: 4, 6, 8, 12, 16, 24, 32, 48, 96"):
            division(1536, pieces)
