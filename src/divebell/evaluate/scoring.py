"""A model on benchmarks, from the first question to the figures; and two models side by side."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from divebell.errors import DivebellError
from divebell.evaluate.intervals import Difference
from divebell.evaluate.journal import Journal, Row
from divebell.evaluate.model import Answerer
from divebell.evaluate.question import Manner
from divebell.evaluate.results import Result, compared, result
from divebell.evaluate.run import Plan, Run
from divebell.evaluate.tasks import Benchmark


@dataclass(frozen=True, slots=True)
class Outcome:
    """rows: of each benchmark's name, the answers. found: how many of them were there before. refused: questions that
    the model's server did not take, which no score counts. problem: what ended the run early; what was answered until
    then is in `results` all the same."""

    model: str
    journal: Path
    rows: dict[str, list[Row]]
    results: list[Result]
    found: int
    refused: list[Row]
    problem: DivebellError | KeyboardInterrupt | None


def score(
    model: Answerer, asked: list[Benchmark], manner: Manner, plan: Plan, folder: Path, told: Callable[[Run], None]
) -> Outcome:
    """folder: where the journal is."""
    journal = Journal(folder, model.name, _settings(model, manner))
    run, problem = Run(model, manner, journal, told), None
    try:
        run.go(asked, plan)
    except DivebellError as error:
        problem = error
    except KeyboardInterrupt:
        problem = KeyboardInterrupt("interrupted; the same command goes on from here")
    finally:
        journal.close()
    rows = {name: list(own.values()) for name, own in run.rows.items()}
    named = " ".join((model.name, *model.identity.get("files", ())))  # a catalogue's name may be short
    results = [result(one, rows[one.name], named, plan.limit) for one in asked if rows[one.name]]
    return Outcome(model.name, journal.path, rows, results, run.found, list(run.refused.values()), problem)


def _settings(model: Answerer, manner: Manner) -> dict[str, Any]:
    """What answers depend on besides the questions. A run with other ones has a journal of its own."""
    import lm_eval

    return {
        "model": model.identity,
        "lm_eval": lm_eval.__version__,
        "chat": manner.chat_template is not None,
        "generation": manner.generation,
        "shots": manner.shots,
    }


def differences(first: Outcome, second: Outcome) -> dict[str, Difference]:
    """Of each benchmark that both have answers to the same questions of."""
    pairs = {name: compared(rows, second.rows.get(name, [])) for name, rows in first.rows.items()}
    return {name: found for name, found in pairs.items() if found}


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """For JSON."""
    told = [
        {
            "model": one.model,
            "journal": str(one.journal),
            "results": [asdict(own) for own in one.results],
            "refused": [{name: row[name] for name in ("task", "id", "sample", "refused")} for row in one.refused],
            "problem": str(one.problem) if one.problem else None,
        }
        for one in outcomes
    ]
    if len(outcomes) != 2:
        return {"models": told}
    found = differences(*outcomes)
    return {
        "models": told,
        "differences": {name: asdict(own) | {"differs": own.differs} for name, own in found.items()},
    }
