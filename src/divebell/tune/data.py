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
    if has_rows(path):
        samples = of_rows(path, lambda row: _samples(row, speaker))
    else:
        samples = _pieces(speaker.tokenizer.encode(text_of(path)), speaker.longest)
    if not samples:
        raise BadInput(f"{path} has no rows; give one JSON object a line, or a text")
    return samples


def read_texts(path: Path) -> list[str]:
    """The texts of a file's rows, or the one of a plain file. Raises BadInput as `read_samples` does."""
    texts = of_rows(path, lambda row: [string_of(row, "text")]) if has_rows(path) else [text_of(path)]
    if not any(text.strip() for text in texts):
        raise BadInput(f"{path} has no text; give a text, or one JSON object with 'text' a line")
    return texts


def read_pieces(path: Path, tokenizer: Tokenizer, longest: int) -> list[Sample]:
    """The texts of a file, an end token after each, cut into samples of at most `longest` tokens."""
    end = sorted(tokenizer.eos_ids)[:1]
    return [piece for text in read_texts(path) for piece in _pieces(tokenizer.encode(text) + end, longest)]


def _samples(row: Mapping[str, Any], speaker: Speaker) -> list[Sample]:
    if "messages" in row:
        samples = conversation(row["messages"], row.get("tools"), speaker)
    elif "completion" in row:
        samples = [prompted(string_of(row, "prompt"), string_of(row, "completion"), speaker)]
    elif "text" in row:
        samples = [_whole(speaker.tokenizer.encode(string_of(row, "text")))]
    else:
        known = ", or ".join(" and ".join(map(repr, shape)) for shape in SHAPES)
        raise BadInput(f"has {', '.join(map(repr, row)) or 'nothing'}; give {known}")
    for sample in samples:
        check(sample, speaker.longest)
    return samples


def check(sample: Sample, longest: int) -> None:
    """BadInput for a sample that can't be trained on."""
    if not sample.learned:
        raise BadInput("has no token to learn; give a longer text or answer")
    if len(sample) > longest:
        raise BadInput(f"has {len(sample):,} tokens, and a sample may have {longest:,}; shorten it or give --context")


def prompted(prompt: str, completion: str, speaker: Speaker) -> Sample:
    """The completion is trained, and that the text ends after it."""
    before = speaker.tokenizer.encode(prompt)
    after = speaker.tokenizer.encode_after(prompt, completion)
    after += sorted(speaker.tokenizer.eos_ids)[:1]
    return Sample(np.array(before + after, np.int32), np.arange(len(before) + len(after)) >= len(before))


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
