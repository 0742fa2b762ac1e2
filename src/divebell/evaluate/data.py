"""Benchmarks' rows from a folder of the person's, in the form in which the hub's data sets have them.

A data set NAME (the last part of its hub id, in lower case) lies in DIR/NAME as SPLIT.jsonl or SPLIT.jsonl.gz, or in
DIR/NAME/CONFIG where the hub has several; those below lie as their makers distribute them.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from divebell.errors import BadFile, BadInput
from divebell.evaluate.rows import Rows, placed_rows, placed_texts, rows

_rows = cache(rows)  # one file may hold those of many tasks


def splits(folder: Path, dataset: str, config: str | None) -> dict[str, Rows]:
    """Split -> rows of a data set by its hub id. Raises BadInput where the folder has none of it, BadFile for rows
    that are none."""
    name = dataset.rsplit("/", 1)[-1].lower()
    place, read = _PLACES.get(name, (name, _plain))
    if not (folder / place).is_dir():
        raise BadInput(
            f"--data {folder} has no folder {place!r} with the rows of {dataset}; put SPLIT.jsonl files there, "
            "or leave --data out to fetch them from the hub"
        )
    found = {split: own for split, own in read(folder / place, config or "").items() if own}
    if not found:
        raise BadInput(f"{folder / place} has no rows of {dataset} {config or ''}".rstrip())
    return found


def _plain(folder: Path, config: str) -> dict[str, Rows]:
    own = folder / config if config and (folder / config).is_dir() else folder
    return {path.name.split(".")[0]: _rows(path) for path in _files(own)}


def _mmlu(folder: Path, subject: str) -> dict[str, Rows]:
    """One file for each split, with all subjects in it."""
    return {
        split: [row for row in own if subject in ("", "all", row.get("subject"))]
        for split, own in _plain(folder, "").items()
    }


def _mgsm(folder: Path, language: str) -> dict[str, Rows]:
    """mgsm_LANG.tsv: question, answer."""
    path = folder / f"mgsm_{language}.tsv"
    return {"test": list(_problems(path))} if path.is_file() else {}


def _problems(path: Path) -> Iterator[dict[str, Any]]:
    for place, line in placed_texts(path):
        question, _, answer = line.rpartition("\t")
        try:
            value = float(answer.replace(",", ""))
        except ValueError:
            raise BadFile(path, place, "is not a question, a tab and a number") from None
        yield {"question": question, "answer": None, "answer_number": int(value) if value.is_integer() else value}


def _xcopa(folder: Path, language: str) -> dict[str, Rows]:
    """data/LANG/{val,test}.LANG.jsonl."""
    names = {"validation": "val", "test": "test"}
    paths = {split: folder / "data" / language / f"{name}.{language}.jsonl" for split, name in names.items()}
    return {split: _rows(path) for split, path in paths.items() if path.is_file()}


def _humaneval(folder: Path, _: str) -> dict[str, Rows]:
    """HumanEval.jsonl.gz."""
    paths = [*folder.glob("HumanEval.jsonl*"), *folder.glob("test.jsonl*")]
    return {"test": _checked(paths[0], _HUMANEVAL)} if paths else {}


def _mbpp(folder: Path, config: str) -> dict[str, Rows]:
    """mbpp.jsonl, whose rows belong to a split by their numbers (arXiv 2108.07732, appendix A)."""
    whole = sorted(folder.glob("mbpp.jsonl*"))
    if not whole:
        return _plain(folder, config)
    rows = _checked(whole[0], _MBPP)
    return {split: [row for row in rows if row["task_id"] in numbers] for split, numbers in _MBPP_SPLITS.items()}


_HUMANEVAL = {"task_id": str, "prompt": str, "test": str, "entry_point": str}
_MBPP = {"task_id": int, "text": str, "code": str, "test_setup_code": str, "test_list": list}
_MBPP_SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}


def _checked(path: Path, kinds: dict[str, type]) -> Rows:
    """Rows that programs are made of, so that a wrong one is named before any question is asked."""
    placed = placed_rows(path)
    for place, row in placed:
        for name, kind in kinds.items():
            if not isinstance(row.get(name), kind):
                is_now = type(row.get(name)).__name__
                raise BadFile(path, f"{place}, {name}", f"must be {kind.__name__}, is {is_now}")
    return [row for _, row in placed]


_PLACES: dict[str, tuple[str, Callable[[Path, str], dict[str, Rows]]]] = {
    "mmlu": ("mmlu", _mmlu),
    "mgsm": ("mgsm", _mgsm),
    "xcopa": ("xcopa", _xcopa),
    "openai_humaneval": ("humaneval", _humaneval),
    "mbpp": ("mbpp", _mbpp),
}


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")])
