"""Whether a model is to reason before it answers, and how hard: what requests say, and what a model can do."""

from dataclasses import dataclass
from typing import Literal

from divebell.serve.refusal import Refusal
from divebell.text.chat import ChatFormat

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class Thinking:
    """wanted: whether to reason first. field: of the request that says so. effort: how hard, in OpenAI's words; a model
    that knows fewer levels takes the nearest that it knows. must: without it, a model that can't reason need not."""

    wanted: bool
    field: str
    effort: Effort | None = None
    must: bool = True

    @classmethod
    def by_effort(cls, effort: Effort | None, field: str) -> "Thinking | None":
        return None if effort is None else cls(effort != "none", field, effort)

    @property
    def variables(self) -> dict[str, object]:
        """For chat templates, which know it by different names."""
        effort = {} if self.effort is None else {"reasoning_effort": self.effort}
        return {"thinking": self.wanted, "enable_thinking": self.wanted, **effort}

    def check(self, chat: ChatFormat) -> None:
        """Refuses what the model can't do."""
        if self.wanted and self.must and not chat.reasons:
            self._refuse("this model does not reason before it answers")
        if not self.wanted and chat.reasons and not chat.may_answer_at_once:
            self._refuse("this model reasons before every answer")

    def _refuse(self, why: str) -> None:
        raise Refusal(400, f"{self.field}: {why}; leave it out", param=self.field)
