"""The released solutions pass, what is wrong does not."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.errors import BadFile, BadInput, NoSandbox
from divebell.evaluate.code import cut, humaneval, judge, mbpp, pass_at_1
from divebell.evaluate.sandbox import Limits, check_sandbox

HUMANEVAL = Path(__file__).parent / "data" / "HumanEval.jsonl.gz"
MBPP_ROW = {
    "text": "Write a function to add two numbers.",
    "code": "def add(a, b):\n    return a + b",
    "task_id": 11,
    "test_setup_code": "one = 1",
    "test_list": ["assert add(one, 2) == 3", "assert add(-1, one) == 0"],
    "challenge_test_list": [],
}


@pytest.fixture
def contained():
    try:
        check_sandbox()
    except NoSandbox as refusal:
        pytest.skip(str(refusal))


@pytest.fixture
def rows(tmp_path):
    def write(*rows: dict) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def solutions() -> list[str]:
    with gzip.open(HUMANEVAL) as file:
        return [json.loads(line)["canonical_solution"] for line in file]


def judged(step: int) -> dict[str, bool]:
    pairs = list(zip(humaneval(HUMANEVAL), solutions(), strict=True))[::step]
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(judge, *zip(*pairs, strict=True))
        return {problem.name: outcome.passed for (problem, _), outcome in zip(pairs, outcomes, strict=True)}


def test_the_released_solutions_pass(contained):
    assert all(judged(20).values())


@pytest.mark.slow
def test_all_the_released_solutions_pass(contained):
    found = judged(1)
    assert len(found) == 164
    assert [name for name, passed in found.items() if not passed] == []


def test_what_is_wrong_fails(contained):
    first, solution = humaneval(HUMANEVAL)[0], solutions()[0]
    for wrong in (solution.replace("<", ">"), "    pass\n", "    raise SystemExit(0)\n", "", "    return (\n"):
        assert judge(first, wrong).status == "failed"
    assert judge(first, "    while True: pass\n", Limits(seconds=1)).status == "timed out"


def test_what_comes_after_the_answer_is_cut(contained):
    first, solution = humaneval(HUMANEVAL)[0], solutions()[0]
    for more in ("def other(:", "class X(", "# so (", "if (", "print(("):
        assert judge(first, f"{solution}\n{more}").passed
    assert not judge(first, f"{solution}\n(((").passed


@given(st.text("abdef\n #"), st.lists(st.sampled_from(["\ndef", "\n#", "a"]), max_size=3))
def test_cut_is_the_longest_beginning_without_a_stop(text, stops):
    found = cut(text, stops)
    assert text.startswith(found)
    assert not any(stop in found for stop in stops)
    assert found == text or any(text[len(found) :].startswith(stop) for stop in stops)


def test_mbpp(contained, rows):
    [problem] = mbpp(rows(MBPP_ROW))
    assert problem.name == "MBPP/11"
    assert problem.prompt.endswith("pass these tests:\n\nassert add(one, 2) == 3\nassert add(-1, one) == 0\n[BEGIN]\n")
    assert judge(problem, MBPP_ROW["code"] + "\n[DONE]\n(((").passed
    assert not judge(problem, MBPP_ROW["code"].replace("+", "-")).passed


def test_pass_at_1_is_the_mean_over_problems_of_the_share_of_samples():
    assert pass_at_1([[True, False], [True], [False]]) == pytest.approx(0.5)
    for nothing in ([], [[True], []]):
        with pytest.raises(BadInput, match="at least one"):
            pass_at_1(nothing)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task_id": "x"}, "line 2, task_id: must be a whole number, is str"),
        ({"test_list": "assert"}, "line 2, test_list: must be a list of texts, is str"),
        ({"test_list": [1]}, "line 2, test_list: must be a list of texts"),
        ({"text": None}, "line 2, text: must be a text, is NoneType"),
    ],
)
def test_a_wrong_row_is_named(rows, change, says):
    with pytest.raises(BadFile, match=says):
        mbpp(rows(MBPP_ROW, MBPP_ROW | change))


def test_a_file_without_problems_is_refused(rows):
    with pytest.raises(BadFile, match="there are none"):
        humaneval(rows())
