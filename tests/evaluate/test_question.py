"""What a row of a benchmark is made into; rows that are damaged."""

import json

import pytest
import small_data

from divebell.errors import BadInput
from divebell.evaluate.question import Manner, question
from divebell.evaluate.tasks import benchmarks


@pytest.fixture
def asked(tmp_path):
    """MMLU's anatomy, of which the last row has no choices."""
    folder = small_data.folder(tmp_path)
    with (folder / "mmlu/test.jsonl").open("a") as file:
        file.write(json.dumps({"subject": "anatomy", "question": "What?"}) + "\n")
    [found] = benchmarks(["mmlu_anatomy"], folder, None)
    return found


def test_a_row_without_what_is_asked_is_told(asked):
    with pytest.raises(BadInput, match="question 13 of mmlu_anatomy can't be asked, its row is damaged"):
        question(asked.tasks[0], 12, 0, Manner())


def test_a_row_whose_answer_can_not_be_scored_is_told(asked, monkeypatch):
    def process_results(row, results):
        return row["nothing of the kind"]

    made = question(asked.tasks[0], 0, 0, Manner())
    monkeypatch.setattr(made.task, "process_results", process_results)
    with pytest.raises(BadInput, match="question 1 of mmlu_anatomy can't be scored"):
        made.scores([(-1.0, False)] * 4)


def test_fields_of_several_kinds_are_told(tmp_path):
    folder = small_data.folder(tmp_path)
    with (folder / "gsm8k/test.jsonl").open("a") as file:
        file.write('{"question": "a", "answer": 5}\n')
    with pytest.raises(BadInput, match="gsm8k can't be asked with these rows: Expected bytes, got a 'int' object"):
        benchmarks(["gsm8k"], folder, None)


@pytest.mark.parametrize(
    ("task", "file", "change"),
    [
        ("xcopa_sw", "xcopa/data/sw/test.sw.jsonl", {"label": 1}),
        ("mmlu_anatomy", "mmlu/test.jsonl", {"answer": 3}),
        ("gsm8k", "gsm8k/test.jsonl", {"answer": "#### 9"}),
    ],
)
def test_another_right_answer_makes_another_question(tmp_path, task, file, change):
    folder = small_data.folder(tmp_path / "first")
    changed = small_data.folder(tmp_path / "second") / file
    first, *others = changed.read_text().splitlines(keepends=True)
    changed.write_text("".join([json.dumps(json.loads(first) | change) + "\n", *others]))
    [before], [after] = (benchmarks([task], place, 0) for place in (folder, tmp_path / "second"))
    made, corrected = (question(one.tasks[0], 0, 0, Manner()) for one in (before, after))
    assert str(made.instances[0].arguments) == str(corrected.instances[0].arguments)
    assert made.digest != corrected.digest
    assert question(before.tasks[0], 1, 0, Manner()).digest == question(after.tasks[0], 1, 0, Manner()).digest
