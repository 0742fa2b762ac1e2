"""Rows of a prompt and the answer that is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divebell.errors import BadInput
from divebell.tune.conversation import Speaker
from divebell.tune.rows import of_rows

_OPENING = "<think>"


@dataclass(frozen=True, slots=True)
class Question:
    """ids: of the prompt. opening: the mark of reasoning that the prompt ends with, which is part of what is judged.

    most: tokens that an answer may have.
    """

    ids: list[int]
    opening: str
    answer: str
    most: int

    def __len__(self) -> int:
        return len(self.ids) + self.most

    @property
    def highest(self) -> int:
        return max(self.ids)

    @property
    def learned(self) -> int:
        return self.most


def read_questions(path: Path, speaker: Speaker, most: int) -> list[Question]:
    """{"prompt": text or messages (with "tools" if there are any), "answer": text or number} a line.

    Raises BadInput naming the file, and the first lines that are wrong and why.
    """
    questions = of_rows(path, lambda row: [_question(row, speaker, most)])
    if not questions:
        raise BadInput(f"{path} has no rows; give one JSON object a line, with 'prompt' and 'answer'")
    return questions


def _question(row: Mapping[str, Any], speaker: Speaker, most: int) -> Question:
    prompt, answer = row.get("prompt"), row.get("answer")
    if not isinstance(answer, str | int | float) or isinstance(answer, bool) or not str(answer).strip():
        raise BadInput(f"answer is {str(answer)[:40]!r}; give a text or a number")
    text = prompt if isinstance(prompt, str) else _rendered(prompt, row.get("tools"), speaker)
    ids = speaker.tokenizer.encode(text, add_special_tokens=isinstance(prompt, str))
    if not ids:
        raise BadInput("prompt is empty")
    if len(ids) + most > speaker.longest:
        raise BadInput(
            f"has a prompt of {len(ids):,} tokens, and with an answer of {most:,} it may have {speaker.longest:,}; "
            "shorten it, give fewer --answer-tokens, or raise --context, which ends at what the model was made for"
        )
    return Question(ids, _OPENING if text.rstrip().endswith(_OPENING) else "", str(answer), most)


def _rendered(prompt: Any, tools: Any, speaker: Speaker) -> str:
    if not isinstance(prompt, list) or not prompt:
        raise BadInput("prompt is no text and no list of messages")
    return speaker.chat.render(prompt, tools)
