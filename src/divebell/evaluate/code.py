"""HumanEval and MBPP: the program that an answer makes, and whether it passes the tests that come with its problem.

HumanEval: Chen et al. 2021, arXiv 2107.03374. MBPP: Austin et al. 2021, arXiv 2108.07732. What is asked, and where an
answer ends, is lm-eval's; its own scoring would run programs on this machine as they are, so it is never imported.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import comb
from typing import Any

from divebell.errors import BadInput
from divebell.evaluate.sandbox import Outcome, check_sandbox, run_code

Row = dict[str, Any]
METRIC = "pass@1"
_EXAMPLES = (2, 3, 4)  # MBPP's task ids of the paper's examples
_THEIR_OWN = ("unsafe_code", "metric_list", "filter_list", "repeats")


def humaneval(row: Row, answer: str) -> str:
    """The prompt, which is the head of a function, goes on with the answer."""
    return f"{row['prompt']}{answer}\n{row['test']}\ncheck({row['entry_point']})\n"


def humaneval_instruct(row: Row, answer: str) -> str:
    return humaneval(row, code_in(answer))


def mbpp(row: Row, answer: str) -> str:
    tests = "\n".join(row["test_list"])
    return f"{answer}\n{row['test_setup_code']}\n{tests}\n"


def mbpp_instruct(row: Row, answer: str) -> str:
    return mbpp(row, code_in(answer))


def code_in(answer: str) -> str:
    """Of an answer with code between fences, the first part that defines a function. Where none does: what stands
    before the first fence, as the answer to a prompt that has opened it."""
    parts = re.split(r"```(?:\w+\n)?", answer)
    return next((part for part in parts if re.search(r"^\s*def \w", part, re.MULTILINE)), parts[0])


def _examples(rows: Iterable[Row]) -> list[Row]:
    """MBPP's, those of the paper first."""
    return sorted(rows, key=lambda row: (row["task_id"] not in _EXAMPLES, row["task_id"]))


@dataclass(frozen=True, slots=True)
class Form:
    """Of one of lm-eval's tasks. changes: to its definition."""

    program: Callable[[Row, str], str]
    changes: dict[str, Any] = field(default_factory=dict)


def _mbpp_form(program: Callable[[Row, str], str], end: str) -> Form:
    examples = {"sampler": "first_n", "split": "prompt", "process_docs": _examples}
    return Form(program, {"fewshot_config": examples, "doc_to_target": f"{{{{code}}}}\n{end}"})


FORMS = {
    "humaneval": Form(humaneval),
    "humaneval_instruct": Form(humaneval_instruct),
    "mbpp": _mbpp_form(mbpp, "[DONE]"),
    "mbpp_instruct": _mbpp_form(mbpp_instruct, "```"),
}


def contained(definition: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's definition of a task of FORMS, scored in the sandbox. Raises NoSandbox where there is none."""
    check_sandbox()
    form = FORMS[definition["task"]]
    kept = {name: value for name, value in definition.items() if name not in _THEIR_OWN}
    return kept | form.changes | {"process_results": partial(_scores, form.program)}


def _scores(program: Callable[[Row, str], str], row: Row, answers: Sequence[str]) -> dict[str, float]:
    return {METRIC: float(judge(program, row, answers[0]).passed)}


def judge(program: Callable[[Row, str], str], row: Row, answer: str) -> Outcome:
    """Runs the program with its tests in the sandbox. Raises NoSandbox."""
    return run_code(program(row, answer))


def pass_at(k: int, passed: Sequence[float]) -> float:
    """How likely one of k answers passes, by all answers to a problem, at least k: unbiased (HumanEval, equation 1)."""
    count, right = len(passed), round(sum(passed))
    if not 1 <= k <= count:
        raise BadInput(f"pass@{k} needs at least {max(k, 1)} answers to each problem, there are {count}")
    return 1 - comb(count - right, k) / comb(count, k)
