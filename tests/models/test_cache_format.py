"""What a cache is made of."""

import numpy as np
import pytest
from running import logits

from divebell import models
from divebell.errors import BadInput
from divebell.models import cache_format
from divebell.ops import native, reference
from divebell.weights.checkpoint import open_checkpoint

LAYOUT = [{"latent": 48}] * 3
IDS = np.random.default_rng(0).integers(0, 320, 200).tolist()


@pytest.mark.parametrize(("name", "expected"), [("f32", 3 * 48 * 4), ("bf16", 3 * 48 * 2), ("q8", 3 * (48 + 8))])
def test_bytes_of_a_token(name, expected):
    assert cache_format.bytes_per_token(name, LAYOUT) == expected


def test_unknown_formats_are_refused():
    with pytest.raises(BadInput, match="cache is 'q4'; it must be one of f32, bf16, q8"):
        cache_format.check("q4", LAYOUT)


def test_keys_and_values_have_no_bytes(tiny):
    with pytest.raises(BadInput, match="'q8', which is for latents"):
        models.load(open_checkpoint(tiny("llama")), native, cache="q8")


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("name", ["deepseek_v2-groups", "deepseek_v3"])
def test_logits_of_a_cache_in_bytes_are_near_those_in_float32(tiny, name, chunk):
    exact = logits(models.load(open_checkpoint(tiny(name)), reference, "f32"), IDS)
    for ops in (reference, native):
        near = logits(models.load(open_checkpoint(tiny(name)), ops, "f32", "q8"), IDS, chunk)
        error = np.median(np.abs(near - exact)) / exact.std()  # not the mean: a few tokens choose other experts
        assert 0 < error < 0.05
