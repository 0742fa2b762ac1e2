"""What an assistant's message reasons, for chat templates that leave it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from divebell.errors import BadInput
from divebell.text.chat import THINKING, ChatFormat
from divebell.text.messages import REASONING_FIELDS, joined_parts


@dataclass(frozen=True, slots=True)
class Reasoning:
    """text: without its marks. space: between the closing mark and the answer; None: as between the marks and text."""

    marks: tuple[str, str]
    text: str
    space: str | None = None

    def unopened(self, prompt: str) -> str:
        """The prompt up to the mark that opens the reasoning, where it ends with that."""
        before, mark, after = prompt.rpartition(self.marks[0])
        return before if mark and not after.strip() else prompt

    def said(self, opened: str, answer: str) -> str:
        """What the model says after `opened`: "", or the opening mark and the space after it.

        answer: of the template, in front of which it may have put the closing mark of a reasoning that it left out.
        """
        opening, closing = self.marks
        line = opened.removeprefix(opening) if opened else "\n"
        text, space = (line + self.text + line, 2 * line) if self.space is None else (self.text, self.space)
        begun = text.removeprefix(line) if opened else opening + text
        return begun + closing + space + answer.removeprefix(opening).lstrip().removeprefix(closing).lstrip()


def reasoning_of(message: Mapping[str, Any], chat: ChatFormat) -> Reasoning | None:
    """Of a field, or between marks at the beginning of the content. Raises BadInput for a model that has no marks."""
    marks = next((pair for pair in THINKING if pair[0] in chat.marks), None)
    if text := next((message[field] for field in REASONING_FIELDS if message.get(field)), None):
        if not isinstance(text, str):
            raise BadInput(f"the assistant's reasoning is {str(text)[:40]!r}; give a string")
        if marks is None:
            raise BadInput("has reasoning, and this model's chat template knows none; write it into the content")
        return Reasoning(marks, text)
    content = joined_parts(message.get("content"))
    if marks is None or not isinstance(content, str) or not content.lstrip().startswith(marks[0]):
        return None
    text, closed, answer = content.lstrip().removeprefix(marks[0]).partition(marks[1])
    space = answer[: len(answer) - len(answer.lstrip())]
    return Reasoning(marks, text, space) if closed and text.strip() else None
