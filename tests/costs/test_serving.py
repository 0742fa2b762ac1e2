"""DeepSeek's published day of serving V3 and R1 (open-infra-index, day 6), from first principles."""

import pytest
import serving_day as serving
from published import CONFIGS

from divebell.costs.hardware import hardware
from divebell.costs.plan import on_paper
from divebell.costs.prices import price
from divebell.costs.settings import Settings
from divebell.costs.shape import shape_of

NODES, GPU_HOUR = 226.75, 2.0
HIT, MISSED, ANSWERED = 342e9, 266e9, 168e9
DAY = serving.Load(HIT / (HIT + MISSED), ANSWERED / (HIT + MISSED), cached=4989, user_tokens_per_s=21, experts=3)


def test_sums_of_the_day():
    assert NODES * serving.GPUS * 24 * GPU_HOUR == 87_072
    income = price("deepseek-r1").cost(int(HIT + MISSED), int(HIT), int(ANSWERED))
    assert income == pytest.approx(562_027, rel=3e-4)
    assert income / 87_072 - 1 == pytest.approx(5.45, abs=0.01)
    assert pytest.approx(0.518, abs=0.001) == 87_072 / (ANSWERED / 1e6)
    assert pytest.approx(NODES, rel=2e-3) == (HIT + MISSED) / 86_400 / 73_700 + ANSWERED / 86_400 / 14_800


def test_prompts_within_a_quarter():
    shape = shape_of(CONFIGS["deepseek-v3"])
    rate = serving.prompt_tokens_per_s(shape, DAY)
    print(
        f"sustained in training {serving.sustained_flops(shape) / 1e12:.0f} TFLOP/s a GPU; {rate:,.0f} tokens/s a node"
    )
    assert rate == pytest.approx(73_700, rel=0.25)


def test_decoding_within_a_quarter():
    shape = shape_of(CONFIGS["deepseek-v3"])
    rate = serving.decode_tokens_per_s(shape, DAY)
    weights, network = serving.weight_seconds(shape, 3), serving.network_seconds(shape)
    attention = serving.attention_seconds(shape, DAY.cached)
    print(
        f"weights {weights * 1e3:.2f} ms, a token {attention * 1e6:.0f} + {network * 1e6:.0f} us; {rate:,.0f} tokens/s"
    )
    assert rate == pytest.approx(14_800, rel=0.25)


def test_plans_are_upper_bounds_of_both():
    wanted = [("prompt", 512, 3425, 8), ("decode", 1, 4989, 800)]
    prompt, decode = on_paper(shape_of(CONFIGS["deepseek-v3"]), hardware("8x-h800"), wanted, Settings())
    computed = 73_700 * (1 - DAY.hits)
    print(f"{prompt.tokens_per_s:,.0f} of prompts ({computed:,.0f}), {decode.tokens_per_s:,.0f} decoded tokens/s")
    assert computed < prompt.tokens_per_s < 3 * computed
    assert 14_800 < decode.tokens_per_s < 1.5 * 14_800
