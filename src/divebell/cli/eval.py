"""divebell eval."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from divebell.cli.asking import Asking, seconds
from divebell.cli.options import Loading
from divebell.cli.output import print_json, print_table
from divebell.config import plural
from divebell.errors import BadInput, DivebellError

if TYPE_CHECKING:
    from divebell.evaluate.published import Published
    from divebell.evaluate.results import Result
    from divebell.evaluate.scoring import Outcome

_ALL_DEFAULT = Loading()
_AS_USUAL = Asking()
_TOP_P = 0.95  # of answers that are drawn: DeepSeek's for R1 (arXiv 2501.12948), and HumanEval's (arXiv 2107.03374)


def eval(
    *models: str,
    tasks: str,
    data: Path | None = None,
    limit: int | None = None,
    budget: str | None = None,
    within: float | None = None,
    shots: int | None = None,
    samples: int = 1,
    temperature: float = 0.0,
    max_tokens: int | None = None,
    chat: bool = False,
    out: Path | None = None,
    html: Path | None = None,
    loading: Annotated[Loading, Parameter(name="*")] = _ALL_DEFAULT,
    asking: Annotated[Asking, Parameter(name="*")] = _AS_USUAL,
    json: bool = False,
) -> None:
    """Score a model on benchmarks, as lm-eval defines them. The same command goes on where it was broken off.

    Parameters
    ----------
    models
        a catalogue name, a folder, a .gguf file, a hub id, or a server: [NAME=]http://HOST:PORT/v1
    tasks
        names with commas between them: mmlu, gsm8k, humaneval, mgsm, xcopa, and all others that lm-eval has
    data
        a folder with the benchmarks' rows, one folder each; by default they come from the hub
    limit
        only the first so many questions of each benchmark
    budget
        stop each model after this time, such as 30m; questions then come in random order
    within
        stop a benchmark when its interval is at most so many points to either side; questions come in random order
    shots
        solved examples before each question; by default as many as is usual for the benchmark
    samples
        answers to each question; above 1 needs a temperature; the score is their mean
    temperature
        of generated answers, drawn from the likeliest tokens that make up 0.95; by default as the benchmark says
    max_tokens
        of a generated answer; by default as the benchmark says
    chat
        put questions in the model's chat format
    out
        where the answers are kept; by default in divebell's folder of XDG_STATE_HOME
    html
        also write the results as one page to this file
    json
        print a JSON object
    """
    plan = _plan(limit, samples, budget, within)
    changes = _generation(samples, temperature, max_tokens)
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    _check(models, names, shots)
    asking.check(models)
    if html:
        _check_page(html)
    from divebell.evaluate.question import Manner
    from divebell.evaluate.scoring import figures, score
    from divebell.evaluate.tasks import benchmarks

    asked = benchmarks(names, data, shots)
    _fetch(models)
    folder = (out or _place()).expanduser()
    outcomes, problem = [], None
    try:
        for model in models:
            with _answering(model, loading, asking, chat) as answerer, _progress(model) as told:
                manner = Manner(answerer.chat_template, changes, shots=shots)
                outcomes.append(score(answerer, asked, manner, plan, folder, told))
            if outcomes[-1].problem:
                raise outcomes[-1].problem
    except (DivebellError, KeyboardInterrupt) as ended:  # what was answered until then is shown all the same
        problem = ended
    if outcomes:
        print_json(figures(outcomes)) if json else _show(outcomes)
    if html and outcomes:
        _write(html.expanduser(), outcomes)
    if problem:
        raise problem


def _fetch(models: tuple[str, ...]) -> None:
    """A name that is wrong is told before hours are spent on the other model."""
    from divebell.evaluate.address import address
    from divebell.weights.pull import resolve

    for model in models:
        if not address(model):
            resolve(model)


@contextmanager
def _answering(model: str, loading: Loading, asking: Asking, chat: bool):
    from divebell.evaluate.address import address

    if place := address(model):
        yield asking.endpoint(place, chat)
        return
    from divebell.evaluate.in_process import InProcess

    given = {name: value for name in ("cache", "context") if (value := getattr(loading, name)) is not None}
    with loading.load(model) as llm:
        yield InProcess(llm, model, loading.weights, chat, given)


def _write(path: Path, outcomes: "list[Outcome]") -> None:
    from divebell.evaluate.page import page

    path.write_text(page(outcomes), encoding="utf-8")


def _place() -> Path:
    from divebell.costs.settings import state

    return state() / "eval"


@contextmanager
def _progress(model: str):
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(model, total=None)
        yield lambda run: progress.update(task, description=f"{model}: {plural(run.asked, 'answer', ',')}")


def _plan(limit: int | None, samples: int, budget: str | None, within: float | None):
    from divebell.evaluate.run import Plan

    if limit is not None and limit < 1:
        raise BadInput(f"limit is {limit}; it must be 1 or more")
    if within is not None and not 0 < within < 50:
        raise BadInput(f"within is {within}; it must be above 0 and below 50 points")
    return Plan(limit, samples, budget and seconds(budget, "budget"), None if within is None else within / 100)


def _generation(samples: int, temperature: float, max_tokens: int | None) -> dict[str, Any]:
    """In lm-eval's words."""
    if not 0 <= temperature <= 2:
        raise BadInput(f"temperature is {temperature}; it must be from 0 to 2")
    if samples < 1 or (samples > 1 and not temperature):
        raise BadInput(f"samples is {samples}; give 1 or more, and above 1 a --temperature above 0 too")
    if max_tokens is not None and max_tokens < 1:
        raise BadInput(f"max-tokens is {max_tokens}; it must be 1 or more")
    drawn = {"temperature": temperature, "top_p": _TOP_P, "do_sample": True} if temperature else {}
    return drawn | ({} if max_tokens is None else {"max_gen_toks": max_tokens})


def _check(models: tuple[str, ...], names: list[str], shots: int | None) -> None:
    if not names:
        raise BadInput("tasks is empty; give names with commas between them, such as mmlu,gsm8k")
    if not models:
        raise BadInput("there are 0 models; give one, or several to compare")
    if shots is not None and shots < 0:
        raise BadInput(f"shots is {shots}; it must be 0 or more")


def _check_page(html: Path) -> None:
    path = html.expanduser()
    if path.is_dir():
        raise BadInput(f"html is {str(html)!r}, which is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise BadInput(f"html is {str(html)!r}; there is no folder {path.parent}")


def _show(outcomes: "list[Outcome]") -> None:
    for one in outcomes:
        _show_one(one)
    if len(outcomes) > 1:
        _show_together(outcomes)
    if len(outcomes) == 2:
        _show_differences(outcomes)


def _show_together(outcomes: "list[Outcome]") -> None:
    rows = [
        (own.benchmark, one.model, *next(_scores(own))[2:4], own.questions, _known("dollars", own.cost["dollars"]))
        for one in outcomes
        for own in one.results
    ]
    rows.sort(key=lambda row: row[0])  # the models stay in their order
    print_table(("benchmark", "model", "score", "95 %", "questions", "$"), rows, "Together")


def _show_one(one: "Outcome") -> None:
    if one.results:
        rows = [row for own in one.results for row in _scores(own)]
        print_table(("benchmark", "metric", "score", "95 %", "by", "questions", "published"), rows, one.model)
        columns = ("benchmark", "seconds", "tokens read", "cached", "written", "joules", "g CO2", "$")
        print_table(columns, [(own.benchmark, *map(_known, own.cost, own.cost.values())) for own in one.results])
    else:
        print(f"{one.model}: no question is answered yet")
    if one.found:
        print(f"{plural(one.found, 'answer', ',')} of an earlier run {'is' if one.found == 1 else 'are'} among them.")
    if one.refused:
        print(f"{plural(len(one.refused), 'question', ',')} refused, and in no score: {one.refused[0]['refused']}")
    print(f"answers: {one.journal}")


def _scores(own: "Result") -> Iterator[tuple]:
    """The published figure beside the headline alone."""
    questions = f"{own.questions:,} of {own.of:,}" + (f" x {own.samples}" if own.samples > 1 else "")
    for index, score in enumerate(own.scores):
        found = score.interval
        values = [score.written(value) for value in (found.value, found.low, found.high)]
        said = "" if index else "; ".join(map(_said, own.published))
        name = "" if index else own.benchmark
        yield name, score.metric, values[0], f"{values[1]} to {values[2]}", found.method, questions, said


def _said(one: "Published") -> str:
    return f"{one.value:g} % ({one.harness}; {one.source}, {one.date})"


def _known(name: str, value: float | None) -> object:
    """A table's decimals are too few for what one answer costs."""
    if value is None:
        return "not known"
    return f"{value:.3g}" if name in ("grams_co2", "dollars") else value


def _show_differences(outcomes: "list[Outcome]") -> None:
    from divebell.evaluate.scoring import differences

    rows = []
    for name, own in differences(*outcomes).items():
        low, high = own.difference.low * 100, own.difference.high * 100
        verdict = "they differ" if own.differs else "no difference shown"
        apart = f"{own.difference.value * 100:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append((name, own.questions, apart, own.better, own.worse, f"{own.p:.3g}", own.test, verdict))
    columns = ("benchmark", "questions", "points", "better", "worse", "p", "test", "verdict")
    print_table(columns, rows, f"{outcomes[1].model} against {outcomes[0].model}, on the same questions")
