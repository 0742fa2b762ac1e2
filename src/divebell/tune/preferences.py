"""Rows of two answers to the same prompt, of which one is preferred."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from divebell.errors import BadInput
from divebell.tune.conversation import Speaker, answered
from divebell.tune.data import check, prompted
from divebell.tune.rows import of_rows, string_of
from divebell.tune.samples import Sample

FIELDS = ("prompt", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class Preference:
    chosen: Sample
    rejected: Sample

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    @property
    def learned(self) -> int:
        return self.chosen.learned + self.rejected.learned

    @property
    def highest(self) -> int:
        return max(self.chosen.highest, self.rejected.highest)

    @property
    def terms(self) -> int:
        return 1


def read_preferences(path: Path, speaker: Speaker) -> list[Preference]:
    """{"prompt": text or messages, "chosen": text, "rejected": text} a line.

    After messages an answer may also be a list of the assistant's one message, and "tools" may be beside them.
    Raises BadInput naming the file, and the first lines that are wrong and why.
    """
    preferences = of_rows(path, lambda row: [_preference(row, speaker)])
    if not preferences:
        raise BadInput(f"{path} has no rows; give one JSON object a line, with {', '.join(map(repr, FIELDS))}")
    return preferences


def _preference(row: Mapping[str, Any], speaker: Speaker) -> Preference:
    if missing := [field for field in FIELDS if field not in row]:
        raise BadInput(f"has no {missing[0]!r}; give {', '.join(map(repr, FIELDS))}")
    chosen, rejected = (_answered(row, field, speaker) for field in FIELDS[1:])
    if np.array_equal(chosen.ids, rejected.ids):
        raise BadInput("chosen and rejected are the same, so there is nothing to learn")
    return Preference(chosen, rejected)


def _answered(row: Mapping[str, Any], field: str, speaker: Speaker) -> Sample:
    prompt, answer = row["prompt"], row[field]
    if isinstance(prompt, str):
        sample = prompted(prompt, string_of(row, field), speaker)
    else:
        said = _message(answer, field) if isinstance(answer, list) else string_of(row, field)
        sample = answered(prompt, said, row.get("tools"), speaker)
    check(sample, speaker.longest)
    return sample


def _message(answer: list, field: str) -> dict:
    """The one message of an answer in the form of a conversation."""
    if len(answer) != 1 or not isinstance(answer[0], dict) or answer[0].get("role") != "assistant":
        raise BadInput(
            f"{field} is a list of {len(answer)}; give a string, or the assistant's one message after the prompt"
        )
    return answer[0]
