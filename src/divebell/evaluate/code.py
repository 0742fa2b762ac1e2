"""HumanEval and MBPP: problems whose answer is a program, and whether it passes the tests that come with them.

HumanEval: Chen et al. 2021, arXiv 2107.03374. MBPP: Austin et al. 2021, arXiv 2108.07732.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from divebell.errors import BadFile, BadInput
from divebell.evaluate.rows import placed_rows
from divebell.evaluate.sandbox import Limits, Outcome, run_code

_HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")  # section 2.1 there
_MBPP_STOPS = ("[DONE]",)
_MBPP_PROMPT = """You are an expert Python programmer, and here is your task: {} Your code should pass these tests:

{}
[BEGIN]
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """prompt: what the model continues, until one of `stops`. before, after: what the program has around that."""

    name: str
    prompt: str
    before: str
    after: str
    stops: tuple[str, ...]

    def program(self, completion: str) -> str:
        return self.before + cut(completion, self.stops) + self.after


def humaneval(path: Path) -> list[Problem]:
    """From HumanEval.jsonl, also gzipped. Raises BadFile."""
    problems = []
    for row in _rows(path):
        prompt, test, function = (row.text(name) for name in ("prompt", "test", "entry_point"))
        after = f"\n{test}\ncheck({function})\n"
        problems.append(Problem(row.text("task_id"), prompt, prompt, after, _HUMANEVAL_STOPS))
    return problems


def mbpp(path: Path) -> list[Problem]:
    """From mbpp.jsonl, also gzipped, with the prompt of the paper and no examples. Raises BadFile."""
    problems = []
    for row in _rows(path):
        tests = "\n".join(row.texts("test_list"))
        prompt = _MBPP_PROMPT.format(row.text("text"), tests)
        after = f"\n{row.text('test_setup_code')}\n{tests}\n"
        problems.append(Problem(f"MBPP/{row.number('task_id')}", prompt, "", after, _MBPP_STOPS))
    return problems


def cut(completion: str, stops: Sequence[str]) -> str:
    """What stands before the first of the stops."""
    return completion[: min((place for stop in stops if (place := completion.find(stop)) >= 0), default=None)]


def judge(problem: Problem, completion: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - frozen
    """Runs the program with its tests in the sandbox. Raises NoSandbox."""
    return run_code(problem.program(completion), limits)


def pass_at_1(passed: Sequence[Sequence[bool]]) -> float:
    """The mean over problems of the share of their samples that passed."""
    if not passed or not all(passed):
        raise BadInput("pass@1 needs at least one problem, and of each at least one sample")
    return fmean(fmean(samples) for samples in passed)


@dataclass(frozen=True, slots=True)
class _Row:
    fields: dict
    path: Path
    place: str

    def text(self, name: str) -> str:
        return self._of(name, str, "a text")

    def number(self, name: str) -> int:
        return self._of(name, int, "a whole number")

    def texts(self, name: str) -> list[str]:
        values = self._of(name, list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise BadFile(self.path, f"{self.place}, {name}", "must be a list of texts")
        return values

    def _of(self, name: str, kind: type, called: str):
        value = self.fields.get(name)
        if not isinstance(value, kind):
            raise BadFile(self.path, f"{self.place}, {name}", f"must be {called}, is {type(value).__name__}")
        return value


def _rows(path: Path) -> Iterator[_Row]:
    found = placed_rows(path)
    if not found:
        raise BadFile(path, "problems", "there are none")
    return (_Row(fields, path, place) for place, fields in found)
