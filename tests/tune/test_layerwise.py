"""A student that follows its teacher layer by layer: the sums against formulas, and that it comes nearer."""

import numpy as np
import pytest
import torch
from checkpoints import save

from divebell.ops.torch import Weight
from divebell.tune import layerwise
from divebell.tune.full import Full
from divebell.tune.layerwise import _fed, _fit, _Stream, follow
from divebell.tune.model import Trainee
from divebell.tune.walk import Walk
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.formats import F32
from divebell.weights.tensor import Tensor

TEXTS = list(np.random.default_rng(6).integers(0, 320, (12, 48), np.int32))


def trainee(folder) -> Trainee:
    found = Trainee(open_checkpoint(folder), "f32")
    Full().attach(found)
    return found


def weight(numbers: np.ndarray) -> Weight:
    made = Weight(Tensor("w", F32, numbers.shape, numbers.astype(np.float32).reshape(-1).view(np.uint8)))
    made.thaw()
    return made


@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "deepseek_v2-lite"])
def test_a_block_is_the_sum_of_what_goes_into_its_last_matrices(name, tiny):
    own = _Stream(trainee(tiny(name)), TEXTS[:2])
    with torch.no_grad():
        for index in (0, 2):
            added, inputs = _fed(own, index)
            again = sum(x @ w.dense.T for w, x in inputs.items())
            torch.testing.assert_close(added, again, rtol=1e-4, atol=1e-4)
    assert len(inputs) == (1 if name == "llama" else 17)


def test_the_fit_is_least_squares():
    """Tokens count by the size of the stream that they are in; what was set aside tells how it is damped."""
    random = np.random.default_rng(1)
    x, wanted = random.normal(size=(400, 12)), random.normal(size=(12, 6))
    target = random.normal(size=(400, 6)) * np.exp(random.normal(size=(400, 1)))
    missing = x @ wanted + 0.1 * target
    matrices = [weight(random.normal(size=(6, n))) for n in (8, 4)]
    before = [matrix.dense.detach().numpy().copy() for matrix in matrices]
    inputs = dict(zip(matrices, torch.from_numpy(x).float().split([8, 4], 1), strict=True))
    with torch.no_grad():
        added = _fit(inputs, torch.from_numpy(missing).float(), torch.from_numpy(target).float())
    counts = 1 / np.sqrt((target**2).mean(axis=1, keepdims=True))
    ridge = np.sqrt(1e-3 * np.mean(((x * counts) ** 2).sum(axis=0)))
    rows = np.concatenate([x * counts, ridge * np.eye(12)])
    right = np.linalg.lstsq(rows, np.concatenate([missing * counts, np.zeros((12, 6))]), rcond=None)[0]
    change = np.concatenate([m.dense.detach().numpy() - b for m, b in zip(matrices, before, strict=True)], axis=1)
    np.testing.assert_allclose(change.T, right, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(added.numpy(), x @ right, rtol=1e-3, atol=1e-2)


def test_what_can_not_be_told_is_left_alone():
    random = np.random.default_rng(2)
    matrix = weight(random.normal(size=(6, 12)))
    before = matrix.dense.detach().clone()
    x, missing = (torch.from_numpy(random.normal(size=(40, n))).float() for n in (12, 6))
    with torch.no_grad():
        added = _fit({matrix: x}, missing, torch.ones(40, 6))
    assert not added.any()
    assert torch.equal(matrix.dense, before)


def test_a_student_comes_nearer_layer_by_layer(tmp_path):
    """One whose last matrices were spoilt, so that they can be made good."""
    teacher = Trainee(open_checkpoint(save("llama", tmp_path / "llama")), "f32")
    spoilt = trainee(tmp_path / "llama")
    with torch.no_grad():
        for name, matrix in spoilt.weights.items():
            if name.endswith((".o", ".down")):
                matrix.dense *= 0.7
        apart = (spoilt.logits(TEXTS) - teacher.logits(TEXTS)).square().mean()
        told = list(follow(spoilt, teacher, TEXTS))
        assert (spoilt.logits(TEXTS) - teacher.logits(TEXTS)).square().mean() < 0.02 * apart
    assert all(after < before for before, after in told)


def spoilt_in_two_ways(folder) -> Trainee:
    """Its last matrices, and queries, so that blocks are trained."""
    found = trainee(folder)
    with torch.no_grad():
        for name, matrix in found.weights.items():
            if name.endswith((".o", ".down", ".q")):
                matrix.dense *= 0.7
    return found


def test_what_was_broken_off_goes_on_to_the_same_end(tmp_path):
    folder = save("llama", tmp_path / "llama")
    teacher = Trainee(open_checkpoint(folder), "f32")
    whole, first, second = (spoilt_in_two_ways(folder) for _ in range(3))
    told = list(follow(whole, teacher, TEXTS))
    (tmp_path / "walk").mkdir()
    walk = follow(first, teacher, TEXTS, Walk(tmp_path / "walk"))
    assert [next(walk), next(walk)] == told[:2]
    (tmp_path / "walk" / "layer-2.safetensors").write_bytes(b"of a layer that was not done")
    assert list(follow(second, teacher, TEXTS, Walk(tmp_path / "walk"))) == told
    for name, matrix in whole.weights.items():
        assert torch.equal(matrix.dense, second.weights[name].dense)


def test_blocks_that_are_the_teachers_are_not_trained(tmp_path, monkeypatch):
    folder, trained = save("llama", tmp_path / "llama"), []
    monkeypatch.setattr(layerwise, "learn", lambda block, matrices, *rest: trained.append(len(matrices)))
    teacher = Trainee(open_checkpoint(folder), "f32")
    list(follow(trainee(folder), teacher, TEXTS))
    assert trained == []
    list(follow(spoilt_in_two_ways(folder), teacher, TEXTS))
    assert trained == [4, 3] * teacher.config.layers  # q, k, v, o; gate, up, down
