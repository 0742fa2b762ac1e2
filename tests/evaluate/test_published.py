"""Published figures, found by a model's name."""

from datetime import date

import pytest

from divebell.costs.table import rows
from divebell.evaluate.published import published
from divebell.evaluate.tasks import KNOWN


def test_each_figure_has_a_source_and_a_date_and_belongs_to_a_benchmark_that_can_be_asked():
    found = rows("divebell.evaluate", "published")
    assert len({(row["model"], row["benchmark"]) for row in found}) == len(found)
    for row in found:
        assert row["source"], row
        assert row["harness"], row
        assert date.fromisoformat(row["date"]).year >= 2023
        assert 0 < float(row["value"]) < 100
        assert row["benchmark"] in KNOWN


@pytest.mark.parametrize(
    ("model", "benchmark", "values"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "aime24", [28.9]),
        ("unsloth/DeepSeek-R1-GGUF", "mmlu", [90.8]),
        ("deepseek-ai/DeepSeek-V3-Base", "mmlu", [87.1]),
        ("models/Mistral-7B-v0.1", "gsm8k", [52.2]),
        ("Mistral-7B-v0.1", "aime24", []),
        ("smollm2-135m", "mmlu", []),
        ("qwen2.5-coder-1.5b qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "humaneval_instruct", [70.7]),
        ("Qwen/Qwen2.5-Coder-1.5B", "humaneval_instruct", []),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "aime24", [72.6]),
        ("bartowski/DeepSeek-R1-Distill-Llama-70B-GGUF", "gpqa", [65.2]),
        ("DeepSeek-R1/DeepSeek-R1-UD-Q2_K_XL-00001-of-00005.gguf", "aime24", [79.8]),
        ("deepseek-r1 at https://api.deepseek.com/v1", "aime24", [79.8]),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "mmlu", [69.4]),
    ],
)
def test_the_longest_name_that_fits_counts(model, benchmark, values):
    assert [one.value for one in published(model, benchmark)] == values


@pytest.mark.parametrize(
    ("model", "benchmark"),
    [
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "aime24"),
        ("deepseek-ai/DeepSeek-R1-0528", "aime24"),
        ("deepseek-r1:1.5b", "aime24"),
        ("deepseek-r1 DeepSeek-R1-0528-Qwen3-8B-Q4_K_M.gguf", "aime24"),
        ("deepseek-ai/DeepSeek-V3.2", "mmlu_pro"),
        ("deepseek-ai/DeepSeek-V3.1-Base", "mmlu"),
        ("DeepSeek-V3-0324", "gpqa"),
        ("deepseek-r1/my-own-tune", "aime24"),
    ],
)
def test_a_variant_has_no_figure_of_the_model_that_it_is_named_after(model, benchmark):
    assert published(model, benchmark) == []
