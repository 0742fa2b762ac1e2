"""The same weights as GGUF: the architecture's other names, permuted heads, split projections, rope factors."""

import gguf
import numpy as np
import pytest
import torch
from checkpoints import build
from gguf_files import write
from routing import Margins
from running import logits

from divebell import models
from divebell.errors import Mismatch, Unsupported
from divebell.ops import reference as ops
from divebell.weights.checkpoint import open_checkpoint

Q8 = gguf.GGMLQuantizationType.Q8_0
TOLERANCE = 2e-4
IDS = np.random.default_rng(3).integers(0, 320, 200).tolist()


def reference(model) -> tuple[np.ndarray, np.ndarray]:
    margins = Margins(model)
    with torch.no_grad():
        rows = model(torch.tensor(IDS)[None]).logits[0].numpy()
    margins.remove()
    return rows, margins.tied(len(IDS))


def largest_difference(path, model, tokens: int = len(IDS)) -> float:
    rows, tied = reference(model)
    ours = logits(models.load(open_checkpoint(path), ops, "f32"), IDS)
    return float((np.abs(ours - rows).max(axis=1) / rows.std())[~tied].max())


DENSE = ["llama", "llama-tied-llama3", "llama-biases-wide-heads", "mistral", "qwen2", "qwen2-tied-window"]
LATENT = ["deepseek_v2-lite", "deepseek_v2-groups", "deepseek_v3", "deepseek_v3-moonlight", "deepseek_v3-kimi"]


@pytest.mark.parametrize("name", [*DENSE, *LATENT])
def test_float32_gguf_gives_the_logits_of_transformers(name, tmp_path):
    changes = {"mlp_bias": False} if "biases" in name else {"use_sliding_window": False} if "window" in name else {}
    model = build(name, **changes)
    assert largest_difference(write(model, tmp_path / "m.gguf"), model) <= TOLERANCE


@pytest.mark.parametrize("name", ["deepseek_v2-lite", "deepseek_v3"])
def test_undivided_kv_b(name, tmp_path):
    model = build(name)
    assert largest_difference(write(model, tmp_path / "m.gguf", split=False), model) <= TOLERANCE


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_q8_0_gguf_computes_with_the_rounded_weights(name, tmp_path):
    """Against the same model holding what the blocks decode to, k and q put back into transformers' order."""
    model = build(name)
    path = write(model, tmp_path / "m.gguf", split=False, form=Q8)
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if tensor.dim() > 1 and tensor.shape[-1] % 32 == 0 and not key.endswith("mlp.gate.weight"):
                rounded = gguf.dequantize(gguf.quantize(tensor.numpy(), Q8), Q8)
                tensor.copy_(torch.tensor(rounded.reshape(tensor.shape)))
    assert largest_difference(path, model) <= TOLERANCE


def test_groups_of_files_older_than_their_key(tmp_path):
    """R1's first GGUFs do not say 8 groups of which 4 are searched; its 256 experts with 8 chosen do."""
    shape = {"n_routed_experts": 256, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4}
    model = build("deepseek_v3", num_hidden_layers=2, **shape)
    keys = ("deepseek2.expert_group_count", "deepseek2.expert_group_used_count")
    assert largest_difference(write(model, tmp_path / "m.gguf", omit=keys), model) <= TOLERANCE


def test_a_router_without_gating_function_is_v2s(tmp_path):
    model = build("deepseek_v2-lite")
    path = write(model, tmp_path / "m.gguf", omit=("deepseek2.expert_gating_func",))
    assert largest_difference(path, model) <= TOLERANCE


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(Unsupported, match=r"'mamba'.*deepseek2.*llama.*qwen2"):
        models.load(open_checkpoint(tmp_path / "m.gguf"), ops)


def test_a_missing_tensor_is_named(tmp_path):
    model = build("llama")
    model.config.num_hidden_layers = 4
    with pytest.raises(Mismatch, match=r"missing: blk\.3\.attn_norm\.weight"):
        models.load(open_checkpoint(write(model, tmp_path / "m.gguf")), ops)
