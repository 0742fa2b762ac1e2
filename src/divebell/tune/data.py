"""Rows of a person's file as samples. Every row that can't be used is named; none is dropped.

A .jsonl file holds one JSON object a line: {"messages": [...]} as OpenAI has them (with "tools" if there are any),
{"prompt": "...", "completion": "..."}, or {"text": "..."}.
Any other file is plain text, cut into pieces.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from divebell.errors import BadInput
from divebell.text.chat import ChatFormat
from divebell.text.tokenizer import Tokenizer
from divebell.tune.samples import Sample

SHAPES = (("messages",), ("prompt", "completion"), ("text",))
_MOST_NAMED = 5


@dataclass(frozen=True)
class Speaker:
    """What turns rows into tokens. longest: no sample may have more tokens."""

    tokenizer: Tokenizer
    chat: ChatFormat
    longest: int


def read_samples(path: Path, speaker: Speaker) -> list[Sample]:
    """All rows of a file. Raises BadInput naming the file, and the first lines that are wrong and why."""
    if path.suffix == ".jsonl":
        samples = of_lines(path, lambda row: _samples(row, speaker))
    else:
        samples = _pieces(speaker.tokenizer.encode(_text(path)), speaker.longest)
    if not samples:
        raise BadInput(f"{path} has no rows; give one JSON object a line, or a text")
    return samples


def read_texts(path: Path) -> list[str]:
    """The texts of a .jsonl file's rows, or the one of any other file. Raises BadInput as `read_samples` does."""
    texts = of_lines(path, lambda row: [string_of(row, "text")]) if path.suffix == ".jsonl" else [_text(path)]
    if not any(text.strip() for text in texts):
        raise BadInput(f"{path} has no text; give a text, or one JSON object with 'text' a line")
    return texts


def read_pieces(path: Path, tokenizer: Tokenizer, longest: int) -> list[Sample]:
    """The texts of a file, an end token after each, cut into samples of at most `longest` tokens."""
    end = sorted(tokenizer.eos_ids)[:1]
    return [piece for text in read_texts(path) for piece in _pieces(tokenizer.encode(text) + end, longest)]


def of_lines(path: Path, make: Callable[[dict], list[Any]]) -> list[Any]:
    """What is made of the rows of a .jsonl file. Raises BadInput naming the first lines that `make` refuses."""
    made, wrong = [], []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            try:
                made += make(_row(line))
            except BadInput as problem:
                wrong.append(f"line {number}: {problem}")
    if wrong:
        more = f"\nand {len(wrong) - _MOST_NAMED} more lines" if len(wrong) > _MOST_NAMED else ""
        raise BadInput(f"{path} can't be trained on:\n" + "\n".join(wrong[:_MOST_NAMED]) + more)
    return made


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise BadInput(f"{path} can't be read: {getattr(problem, 'strerror', None) or problem}") from None


def _row(line: str) -> dict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise BadInput(f"is no JSON: {problem}") from None
    if not isinstance(row, dict):
        raise BadInput(f"is {line.strip()[:40]!r}; give a JSON object")
    return row


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


def string_of(row: Mapping[str, Any], field: str) -> str:
    """A field that must be text."""
    if not isinstance(row.get(field), str):
        raise BadInput(f"{field} is {str(row.get(field))[:40]!r}; give a string")
    return row[field]


def conversation(messages: Any, tools: Any, speaker: Speaker) -> list[Sample]:
    """What the assistant says is trained, each of its turns with its end mark.

    One sample, or one for each turn where the template writes earlier turns in another way than the last (DeepSeek-R1
    leaves out their reasoning). Raises BadInput where a template doesn't mark the assistant's turn.
    """
    if not isinstance(messages, list):
        raise BadInput("messages is no list; give a list of objects with 'role' and 'content'")
    turns = [i for i, m in enumerate(messages) if isinstance(m, dict) and m.get("role") == "assistant"]
    if not turns:
        raise BadInput("messages has nothing of the assistant, so there is nothing to learn")
    texts = [_turn(messages[: i + 1], tools, speaker.chat) for i in turns]
    if all(later[0].startswith("".join(earlier)) for earlier, later in pairwise(texts)):
        return [_marked(texts, speaker.tokenizer)]
    return [_marked([text], speaker.tokenizer) for text in texts]


def answered(messages: Any, answer: str, speaker: Speaker) -> Sample:
    """A conversation that the assistant goes on with `answer`, which alone is trained, with its end mark."""
    if not isinstance(messages, list) or not messages:
        raise BadInput("prompt is no text and no list of messages")
    whole = [*messages, {"role": "assistant", "content": answer}]
    return _marked([_turn(whole, None, speaker.chat)], speaker.tokenizer)


def _turn(messages: list, tools: Any, chat: ChatFormat) -> tuple[str, str]:
    """(prompt, the assistant's turn after it). A prompt that opens the reasoning is cut where an answer without any
    differs from it."""
    whole = chat.render(messages, tools, add_generation_prompt=False)
    if len(messages) == 1:
        return "", whole
    prompt = _shared_start(chat.render(messages[:-1], tools), whole)
    unmarked = chat.render(messages[:-1], tools, add_generation_prompt=False)
    if not prompt.startswith(unmarked) or whole == prompt:
        raise _unmarked("begins")
    return prompt, whole[len(prompt) :]


def _shared_start(one: str, other: str) -> str:
    differ = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differ, min(len(one), len(other)))]


def _unmarked(where: str) -> BadInput:
    return BadInput(
        f"this model's chat template has no mark where the assistant's turn {where}; "
        "give rows of 'prompt' and 'completion' instead"
    )


def _marked(texts: list[tuple[str, str]], tokenizer: Tokenizer) -> Sample:
    """Encoded turn by turn, as a prompt is encoded when the model is asked."""
    ids, trained, done = [], [], 0
    for prompt, answer in texts:
        before = tokenizer.encode(prompt[done:], add_special_tokens=False)
        spoken = tokenizer.encode(answer, add_special_tokens=False)
        ends = [i for i, id in enumerate(spoken) if id in tokenizer.eos_ids]
        if not ends:
            raise _unmarked("ends")
        ids += before + spoken
        trained += [False] * len(before) + [i <= ends[-1] for i in range(len(spoken))]
        done = len(prompt) + len(answer)
    return Sample(np.array(ids, np.int32), np.array(trained, bool))


def prompted(prompt: str, completion: str, speaker: Speaker) -> Sample:
    """The completion is trained, and that the text ends after it."""
    before = speaker.tokenizer.encode(prompt)
    after = speaker.tokenizer.encode(completion, add_special_tokens=False)
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
