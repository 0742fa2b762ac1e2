"""Transformers models written as GGUF with the gguf package: its names, the converter's permutation and splits."""

from pathlib import Path

import gguf
import numpy as np
import torch
import transformers

_TYPES = gguf.GGMLQuantizationType


def write(
    model: transformers.PreTrainedModel,
    path: Path,
    split: bool = True,
    form: _TYPES = _TYPES.F32,
    omit: tuple = (),
    tokenizer: dict | None = None,
) -> Path:
    """split: kv_b as k_b and v_b, as llama.cpp writes it now, or whole as before. omit: metadata keys left out.

    tokenizer: its metadata (small_tokenizers.gguf_fields).
    """
    config = model.config
    latent = config.model_type.startswith("deepseek")
    arch = "deepseek2" if latent else "qwen2" if config.model_type == "qwen2" else "llama"
    writer = gguf.GGUFWriter(path, arch)
    _common(writer, config)
    if latent:
        _latent(writer, config, split)
    _rope(writer, config)
    for key, value in (tokenizer or {}).items():
        writer.add_string(key, value) if isinstance(value, str) else writer.add_array(key, np.asarray(value).tolist())
    for key in omit:
        del writer.kv_data[0][key]
    for name, values in _tensors(model, arch, split).items():
        whole = values.ndim == 1 or values.shape[-1] % 32 or "gate_inp" in name
        kind = _TYPES.F32 if whole else form
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _common(writer: gguf.GGUFWriter, config) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if not config.model_type.startswith("deepseek"):
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_rope_dimension_count(head)


def _latent(writer: gguf.GGUFWriter, config, split: bool) -> None:
    head, v = config.qk_nope_head_dim + config.qk_rope_head_dim, config.v_head_dim
    writer.add_head_count_kv(1 if split else config.num_attention_heads)
    writer.add_key_length(config.kv_lora_rank + config.qk_rope_head_dim if split else head)
    writer.add_value_length(config.kv_lora_rank if split else v)
    if split:
        writer.add_key_length_mla(head)
        writer.add_value_length_mla(v)
    if config.q_lora_rank:
        writer.add_q_lora_rank(config.q_lora_rank)
    writer.add_kv_lora_rank(config.kv_lora_rank)
    writer.add_rope_dimension_count(config.qk_rope_head_dim)
    writer.add_leading_dense_block_count(config.first_k_dense_replace)
    writer.add_expert_count(config.n_routed_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_shared_count(config.n_shared_experts)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_expert_weights_scale(config.routed_scaling_factor)
    sigmoid = config.model_type == "deepseek_v3"
    writer.add_expert_weights_norm(sigmoid)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)
    if config.n_group and config.n_group > 1:
        writer.add_expert_group_count(config.n_group)
        writer.add_expert_group_used_count(config.topk_group)


def _rope(writer: gguf.GGUFWriter, config) -> None:
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def _tensors(model: transformers.PreTrainedModel, arch: str, split: bool) -> dict[str, np.ndarray]:
    config, out = model.config, {}
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch.upper()), config.num_hidden_layers)
    for name, tensor in _unpacked(model).items():
        values = tensor.float().numpy()
        if arch == "llama" and ".q_proj." in name:
            values = _permuted(values, config.num_attention_heads)
        if arch == "llama" and ".k_proj." in name:
            values = _permuted(values, config.num_key_value_heads)
        if split and name.endswith("kv_b_proj.weight"):
            out |= _split(values, name.split(".")[2], config)
        else:
            out[names.get_name(name, try_suffixes=(".weight", ".bias"))] = values
    if config.rope_parameters["rope_type"] == "llama3":
        out["rope_freqs.weight"] = _llama3_factors(model)
    return out


def _unpacked(model: transformers.PreTrainedModel) -> dict[str, torch.Tensor]:
    """Tensors by released names, each layer's experts as one stack per matrix; a tied head is not there twice."""
    out = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            stem = name.removesuffix("gate_up_proj")
            out[stem + "gate_proj.weight"], out[stem + "up_proj.weight"] = tensor.chunk(2, dim=1)
        elif name.endswith("experts.down_proj"):
            out[name + ".weight"] = tensor
        elif name.endswith("e_score_correction_bias"):
            out[name.replace("e_score_correction_bias", "e_score_correction.bias")] = tensor
        elif name != "lm_head.weight" or not model.config.tie_word_embeddings:
            out[name] = tensor
    return out


def _permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """RoPE pairs from (i, i + half) to neighbours."""
    return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _split(values: np.ndarray, layer: str, config) -> dict[str, np.ndarray]:
    rows = values.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
    k, v = rows[:, : config.qk_nope_head_dim], rows[:, config.qk_nope_head_dim :]
    return {
        f"blk.{layer}.attn_k_b.weight": np.ascontiguousarray(k.transpose(0, 2, 1)),
        f"blk.{layer}.attn_v_b.weight": np.ascontiguousarray(v),
    }


def _llama3_factors(model: transformers.PreTrainedModel) -> np.ndarray:
    """How much each frequency is divided by: plain ones over those that transformers computed."""
    scaled = model.model.rotary_emb.inv_freq.double().numpy()
    exponents = np.arange(len(scaled)) / len(scaled)
    plain = model.config.rope_parameters["rope_theta"] ** -exponents
    return (plain / scaled).astype(np.float32)
