"""Answers of divebell's own engine, with the adapter as it is at the moment."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from divebell.engine.budget import MOST_CONTEXTS
from divebell.engine.cache import PAGE, pages_for
from divebell.engine.load import load
from divebell.tune.lora import Lora
from divebell.tune.model import Trainee
from divebell.tune.questions import Question

_CACHE = "f32"  # as torch attends, so that what is drawn is what is trained
_NAME = "trained"
_WORKSPACE = 128 << 20  # of an engine: activations and logits of its steps


class Rollouts:
    """The weights are those of the file, mapped, and so are the trainee's: they are in memory once."""

    def __init__(self, trainee: Trainee, method: Lora, context: int):
        self._trainee, self._method, self._folder = trainee, method, TemporaryDirectory()
        self._llm = load(trainee.checkpoint.path, context=context, cache=_CACHE)

    def answers(self, questions: Sequence[Question], seeds: Sequence[int] | None) -> list[list[int]]:
        """Token ids, with the end mark where there is one. seeds: of the draws, one for each; None: the likeliest."""
        self._llm.add_adapter(_NAME, self._method.save(self._trainee, Path(self._folder.name)))
        try:
            how = [{"temperature": 0.0}] * len(questions) if seeds is None else [_drawn(seed) for seed in seeds]
            asked = zip(questions, how, strict=True)
            begun = [self._llm.continuation(q.ids, max_tokens=q.most, adapter=_NAME, **own) for q, own in asked]
            self._llm.engine.run(begun)
        finally:
            self._llm.drop_adapter(_NAME)
        return [list(each.completion().token_ids) for each in begun]

    def text(self, question: Question, ids: Sequence[int]) -> str:
        """What is judged: without the end mark, with that of the reasoning."""
        tokenizer = self._llm.tokenizer
        kept = [id for id in ids if id not in tokenizer.eos_ids]
        return question.opening + tokenizer.decode(kept, skip_special_tokens=False)

    def close(self) -> None:
        self._llm.close()
        self._folder.cleanup()


def _drawn(seed: int) -> dict[str, Any]:
    """From the model's own distribution, which is the one that is trained."""
    return {"temperature": 1.0, "seed": int(seed)}


def memory(description: Any, context: int) -> int:
    """Bytes that an engine takes beside the weights, at most."""
    return _WORKSPACE + MOST_CONTEXTS * pages_for(context) * PAGE * description.cache_bytes(_CACHE)
