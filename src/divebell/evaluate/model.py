"""What answers questions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from divebell.errors import EndpointError
from divebell.evaluate.cost import Cost
from divebell.evaluate.question import Question

ANSWER_TOKENS = 256  # where a task does not say how long answers may be; lm-eval's own


@dataclass(slots=True)
class Answered:
    """responses: to the question's instances: (log-probability, whether it is the likeliest text), or a text.

    refused: why there are none, where the model's server takes this question for one that it can't answer.
    """

    question: Question
    responses: list[Any]
    cost: Cost = field(default_factory=Cost)
    refused: EndpointError | None = None


class Answerer(Protocol):
    """most: questions that it answers well at once. name: for people. identity: what its answers depend on.

    chat_template: makes a text of messages; None where texts are continued as they are.
    """

    name: str
    most: int
    identity: dict[str, Any]
    chat_template: Callable[..., str] | None

    def begin(self, question: Question) -> None:
        """Takes a question; it is worked on while `finished` is waited for."""

    def finished(self, until: float = inf) -> Iterator[Answered]:
        """Waits until one of the questions that were taken is answered, and gives those that are; at `until`, of
        time.monotonic, it gives up waiting."""

    def close(self) -> None:
        """Gives up what is not answered."""
