"""A folder of a few rows of each benchmark, in the forms in which they are distributed."""

import json
from pathlib import Path

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def mmlu(subject: str, count: int) -> list[dict]:
    return [
        {
            "question": f"What is {i} in {subject}?",
            "subject": subject,
            "choices": [WORDS[(i + k) % 12] for k in range(4)],
            "answer": i % 4,
        }
        for i in range(count)
    ]


def problem(i: int) -> dict:
    """HumanEval's: add i. `    return n + i` solves it."""
    prompt = f'def add(n):\n    """Adds {i}."""\n'
    test = f"def check(candidate):\n    assert candidate(5) == {5 + i}\n"
    return {"task_id": f"HumanEval/{i}", "prompt": prompt, "test": test, "entry_point": "add"}


def task(i: int) -> dict:
    """MBPP's: add `one` to i. `code` solves it."""
    tests = [f"assert add(one, {i}) == {i + 1}", "assert add(-1, one) == 0", "assert add(one, one) == 2"]
    return {
        "text": f"Write a function to add two numbers, {i}.",
        "code": "def add(a, b):\n    return a + b",
        "task_id": i,
        "test_setup_code": "one = 1",
        "test_list": tests,
        "challenge_test_list": [],
    }


def folder(path: Path) -> Path:
    """mmlu: 12 questions of two subjects each; gsm8k 6; mgsm (de) 4; xcopa (sw) 6; humaneval 3; mbpp 2."""
    rows = [*mmlu("anatomy", 12), *mmlu("virology", 12)]
    lines(path / "mmlu/test.jsonl", rows)
    lines(path / "mmlu/dev.jsonl", [*mmlu("anatomy", 5), *mmlu("virology", 5)])
    problems = [{"question": f"{i} apples and {i}?", "answer": f"{i} + {i}.\n#### {2 * i}"} for i in range(6)]
    lines(path / "gsm8k/test.jsonl", problems)
    lines(path / "gsm8k/train.jsonl", problems)
    (path / "mgsm").mkdir(parents=True)
    (path / "mgsm/mgsm_de.tsv").write_text("".join(f"Wie viel ist {i} und {i}?\t{2 * i},000\n" for i in range(4)))
    pairs = [
        {"premise": f"It was {word}.", "choice1": f"He saw {word}.", "choice2": "He did not.", "question": "effect"}
        | {"label": i % 2, "idx": i, "changed": False}
        for i, word in enumerate(WORDS[:6])
    ]
    lines(path / "xcopa/data/sw/test.sw.jsonl", pairs)
    lines(path / "xcopa/data/sw/val.sw.jsonl", pairs)
    lines(path / "humaneval/HumanEval.jsonl", [problem(i) for i in range(3)])
    lines(path / "mbpp/mbpp.jsonl", [task(i) for i in (1, 2, 3, 4, 5, 11, 12, 511, 601)])
    return path
