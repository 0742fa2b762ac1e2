import pytest

from divebell.errors import BadInput
from divebell.text.infill import infill_ends, infill_prompt

QWEN = {"<|fim_prefix|>": 1, "<|fim_suffix|>": 2, "<|fim_middle|>": 3, "<|fim_pad|>": 4, "<|file_sep|>": 5}


def test_a_prompt_has_the_order_of_the_model_s_own_documentation():
    assert infill_prompt("a", "b", QWEN.get) == "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
    deepseek = dict.fromkeys(("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"), 1)
    assert infill_prompt("a", "b", deepseek.get) == "<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>"


def test_a_middle_ends_where_the_next_file_would_begin():
    assert infill_ends(QWEN.get) == (4, 5)


def test_a_model_without_the_marks_is_told_apart():
    incomplete = {"<|fim_prefix|>": 1, "<|fim_suffix|>": 2}
    with pytest.raises(BadInput, match="suffix is given, but this model has no tokens"):
        infill_prompt("a", "b", incomplete.get)
