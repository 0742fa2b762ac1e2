"""The mixtures against what llama-quantize wrote into released files, and its fallbacks for short rows."""

import pytest

from divebell.errors import Unsupported
from divebell.weights.mixture import Mixture

QWEN = Mixture("q4_k", layers=28, tied=True)


def names(mixture: Mixture, tensors: dict[str, tuple[int, ...]]) -> list[str]:
    return [mixture.format_of(name, shape).name for name, shape in tensors.items()]


def test_small_tensors_stay_float32():
    tensors = {"blk.0.attn_norm.weight": (64,), "blk.0.attn_q.bias": (64,), "blk.1.ffn_gate_inp.weight": (8, 64)}
    assert names(QWEN, tensors) == ["F32"] * 3


def test_the_head_gets_more_bits_and_so_does_a_tied_embedding():
    shape = (1000, 1536)
    assert QWEN.format_of("token_embd.weight", shape).name == "Q6_K"
    untied = Mixture("q4_0", layers=28, tied=False)
    assert names(untied, {"token_embd.weight": shape, "output.weight": shape}) == ["Q4_0", "Q6_K"]


def test_qwen2_5_q4_k_m_has_six_bits_in_the_layers_where_the_released_file_has_them():
    """Qwen2.5-Coder-1.5B-Instruct Q4_K_M: the n-th ffn_down and attn_v in its order, which counts layers as text."""
    six = [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27]
    for name in ("ffn_down", "attn_v"):
        found = [i for i in range(28) if QWEN.format_of(f"blk.{i}.{name}.weight", (1536, 8960)).name == "Q6_K"]
        assert found == six
    assert QWEN.format_of("blk.3.ffn_down.weight", (1536, 8960)).name == "Q4_K"


@pytest.mark.parametrize(
    ("main", "columns", "wanted"),
    [
        ("q4_k", 256, "Q4_K"),
        ("q4_k", 128, "Q5_0"),
        ("q5_k", 96, "Q5_1"),
        ("q6_k", 96, "Q8_0"),
        ("q2_k", 32, "Q4_0"),
        ("iq4_xs", 64, "IQ4_NL"),
        ("q4_0", 48, "F16"),
        ("q4_k", 40, "F16"),
        ("bf16", 7, "BF16"),
    ],
)
def test_rows_that_blocks_do_not_divide_fall_back(main, columns, wanted):
    assert Mixture(main, 4, False).format_of("blk.0.attn_k_b.weight", (4, 512, columns)).name == wanted


def test_mxfp4_is_for_experts():
    mixture = Mixture("mxfp4", 4, False)
    tensors = {"blk.1.ffn_up_exps.weight": (8, 64, 64), "blk.0.ffn_up.weight": (64, 64), "output.weight": (99, 64)}
    assert names(mixture, tensors) == ["MXFP4", "Q8_0", "Q8_0"]


def test_an_unknown_mixture_is_refused_by_name():
    with pytest.raises(Unsupported, match=r"'q9_9' is not supported; known: .*q4_0"):
        Mixture("q9_9", 4, False)
