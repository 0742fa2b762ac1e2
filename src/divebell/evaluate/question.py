"""One question of a benchmark: what a model is asked, and what its answer is worth."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from divebell.errors import BadInput, DivebellError
from divebell.evaluate.journal import Key

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask

_EXAMPLES_SEED = 1234  # lm-eval's


@dataclass(frozen=True, slots=True)
class Manner:
    """How questions are put. chat_template: makes a text of messages; None: texts are continued as they are.

    generation: changes to what lm-eval wants of generated answers: max_gen_toks, temperature, do_sample.
    shots: examples before each question; None: as many as is usual for the benchmark.
    """

    chat_template: Callable[..., str] | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    shots: int | None = None


@dataclass(frozen=True)
class Question:
    """digest: of all that the model is told, and of the row that its answer is scored by; answers to another digest are
    answers to another question."""

    task: "ConfigurableTask"
    key: Key
    instances: list["Instance"]
    digest: str

    def scores(self, responses: Sequence[Any]) -> dict[str, Any]:
        """Metric -> score, where lm-eval has several ways to read an answer, once for each: "exact_match, strict".

        responses: to the instances: (log-probability, whether it is the likeliest text) or a text.
        """
        for instance, response in zip(self.instances, responses, strict=True):
            instance.resps = [response]
            instance.filtered_resps = {}
        for ensemble in self.task._filters:
            ensemble.apply(self.instances)
        found = {}
        for name in self.instances[0].filtered_resps:
            results = [instance.filtered_resps[name] for instance in self.instances]
            with _told(self.key, "scored"):
                scored = self.task.process_results(self.instances[0].doc, results)
            found |= {metric if name == "none" else f"{metric}, {name}": _plain(one) for metric, one in scored.items()}
        return found


@contextmanager
def _told(key: Key, done: str) -> Iterator[None]:
    try:
        yield
    except DivebellError:
        raise
    except Exception as problem:  # whatever lm-eval's templates and functions make of a row that is not as they expect
        task, row, _ = key
        told = f"{type(problem).__name__}: {problem}"
        raise BadInput(f"question {row + 1} of {task} can't be {done}, its row is damaged ({told})") from problem


def question(task: "ConfigurableTask", row: int, sample: int, manner: Manner) -> Question:
    """The examples are the same for every question, where lm-eval draws others for each: so they are read once."""
    doc = task.task_docs[row]
    task.set_fewshot_seed(_EXAMPLES_SEED)
    chat = {
        "apply_chat_template": manner.chat_template is not None,
        "chat_template": manner.chat_template,
    }
    key = (task.config.task, row, sample)
    with _told(key, "asked"):
        context = task.fewshot_context(
            doc, task.config.num_fewshot or 0, fewshot_as_multiturn=True, gen_prefix=task.doc_to_prefix(doc), **chat
        )
        made = task.construct_requests(doc=doc, ctx=context, metadata=(task.config.task, row, 1), **chat)
    instances = made if isinstance(made, list) else [made]
    for instance in instances:
        if instance.request_type == "generate_until":
            text, wanted = instance.arguments
            instance.arguments = (text, wanted | manner.generation | _seed(manner, key))
    return Question(task, key, instances, _digest([[instance.arguments for instance in instances], doc]))


def _digest(asked: Any) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _seed(manner: Manner, key: Key) -> dict[str, int]:
    """Each sample of each question has its own, which depends on nothing else."""
    if not manner.generation.get("temperature"):
        return {}
    return {"seed": int.from_bytes(hashlib.sha256(str(key).encode()).digest()[:6])}


def _plain(score: Any) -> Any:
    """Numbers and lists, for a journal."""
    if isinstance(score, list | tuple):
        return [_plain(one) for one in score]
    return score.tolist() if hasattr(score, "tolist") else score
