"""The released solutions pass, what is wrong does not."""

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import pytest
import small_data
from hypothesis import given
from hypothesis import strategies as st

from divebell.errors import BadFile, BadInput, NoSandbox, Unsupported
from divebell.evaluate import sandbox
from divebell.evaluate.code import code_in, humaneval, judge, mbpp, pass_at
from divebell.evaluate.question import Manner, Question, question
from divebell.evaluate.sandbox import check_sandbox
from divebell.evaluate.tasks import benchmarks

HUMANEVAL = Path(__file__).parent / "data" / "HumanEval.jsonl.gz"


def asked(name: str, rows: Path, manner: Manner = Manner()) -> Question:  # noqa: B008 - frozen
    [benchmark] = benchmarks([name], rows, None)
    return question(*benchmark.questions[0], 0, manner)


def problems() -> list[dict]:
    with gzip.open(HUMANEVAL) as file:
        return [json.loads(line) for line in file]


def judged(step: int) -> dict[str, bool]:
    rows = problems()[::step]
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda row: judge(humaneval, row, row["canonical_solution"]), rows)
        return {row["task_id"]: outcome.passed for row, outcome in zip(rows, outcomes, strict=True)}


def test_the_released_solutions_pass(contained):
    assert all(judged(20).values())


@pytest.mark.slow
def test_all_the_released_solutions_pass(contained):
    found = judged(1)
    assert len(found) == 164
    assert [name for name, passed in found.items() if not passed] == []


def test_what_is_wrong_fails(contained):
    first = problems()[0]
    solution = first["canonical_solution"]
    for wrong in (solution.replace("<", ">"), "    pass\n", "    raise SystemExit(0)\n", "", "    return (\n"):
        assert judge(humaneval, first, wrong).status == "failed"


def test_humaneval_is_asked_as_lm_eval_does_and_scored_in_the_sandbox(contained, rows):
    made = asked("humaneval", rows)
    [instance] = made.instances
    text, wanted = instance.args
    assert text == small_data.problem(0)["prompt"].rstrip("\n") or text == small_data.problem(0)["prompt"]
    assert wanted["until"] == ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]
    assert (wanted["max_gen_toks"], wanted["do_sample"]) == (1024, False)
    assert made.scores(["    return n + 0\n"]) == {"pass@1": 1.0}
    assert made.scores(["    return n + 1\n"]) == {"pass@1": 0.0}


def test_instructed_models_are_asked_in_their_chat_format(contained, rows):
    told = []

    def template(messages, add_generation_prompt=True):
        told.append((messages, add_generation_prompt))
        return json.dumps(messages)

    made = asked("humaneval_instruct", rows, Manner(template))
    messages, opened = told[-1]
    assert [one["role"] for one in messages] == ["user", "assistant"]
    assert "passes the tests" in messages[0]["content"]
    assert messages[1]["content"].startswith("Here is the completed function:\n```python\ndef add(n):")
    assert not opened
    assert made.scores(["    return n + 0\n```\nIt adds."]) == {"pass@1": 1.0}
    assert made.scores(["Sure:\n```python\ndef add(n):\n    return n\n```"]) == {"pass@1": 1.0}
    assert made.scores(["    return n - 1\n```\nIt adds."]) == {"pass@1": 0.0}


def test_mbpp_has_the_three_examples_of_the_paper(contained, rows):
    made = asked("mbpp", rows)
    text, wanted = made.instances[0].args
    assert re.findall(r"two numbers, (\d+)\.", text) == ["2", "3", "4", "11"]
    assert text.count("[DONE]") == 3
    assert text.endswith("assert add(one, one) == 2\n[BEGIN]\n")
    assert wanted["until"] == ["[DONE]"]
    right = small_data.task(11)["code"]
    assert made.scores([right]) == {"pass@1": 1.0}
    assert made.scores([right.replace("+", "-")]) == {"pass@1": 0.0}


def test_mbpp_for_instructed_models(contained, rows):
    made = asked("mbpp_instruct", rows)
    right = small_data.task(11)["code"]
    assert made.scores([f"{right}\n```\nThat is all."]) == {"pass@1": 1.0}
    assert made.scores([f"I write:\n```python\n{right}\n```\n"]) == {"pass@1": 1.0}
    assert made.scores(["I can't."]) == {"pass@1": 0.0}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("    return 1\n```\nDone.", "    return 1\n"),
        ("Here:\n```python\ndef f():\n    pass\n```\nand ```x```", "def f():\n    pass\n"),
        ("```\nimport os\n\ndef f():\n    pass", "\nimport os\n\ndef f():\n    pass"),
        ("no code", "no code"),
        ("", ""),
    ],
)
def test_code_is_found_in_an_answer(answer, code):
    assert code_in(answer) == code


def test_without_a_sandbox_nothing_is_asked(rows, monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    check_sandbox.cache_clear()
    try:
        with pytest.raises(NoSandbox, match="bwrap is not installed; it needs Linux with bubblewrap"):
            benchmarks(["mbpp"], rows, None)
    finally:
        check_sandbox.cache_clear()


@pytest.mark.parametrize("name", ["humaneval_plus", "humaneval_64_instruct"])
def test_other_tasks_that_run_programs_are_refused(name, rows, monkeypatch):
    from divebell.evaluate import tasks

    monkeypatch.setitem(tasks.KNOWN, name, tasks.Known("humaneval"))
    with pytest.raises(Unsupported, match=f"the task '{name}' is not supported; known: humaneval, humaneval_instruct"):
        benchmarks([name], rows, None)


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_pass_at_k_is_the_share_of_choices_of_k_answers_in_which_one_passes(passed, k):
    if k > len(passed):
        with pytest.raises(BadInput, match=f"pass@{k} needs at least {k} answers"):
            pass_at(k, passed)
    else:
        chosen = [any(some) for some in combinations(passed, k)]
        assert pass_at(k, passed) == pytest.approx(sum(chosen) / len(chosen))


@pytest.mark.parametrize(
    ("benchmark", "row", "change", "says"),
    [
        ("mbpp", small_data.task(11), {"task_id": "x"}, "line 2, task_id: must be int, is str"),
        ("mbpp", small_data.task(11), {"test_list": "assert"}, "line 2, test_list: must be list, is str"),
        ("mbpp", small_data.task(11), {"text": None}, "line 2, text: must be str, is NoneType"),
        ("HumanEval", small_data.problem(0), {"prompt": 1}, "line 2, prompt: must be str, is int"),
    ],
)
def test_a_wrong_row_is_named(contained, tmp_path, benchmark, row, change, says):
    path = tmp_path / benchmark.lower() / f"{benchmark}.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | change) + "\n")
    with pytest.raises(BadFile, match=says):
        benchmarks([benchmark.lower()], tmp_path, None)


def test_a_setup_comes_before_the_tests():
    assert mbpp(small_data.task(3), "x = 1").split("\n")[:3] == ["x = 1", "one = 1", "assert add(one, 3) == 4"]
