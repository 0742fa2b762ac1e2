"""The default model's file as transformers sees it: its blocks widened by the gguf package, float32 throughout."""

from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def in_transformers(path: Path) -> LlamaForCausalLM:
    reader = GGUFReader(path)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rms_norm_eps=float(reader.fields["llama.attention.layer_norm_rms_epsilon"].contents()),
        rope_parameters={"rope_theta": float(reader.fields["llama.rope.freq_base"].contents())},
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).float().eval()
    state = {theirs: torch.tensor(values) for theirs, values in map(_renamed, reader.tensors)}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model


def _renamed(tensor) -> tuple[str, np.ndarray]:
    values = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
    layer, _, name = tensor.name.removesuffix(".weight").rpartition(".")
    if name in ("attn_q", "attn_k"):  # the converter put the two numbers of a RoPE pair side by side
        heads = {"attn_q": 9, "attn_k": 3}[name]
        values = values.reshape(heads, 32, 2, 576).swapaxes(1, 2).reshape(-1, 576)
    place = layer.replace("blk.", "model.layers.") + "." if layer else ""
    return f"{place}{NAMES[name]}.weight", values
