"""Rows of a person's file as samples. Every row that can't be used is named; none is dropped.

A .jsonl file holds one JSON object a line, a .json file these or a list of them: {"messages": [...]} as OpenAI has them
(with "tools" if there are any), {"prompt": "...", "completion": "..."}, or {"text": "..."}.
Any other file is plain text, cut into pieces.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from divebell.errors import BadInput
from divebell.text.tokenizer import Tokenizer
from divebell.tune.conversation import Speaker, conversation
from divebell.tune.rows import has_rows, of_rows, string_of, text_of
from divebell.tune.samples import Sample

SHAPES = (("messages",), ("prompt", "completion"), ("text",))


def read_samples(path: Path, speaker: Speaker) -> list[Sample]:
    """All rows of a file. Raises BadInput naming the file, and the first lines that are wrong and why."""
    if not has_rows(path):
        return read_pieces(path, speaker.tokenizer, speaker.longest)
    samples = of_rows(path, lambda row: _samples(row, speaker))
    if not samples:
        raise BadInput(f"{path} has no rows; give one JSON object a line, or a text")
    return samples


def read_texts(path: Path) -> list[str]:
    """The texts of a file's rows, or the one of a plain file. Raises BadInput as `read_samples` does."""
    texts = of_rows(path, lambda row: [_text(row)]) if has_rows(path) else [text_of(path)]
    if not any(text.strip() for text in texts):
        raise BadInput(f"{path} has no text; give a text, or one JSON object with 'text' a line")
    return texts


def read_pieces(path: Path, tokenizer: Tokenizer, longest: int) -> list[Sample]:
    """The texts of a file, an end token after each, cut into samples of at most `longest` tokens."""
    if longest < 2:
        raise BadInput(f"a sample may have {longest} token, and the first can't be learned; give --context 2 or more")
    pieces = [piece for text in read_texts(path) for piece in _pieces(_ended(text, tokenizer), longest)]
    if not pieces:
        raise BadInput(f"{path} has no token to learn; give a longer text")
    return pieces


def _samples(row: Mapping[str, Any], speaker: Speaker) -> list[Sample]:
    shape = _shape(row)
    if "messages" in shape:
        samples = conversation(row["messages"], row.get("tools"), speaker)
    elif "completion" in shape:
        samples = [_completed(row, speaker)]
    else:
        samples = [_whole(_ended(_text(row), speaker.tokenizer))]
    for sample in samples:
        check(sample, speaker.longest)
    return samples


def _shape(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of SHAPES a row has, and no field of another, which would be dropped."""
    known = ", or ".join(" and ".join(map(repr, shape)) for shape in SHAPES)
    found = [shape for shape in SHAPES if shape[-1] in row]
    if not found:
        raise BadInput(f"has {', '.join(map(repr, row)) or 'nothing'}; give {known}")
    fields = [field for shape in SHAPES for field in shape if field in row and field not in found[0]]
    if others := [field for field in fields if not _is_said(row, field)]:
        raise BadInput(f"has {found[0][-1]!r} beside {others[0]!r}, and one alone is learned; give {known}")
    return found[0]


def _is_said(row: Mapping[str, Any], field: str) -> bool:
    """Whether a message says it: UltraChat's rows have the first prompt beside the conversation once more."""
    turns = row.get("messages")
    return isinstance(turns, list) and any(
        isinstance(turn, dict) and turn.get("content") == row[field] for turn in turns
    )


def _text(row: Mapping[str, Any]) -> str:
    if not (text := string_of(row, "text")).strip():
        raise BadInput("text is blank, so there is no token to learn; leave the row out")
    return text


def _completed(row: Mapping[str, Any], speaker: Speaker) -> Sample:
    prompt, completion = string_of(row, "prompt"), string_of(row, "completion")
    if not completion:
        raise BadInput("completion is empty, which teaches to end at once; give a text, or leave the row out")
    return prompted(prompt, completion, speaker)


def check(sample: Sample, longest: int) -> None:
    """BadInput for a sample that can't be trained on."""
    if not sample.learned:
        raise BadInput("has no token to learn; give a longer text or answer")
    if len(sample) > longest:
        raise BadInput(
            f"has {len(sample):,} tokens, and a sample may have {longest:,}; shorten it, or raise --context, "
            "which ends at what the model (and a teacher) was made for"
        )


def prompted(prompt: str, completion: str, speaker: Speaker) -> Sample:
    """The completion is trained, and that the text ends after it."""
    before = speaker.tokenizer.encode(prompt)
    after = speaker.tokenizer.encode_after(prompt, completion)
    after += sorted(speaker.tokenizer.eos_ids)[:1]
    return Sample(np.array(before + after, np.int32), np.arange(len(before) + len(after)) >= len(before))


def _ended(text: str, tokenizer: Tokenizer) -> list[int]:
    """With an end token, unless the text has one there."""
    ids = tokenizer.encode(text)
    return ids if ids and ids[-1] in tokenizer.eos_ids else ids + sorted(tokenizer.eos_ids)[:1]


def _whole(ids: list[int]) -> Sample:
    return Sample(np.array(ids, np.int32), np.ones(len(ids), bool))


def _pieces(ids: list[int], longest: int) -> list[Sample]:
    return [_whole(ids[i : i + longest]) for i in range(0, len(ids) - 1, longest)]


def shown(sample: Sample, tokenizer: Tokenizer) -> str:
    """The sample's text, its trained stretches between ⟦ and ⟧."""
    edges = np.flatnonzero(np.diff(sample.trained)) + 1
    stretches = np.split(np.arange(len(sample)), edges)
    texts = [(tokenizer.decode(sample.ids[s], skip_special_tokens=False), sample.trained[s[0]]) for s in stretches]
    return "".join(f"⟦{text}⟧" if trained else text for text, trained in texts)
