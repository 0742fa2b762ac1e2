"""Benchmarks by name, with rows from a folder."""

import pytest
import small_data

from divebell.errors import BadFile, BadInput
from divebell.evaluate.question import Manner, question
from divebell.evaluate.tasks import benchmarks


def first(name: str, rows, **more):
    [benchmark] = benchmarks([name], rows, more.get("shots"))
    task, row = benchmark.questions[0]
    return benchmark, question(task, row, 0, Manner())


def test_mmlu_has_five_examples_and_the_choices(rows):
    benchmark, made = first("mmlu_anatomy", rows)
    text, _ = made.instances[0].args
    assert len(benchmark.questions) == 12
    assert text.count("Answer:") == 6
    assert text.startswith("The following are multiple choice questions (with answers) about anatomy.")
    assert [one.args[1] for one in made.instances] == [" A", " B", " C", " D"]
    assert made.scores([(-2, False), (-1, False), (-3, False), (-4, False)]) == {"acc": 0.0}
    assert made.scores([(-1, False), (-2, False), (-3, False), (-4, False)]) == {"acc": 1.0}


def test_shots_may_be_chosen(rows):
    assert first("mmlu_anatomy", rows, shots=0)[1].instances[0].args[0].count("Answer:") == 1


def test_gsm8k_reads_answers_in_two_ways(rows):
    _, made = first("gsm8k", rows)
    assert made.scores(["It is so.\n#### 0"]) == {
        "exact_match, strict-match": 1.0,
        "exact_match, flexible-extract": 1.0,
    }
    assert made.scores(["I say 0"])["exact_match, strict-match"] == 0.0


def test_mgsm_of_one_language_and_numbers_with_commas(rows):
    benchmark, _ = first("mgsm_de", rows)
    task, row = benchmark.questions[2]
    made = question(task, row, 0, Manner())
    assert made.instances[0].args[0].startswith("Frage: Wie viel ist 2 und 2?")
    assert made.scores(["Es sind 4000"])["exact_match, flexible-extract"] == 1.0


def test_xcopa_of_one_language(rows):
    benchmark, made = first("xcopa_sw", rows)
    assert len(benchmark.questions) == 6
    assert made.instances[1].args[1] == " he did not."


GPQA = {"Question": "Which?", "Correct Answer": "this", **{f"Incorrect Answer {i}": f"not {i}" for i in (1, 2, 3)}}
BELEBELE = {"flores_passage": "Es ist rot.", "question": "Was ist es?", "correct_answer_num": "1"}
BELEBELE |= {f"mc_answer{i}": f"Farbe {i}" for i in (1, 2, 3, 4)}
PRO = {"question_id": 1, "question": "1+1?", "options": ["1", "2"], "answer": "B", "category": "math"}
PRO |= {"cot_content": "A: Let's think step by step. The answer is (B).", "answer_index": 1, "src": ""}
MATH = {"problem": "Half of $x$?", "solution": r"It is $\boxed{\frac{x}{2}}$.", "answer": r"\frac{x}{2}"}
IN_A_BOX = r"Since $x$ is whole, half of it is \boxed{\frac{x}{2}}. That is $0.5x$."
CHOICES = [(-1, False), (-2, False), (-3, False), (-4, False)]


@pytest.mark.parametrize(
    ("name", "file", "rows", "right", "wrong"),
    [
        ("math500", "math-500/test", [MATH], [IN_A_BOX], [IN_A_BOX.replace("{2}", "{3}")]),
        ("math500", "math-500/test", [MATH], [r"$\frac{x}{2}$"], ["x"]),
        ("aime24", "aime_2024/train", [{"Problem": "1+1?", "Answer": 2}], [r"So it is \boxed{2}."], ["3"]),
        ("aime25", "aime25/test", [{"problem": "1+1?", "answer": "2"}], ["2"], [r"\boxed{3}"]),
        ("belebele_deu_Latn", "belebele/deu_Latn/test", [BELEBELE], CHOICES, CHOICES[::-1]),
        ("mmlu_pro_math", "mmlu-pro/test", [PRO], ["The answer is (B)."], ["The answer is (A)."]),
    ],
)
def test_other_benchmarks_tell_right_from_wrong(tmp_path, name, file, rows, right, wrong):
    for split in (file, file.replace("test", "validation")):
        small_data.lines(tmp_path / f"{split}.jsonl", rows * 5)
    _, made = first(name, tmp_path)
    assert set(made.scores(right).values()) == {1}
    assert set(made.scores(wrong).values()) == {0}


def test_gpqa_shuffles_its_choices_and_reads_the_letter(tmp_path):
    small_data.lines(tmp_path / "gpqa/gpqa_diamond/train.jsonl", [GPQA])
    _, made = first("gpqa", tmp_path)
    prompt = made.instances[0].args[0]
    [letter] = [letter for letter in "ABCD" if f"({letter}) this" in prompt]
    assert made.scores([f"So the answer is ({letter})."])["exact_match, flexible-extract"] == 1
    other = "A" if letter != "A" else "B"
    assert made.scores([f"So the answer is ({other})."])["exact_match, flexible-extract"] == 0


def test_a_subject_without_rows_is_told(tmp_path):
    for split in ("test", "validation"):
        small_data.lines(tmp_path / f"mmlu-pro/{split}.jsonl", [PRO] * 5)
    with pytest.raises(BadInput, match="mmlu_pro_biology has no question among these rows"):
        benchmarks(["mmlu_pro"], tmp_path, None)


def test_examples_are_the_same_for_all_questions_in_any_order(rows):
    [benchmark] = benchmarks(["gsm8k"], rows, 2)
    task, _ = benchmark.questions[0]
    forth = [question(task, row, 0, Manner()).digest for row in range(6)]
    back = [question(task, row, 0, Manner()).digest for row in reversed(range(6))]
    assert forth == back[::-1]
    assert len(set(forth)) == 6


def test_samples_have_seeds_of_their_own(rows):
    [benchmark] = benchmarks(["gsm8k"], rows, 0)
    task, _ = benchmark.questions[0]
    manner = Manner(generation={"temperature": 0.6, "top_p": 0.95, "do_sample": True})
    seeds = {question(task, row, sample, manner).instances[0].args[1]["seed"] for row in (0, 1) for sample in (0, 1)}
    assert len(seeds) == 4


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(["gsm9k"], "there is no task 'gsm9k'; the usual ones are mmlu, ", marks=pytest.mark.slow),
        (["gsm8k", "gsm8k"], "--tasks has 'gsm8k' twice"),
        (["belebele"], "has no folder 'belebele' with the rows of facebook/belebele"),
        (["mgsm_fr"], "has no rows of juletxara/mgsm fr"),
    ],
)
def test_what_can_not_be_asked_is_told(rows, names, words):
    with pytest.raises(BadInput, match=words):
        benchmarks(names, rows, None)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(BadInput, match="no is no folder"):
        benchmarks(["gsm8k"], tmp_path / "no", None)


def test_a_damaged_row_is_named(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text('{"question": "?", "answer": "#### 1"}\n{"quest\n')
    with pytest.raises(BadFile, match=r"test.jsonl: line 2: is not valid JSON"):
        benchmarks(["gsm8k"], tmp_path, 0)


def test_rows_without_what_a_task_needs_are_told(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/other.jsonl").write_text('{"question": "?", "answer": "#### 1"}\n')
    with pytest.raises(BadInput, match="gsm8k can't be asked with these rows"):
        benchmarks(["gsm8k"], tmp_path, 0)
