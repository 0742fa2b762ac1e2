"""Benchmarks by name, as lm-eval defines them: prompts, few-shot examples, what is taken from an answer, scores."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divebell.errors import BadInput, DivebellError, Unsupported
from divebell.evaluate import code

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

NEEDED = (
    "scoring needs the extra `eval`: pip install 'divebell[eval]' (in a clone: python3 scripts/environment.py eval)"
)


@dataclass(frozen=True, slots=True)
class Known:
    """folder: of lm-eval's tasks. means: its name there, where that is another one. shots: where lm-eval says none."""

    folder: str
    means: str = ""
    shots: int | None = None


# Others are found too, but only after all of lm-eval's 10,000 definitions were read, which takes half a minute.
KNOWN = {
    "mmlu": Known("mmlu/default", shots=5),
    "mmlu_pro": Known("mmlu_pro"),
    "mmmlu": Known("openai-mmmlu/default"),
    "gpqa": Known("gpqa/cot_zeroshot", "gpqa_diamond_cot_zeroshot"),
    "gsm8k": Known("gsm8k"),
    "humaneval": Known("humaneval"),
    "humaneval_instruct": Known("humaneval"),
    "mbpp": Known("mbpp"),
    "mbpp_instruct": Known("mbpp"),
    "math500": Known("hendrycks_math", "hendrycks_math500"),
    "aime24": Known("aime"),
    "aime25": Known("aime"),
    "mgsm": Known("mgsm/native_cot", "mgsm_cot_native"),
    "xcopa": Known("xcopa"),
    "belebele": Known("belebele"),
}
_PARTS = {
    "mgsm": "mgsm_native_cot",
    "mmlu": "mmlu",
    "mmlu_pro": "mmlu_pro",
    "mmmlu": "mmmlu",
    "xcopa": "xcopa",
    "belebele": "belebele",
}


@dataclass(frozen=True)
class Benchmark:
    """What was asked for by one name: one of lm-eval's tasks, or a group of them that count as one."""

    name: str
    tasks: tuple["ConfigurableTask", ...]

    @cached_property
    def questions(self) -> list[tuple["ConfigurableTask", int]]:
        """In the order of the tasks' names, and of their rows."""
        return [(task, row) for task in self.tasks for row in range(len(task.task_docs))]


def benchmarks(names: list[str], folder: Path | None, shots: int | None) -> list[Benchmark]:
    """folder: local copies of the rows, see `divebell.evaluate.data`; None: from the hub. shots: examples before each
    question; None: as many as is usual for the benchmark.

    Raises BadInput for an unknown name, for rows that can't be had, and where lm-eval is not installed.
    """
    _import_quietly()
    if folder and not folder.is_dir():
        raise BadInput(f"--data {folder} is no folder; it must hold the benchmarks' rows, one folder each")
    if doubled := [name for index, name in enumerate(names) if name in names[:index]]:
        raise BadInput(f"--tasks has {doubled[0]!r} twice")
    return [_benchmark(name, folder, shots) for name in names]


def family(task: str) -> str:
    """The known benchmark that one of lm-eval's tasks is a part of, such as mmlu; its own name where there is none."""
    whole = next((name for name, known in KNOWN.items() if task in (name, known.means)), None)
    parts = (name for name, part in sorted(_PARTS.items(), reverse=True) if task.startswith(f"{part}_"))
    return whole or next(parts, task)


def _import_quietly() -> None:
    try:
        import datasets
        import lm_eval  # noqa: F401
    except ImportError:
        raise BadInput(NEEDED) from None
    datasets.disable_progress_bars()
    for name in ("lm_eval", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _benchmark(name: str, folder: Path | None, shots: int | None) -> Benchmark:
    known = _known(name)
    definitions = sorted(_definitions(name, known), key=lambda one: one["task"])
    made = [_task(one, folder, known.shots if shots is None else shots) for one in definitions]
    return Benchmark(name, tuple(made))


def _known(name: str) -> Known:
    """A part of a known benchmark, such as mgsm_de or mmlu_anatomy, lies in the same folder."""
    if name in KNOWN:
        return KNOWN[name]
    for whole, part in _PARTS.items():
        if name.startswith(f"{whole}_") and (Path(_lm_eval(), KNOWN[whole].folder)).is_dir():
            means = f"{part}_{name.removeprefix(f'{whole}_')}"
            if means in _index(KNOWN[whole].folder):
                return Known(KNOWN[whole].folder, means, KNOWN[whole].shots)
    return Known("")


def _lm_eval() -> Path:
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent


def _index(folder: str) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False, include_path=_lm_eval() / folder).task_index


def _definitions(name: str, known: Known) -> Iterator[dict[str, Any]]:
    means = known.means or name
    index = _index(known.folder) if known.folder or _named(name) else {}
    if means not in index:
        raise BadInput(f"there is no task {name!r}; the usual ones are {', '.join(KNOWN)}, and all others of lm-eval's")
    yield from _leaves(means, index, {})


def _named(name: str) -> bool:
    """Whether any of lm-eval's definitions has this word in it: looking is much faster than reading them all."""
    return any(name.encode() in path.read_bytes() for path in _lm_eval().rglob("*.yaml"))


def _leaves(name: str, index: dict[str, Any], changes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A group's members may be groups themselves, or tags, which are names of many tasks; with changes of their own."""
    entry = index.get(name)
    if entry is None:
        raise Unsupported("task", name)
    if entry.kind.name == "TAG":
        for member in entry.tags:
            yield from _leaves(member, index, changes)
    elif entry.kind.name == "GROUP":
        for member in entry.cfg["task"]:
            own = {"task": member} if isinstance(member, str) else dict(member)
            yield from _leaves(own.pop("task", None) or own.pop("group"), index, changes | own)
    else:
        yield _definition(entry) | changes


def _definition(entry: Any) -> dict[str, Any]:
    """Functions that stand in it are imported only where they run no programs."""
    from lm_eval.tasks._yaml_loader import load_yaml

    definition = load_yaml(entry.yaml_path, resolve_func=False)
    if entry.name in code.FORMS:
        definition = code.contained(definition)
    elif definition.get("unsafe_code") or "class" in definition:
        # would run a model's programs on this machine as they are
        raise Unsupported("the task", entry.name, list(code.FORMS))
    else:
        definition = load_yaml(entry.yaml_path, resolve_func=True) | _changes(entry.name)
    return {key: value for key, value in definition.items() if key not in ("tag", "group", "task_list")}


def _changes(name: str) -> dict[str, Any]:
    """lm-eval's MATH-500 takes an answer for wrong that reasons and has its result in a box; its AIME looks there."""
    if name != "hendrycks_math500":
        return {}
    from lm_eval.tasks.aime.utils import process_results

    return {"process_results": process_results}


def _task(definition: dict[str, Any], folder: Path | None, shots: int | None) -> "ConfigurableTask":
    if shots is not None:
        definition["num_fewshot"] = shots
    try:
        return _local(folder)(config=definition) if folder else _from_hub(definition)
    except DivebellError:
        raise
    except IndexError:  # its subject or language is missing
        raise BadInput(
            f"{definition['task']} has no question among these rows; ask for the parts that are there"
        ) from None
    except Exception as problem:  # of lm-eval's templates and functions, of Arrow's: there are many kinds
        told = str(problem).strip().split("\n")[0]
        raise BadInput(f"{definition['task']} can't be asked with these rows: {told}") from problem


def _local(folder: Path) -> type["ConfigurableTask"]:
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    from divebell.evaluate.data import splits

    class LocalTask(ConfigurableTask):
        """One whose rows come from the folder."""

        def download(self, dataset_kwargs: dict | None = None, **_) -> None:
            found = splits(folder, self.config.dataset_path, self.config.dataset_name)
            self.dataset = {split: Dataset.from_list(rows) for split, rows in found.items()}
            if self.config.training_split not in self.dataset:
                self.config.training_split = None

    return LocalTask


def _from_hub(definition: dict[str, Any]) -> "ConfigurableTask":
    from lm_eval.api.task import ConfigurableTask

    try:
        return ConfigurableTask(config=definition)
    except Exception as problem:  # of the hub's, of the network's, of the data set's own: there are many kinds
        told = str(problem).strip().split("\n")[0]
        raise BadInput(
            f"{definition['task']}: the rows of {definition.get('dataset_path')} can't be had from the hub "
            f"({type(problem).__name__}: {told}); --data DIR reads local copies"
        ) from None
