"""A student that follows its teacher layer by layer comes nearer, in steps that a kill does not change."""

import numpy as np
import torch
from checkpoints import save

from divebell.tune import layerwise
from divebell.tune.full import Full
from divebell.tune.layerwise import follow
from divebell.tune.model import Trainee
from divebell.tune.walk import Walk
from divebell.weights.checkpoint import open_checkpoint

TEXTS = list(np.random.default_rng(6).integers(0, 320, (64, 48), np.int32))  # three parts


def trainee(folder) -> Trainee:
    found = Trainee(open_checkpoint(folder), "f32")
    Full().attach(found)
    return found


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
        assert (spoilt.logits(TEXTS) - teacher.logits(TEXTS)).square().mean() < 0.1 * apart
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
