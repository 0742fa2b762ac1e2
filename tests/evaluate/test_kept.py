"""Scores of earlier runs, read back from their journals."""

import pytest

from divebell.evaluate.cost import COUNTED
from divebell.evaluate.journal import Journal
from divebell.evaluate.kept import kept
from divebell.evaluate.tasks import family

ROW = {"task": "mmlu_anatomy", "id": 0, "sample": 0, "digest": "", "scores": {"acc": 1.0}, **dict.fromkeys(COUNTED)}


def journal(folder, name: str, files: dict, rows: list) -> None:
    written = Journal(folder, name, {"model": {"files": files}})
    for row in rows:
        written.add(row)
    written.close()


def test_only_runs_of_these_very_files_count(tmp_path):
    journal(tmp_path, "a", {"a": "1"}, [ROW, ROW | {"task": "mmlu_virology", "scores": {"acc": 0.0}}])
    journal(tmp_path, "b", {"a": "1", "b": "2"}, [ROW])
    journal(tmp_path, "c", {}, [ROW])
    [found] = kept(tmp_path, {"1", "3"})
    assert (found.benchmark, found.metric, found.questions, found.interval.value) == ("mmlu", "acc", 2, 0.5)
    assert found.settings == {"model": {"files": {"a": "1"}}}


def test_damaged_lines_and_foreign_files_are_passed_over(tmp_path):
    journal(tmp_path, "a", {"a": "1"}, [ROW])
    with next(tmp_path.glob("*.jsonl")).open("a") as file:
        file.write('[1]\n{"task": "half')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "foreign.jsonl").write_text('{"settings": 5}\n')
    assert [one.questions for one in kept(tmp_path, {"1"})] == [1]
    assert kept(tmp_path / "nowhere", {"1"}) == []


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("mmlu_anatomy", "mmlu"),
        ("mmlu_pro_law", "mmlu_pro"),
        ("mgsm_native_cot_de", "mgsm"),
        ("gpqa_diamond_cot_zeroshot", "gpqa"),
        ("hendrycks_math500", "math500"),
        ("humaneval", "humaneval"),
        ("hellaswag", "hellaswag"),
    ],
)
def test_a_task_belongs_to_its_benchmark(task, name):
    assert family(task) == name
