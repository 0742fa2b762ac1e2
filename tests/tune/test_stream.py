"""What goes into a block's last matrices, against what the block adds."""

import numpy as np
import pytest
import torch

from divebell.tune.full import Full
from divebell.tune.model import Trainee
from divebell.tune.stream import Attention, FeedForward, Stream, matrices
from divebell.weights.checkpoint import open_checkpoint

TEXTS = list(np.random.default_rng(6).integers(0, 320, (30, 48), np.int32))  # two parts


def stream(folder) -> Stream:
    trainee = Trainee(open_checkpoint(folder), "f32")
    Full().attach(trainee)
    return Stream(trainee, TEXTS)


@pytest.mark.parametrize("kind", [Attention, FeedForward])
@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "deepseek_v2-lite"])
@torch.no_grad()
def test_a_block_is_what_goes_into_its_last_matrices_times_them(name, kind, tiny):
    own = stream(tiny(name))
    for block in (kind(own, 0), kind(own, 2)):
        for part in own.parts:
            added, x = block.entered(part)
            torch.testing.assert_close(added, block(part), rtol=1e-5, atol=1e-5)  # experts' sums in another order
            again = x @ torch.cat([weight.dense for weight in block.last], 1).T
            torch.testing.assert_close(added, again, rtol=1e-4, atol=1e-4)
    assert len(own.parts) == 2
    assert len(block.last) == (17 if kind is FeedForward and name != "llama" else 1)


@torch.no_grad()
def test_the_blocks_one_after_the_other_are_the_model(tiny):
    own = stream(tiny("deepseek_v3"))
    for index in range(own.trainee.config.layers):
        own.pass_on(Attention(own, index))
        own.pass_on(FeedForward(own, index))
    norm = own.trainee.vectors["norm"]
    ended = torch.nn.functional.rms_norm(own.state, norm.shape, norm, own.trainee.config.eps)
    torch.testing.assert_close(ended, own.trainee.hidden(TEXTS), rtol=1e-4, atol=1e-4)


def test_each_matrix_that_is_trained_belongs_to_one_block(tiny):
    own = stream(tiny("deepseek_v2-lite"))
    blocks = [kind(own, index) for index in range(own.trainee.config.layers) for kind in (Attention, FeedForward)]
    found = {id(matrix) for block in blocks for matrix in matrices(block)}
    assert len(found) == sum(len(matrices(block)) for block in blocks)
    assert all({id(weight.dense) for weight in block.last} <= found for block in blocks)
