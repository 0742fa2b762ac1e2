"""What flows into each matrix, against the same model in transformers with hooks on its layers."""

import numpy as np
import pytest
import torch
from checkpoints import build, save
from gguf_files import write

from divebell.engine.importance import importance
from divebell.weights.checkpoint import open_checkpoint

TEXTS = [np.random.default_rng(i).integers(0, 320, 60).tolist() for i in range(2)]


def mean_squares(model) -> dict[str, np.ndarray]:
    """Name of each linear layer -> mean square of each of its inputs."""
    fed: dict[str, list] = {}

    def note(name):
        return lambda _, inputs: fed.setdefault(name, []).append(inputs[0].detach().reshape(-1, inputs[0].shape[-1]))

    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_pre_hook(note(name))
    with torch.no_grad():
        for ids in TEXTS:
            model(torch.tensor(ids)[None])
    return {name: (torch.cat(inputs) ** 2).mean(0).numpy() for name, inputs in fed.items()}


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected + 0.01 * expected.mean(), rtol=0.05, atol=0.02 * expected.mean())


@pytest.mark.parametrize("name", ["llama", "qwen2", "llama-biases-wide-heads"])
def test_every_matrix_of_a_dense_model(name, tmp_path):
    watch = importance(open_checkpoint(save(name, tmp_path / "m")), TEXTS)
    for layer, expected in mean_squares(build(name)).items():
        if "biases" in name and "down_proj" in layer:
            assert watch.of(f"{layer}.weight") is not None
        close(watch.of(f"{layer}.weight"), expected)


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_experts_are_fed_the_tokens_that_chose_them(kind, tmp_path):
    model = build("deepseek_v3")
    if kind == "folder":
        watch = importance(open_checkpoint(save("deepseek_v3", tmp_path / "m")), TEXTS)
    else:
        watch = importance(open_checkpoint(write(model, tmp_path / "m.gguf")), TEXTS)
    chosen, inputs = [], []
    block = model.model.layers[1].mlp
    block.register_forward_pre_hook(lambda _, x: inputs.append(x[0].reshape(-1, 64)))
    block.experts.register_forward_pre_hook(lambda _, x: chosen.append(x[1]))
    with torch.no_grad():
        for ids in TEXTS:
            model(torch.tensor(ids)[None])
    x, ids = torch.cat(inputs), torch.cat(chosen)
    expected = [(x[(ids == e).any(1)] ** 2).mean(0).numpy() for e in range(4)]
    stack = None if kind == "folder" else watch.of("blk.1.ffn_up_exps.weight", 16)
    for e in range(4):
        found = watch.of(f"model.layers.1.mlp.experts.{e}.up_proj.weight") if stack is None else stack[e]
        close(found, expected[e])


def test_an_expert_that_no_token_chose_has_the_average(tmp_path):
    path = write(build("deepseek_v3"), tmp_path / "m.gguf")
    stack = importance(open_checkpoint(path), [[1]]).of("blk.1.ffn_down_exps.weight", 16)
    assert stack.shape == (16, 32)
    assert (stack > 0).all()
    assert len(np.unique(stack, axis=0)) == 5


def test_what_was_not_fed_is_not_known(tmp_path):
    watch = importance(open_checkpoint(save("llama", tmp_path / "m")), TEXTS)
    assert watch.of("model.embed_tokens.weight") is None
