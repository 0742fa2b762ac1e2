"""What the rules take for right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.tune.rewards import REWARDS


@pytest.mark.parametrize(
    ("text", "expected", "reward"),
    [
        ("7", "7", 1),
        (" so it is 3 + 4 = 7.", "7", 1),
        ("7 or 8", "7", 0),
        ("1,007.0 dollars", "1007", 1),
        ("-7", "7", 0),
        ("<think>7</think> it is 8", "7", 0),
        ("<answer> 7 </answer> not 8", "7", 1),
        (r"\boxed{6} no, \boxed{7}, and 3", "7", 1),
        ("so 3\n#### 1,000", "1000", 1),
        ("<answer>Lyon</answer>", "Paris", 0),
        ("<answer>Paris</answer>", "Paris", 1),
        ("New   York\n", "New York", 1),
        ("it is Paris", "Paris", 0),
        ("<answer></answer> 7", "7", 0),
        ("nothing", "7", 0),
        ("so it is 10-3", "3", 1),
        ("so it is -3", "3", 0),
        (r"so \boxed{\frac{1}{2}}", r"\frac{1}{2}", 1),
        (r"\boxed{x^{2}}", "x^{2}", 1),
        (r"\boxed{7\}} or so", r"7\}", 1),
        (r"\boxed{7}, not \boxed{8", "7", 1),
        (r"<answer>\boxed{7}</answer>", "7", 1),
        ("<answer>18 dollars</answer>", "18", 1),
        ("<answer>The answer is $1,018.50.</answer>", "1018.5", 1),
        (r"\boxed{\$18}", "18", 1),
        (r"\boxed{18\%}", "18", 1),
        (r"\boxed{-18 \text{ cm}^2}", "-18", 1),
        (r"\boxed{3 + 4 = 7}", "7", 1),
        ("<answer>7 or 8</answer>", "8", 0),
        (r"\boxed{x^{2}}", "2", 0),
        (r"\boxed{\frac{1}{2}}", "2", 0),
        (r"\boxed{2\pi}", "2", 0),
        (r"\boxed{7x}", "7", 0),
        (r"\boxed{x-7}", "7", 0),
        ("<answer>7" + "\\%" * 40 + "x</answer>", "7", 0),
    ],
)
def test_the_answer_is_found(text, expected, reward):
    assert REWARDS["answer"](text, expected) == reward


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("<think>well</think>7", 1),
        (" <think>\nwell\n</think>\n\n<answer>7</answer>", 1),
        ("<think></think>7", 0),
        ("<think>well</think> ", 0),
        ("<think>well 7", 0),
        ("well</think>7", 0),
        ("<think>a</think>b<think>c</think>d", 0),
        ("so <think>well</think>7", 0),
    ],
)
def test_the_form_is_reasoning_and_then_an_answer(text, reward):
    assert REWARDS["format"](text, "7") == reward


@pytest.mark.parametrize("mark", ["\\boxed{", "<answer>", "#### "])
def test_the_innermost_of_many_marks_counts(mark):
    assert REWARDS["answer"](mark * 1000 + "\\boxed{7}" + "}" * 500, "7") == 1


@given(st.text(), st.text(min_size=1))
def test_any_text_has_a_reward(text, expected):
    assert all(rule(text, expected) in (0, 1) for rule in REWARDS.values())
