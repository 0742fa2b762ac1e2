"""A folder of a few rows of each benchmark, in the forms in which they are distributed."""

import json
from pathlib import Path

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def _lines(path: Path, rows: list[dict]) -> None:
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


def folder(path: Path) -> Path:
    """mmlu: 12 questions of two subjects each; gsm8k 6; mgsm (de) 4; xcopa (sw) 6."""
    rows = [*mmlu("anatomy", 12), *mmlu("virology", 12)]
    _lines(path / "mmlu/test.jsonl", rows)
    _lines(path / "mmlu/dev.jsonl", [*mmlu("anatomy", 5), *mmlu("virology", 5)])
    problems = [{"question": f"{i} apples and {i}?", "answer": f"{i} + {i}.\n#### {2 * i}"} for i in range(6)]
    _lines(path / "gsm8k/test.jsonl", problems)
    _lines(path / "gsm8k/train.jsonl", problems)
    (path / "mgsm").mkdir()
    (path / "mgsm/mgsm_de.tsv").write_text("".join(f"Wie viel ist {i} und {i}?\t{2 * i},000\n" for i in range(4)))
    pairs = [
        {"premise": f"It was {word}.", "choice1": f"He saw {word}.", "choice2": "He did not.", "question": "effect"}
        | {"label": i % 2, "idx": i, "changed": False}
        for i, word in enumerate(WORDS[:6])
    ]
    _lines(path / "xcopa/data/sw/test.sw.jsonl", pairs)
    _lines(path / "xcopa/data/sw/val.sw.jsonl", pairs)
    return path
