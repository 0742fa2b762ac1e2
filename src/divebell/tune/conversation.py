"""Conversations as samples: what the assistant says is trained, each of its turns with its end mark."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from divebell.errors import BadInput
from divebell.text.chat import ChatFormat
from divebell.text.messages import checked_messages
from divebell.text.tokenizer import Tokenizer
from divebell.tune.reasoning import Reasoning, reasoning_of
from divebell.tune.samples import Sample

Turn = tuple[str, str]  # (prompt, what the assistant says after it)


@dataclass(frozen=True)
class Speaker:
    """What turns rows into tokens. longest: no sample may have more tokens."""

    tokenizer: Tokenizer
    chat: ChatFormat
    longest: int


def conversation(messages: Any, tools: Any, speaker: Speaker) -> list[Sample]:
    """One sample, or one for each turn where the template writes earlier turns in another way than the last.

    DeepSeek-R1 so leaves out their reasoning. Raises BadInput where a template doesn't mark the assistant's turn.
    """
    if not isinstance(messages, list):
        raise BadInput("messages is no list; give a list of objects with 'role' and 'content'")
    messages = checked_messages(messages)
    turns = _learned(messages)
    texts = [_turn(messages[: i + 1], tools, speaker.chat) for i in turns]
    if all(later[0].startswith("".join(earlier)) for earlier, later in pairwise(texts)):
        return [_marked(texts, speaker.tokenizer)]
    return [_marked([text], speaker.tokenizer) for text in texts]


def _learned(messages: list[dict]) -> list[int]:
    """The assistant's turns but those of weight 0."""
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not turns:
        raise BadInput("messages has nothing of the assistant, so there is nothing to learn")
    if turns[-1] < len(messages) - 1:
        raise BadInput(f"messages[{turns[-1] + 1}] comes after what the assistant says last; leave it out")
    learned = [i for i in turns if _weight(messages[i], f"messages[{i}]")]
    if not learned:
        raise BadInput("every turn of the assistant has weight 0, so there is nothing to learn")
    for i in learned:
        if not _says_something(messages[i]):
            raise BadInput(f"messages[{i}].content is empty, which teaches to end at once; give a text, or weight 0")
    return learned


def _weight(message: dict, place: str) -> int:
    weight = 1 if message.get("weight") is None else message["weight"]
    if weight not in (0, 1):
        raise BadInput(f"{place}.weight is {str(weight)[:40]!r}; give 0, not to learn it, or 1")
    return weight


def _says_something(message: dict) -> bool:
    return bool(message.get("content") or message.get("tool_calls"))


def answered(messages: Any, answer: str | dict, tools: Any, speaker: Speaker) -> Sample:
    """A conversation that `answer`, a text or a message, goes on: it alone is trained, with its end mark."""
    if not isinstance(messages, list) or not messages:
        raise BadInput("prompt is no text and no list of messages")
    said = {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
    return _marked([_turn(checked_messages([*messages, said]), tools, speaker.chat)], speaker.tokenizer)


def _turn(messages: list, tools: Any, chat: ChatFormat) -> Turn:
    reasoning = reasoning_of(messages[-1], chat)
    variables = {"thinking": True, "enable_thinking": True} if reasoning else {}
    whole = chat.render(messages, tools, add_generation_prompt=False, **variables)
    if len(messages) == 1:
        prompt, asked = "", ""
    else:
        asked = chat.render(messages[:-1], tools, **variables)
        prompt = _shared_start(asked, whole)
    if reasoning and reasoning.text.strip() not in whole[len(prompt) :]:
        return _reasoned(asked, whole, reasoning)
    if asked:
        unmarked = chat.render(messages[:-1], tools, add_generation_prompt=False, **variables)
        if not prompt.startswith(unmarked) or whole == prompt:
            raise _unmarked("begins")
    return prompt, whole[len(prompt) :]


def _reasoned(asked: str, whole: str, reasoning: Reasoning) -> Turn:
    """With the reasoning that the template leaves out, as the model says it when it is `asked`."""
    before = reasoning.unopened(asked)
    if not asked or not whole.startswith(before):
        raise BadInput(
            "has reasoning that this model's chat template leaves out; give rows of 'prompt' and 'completion' instead"
        )
    return asked, reasoning.said(asked[len(before) :], whole[len(before) :])


def _shared_start(one: str, other: str) -> str:
    """A prompt that opens the reasoning is cut where an answer without any differs from it."""
    differ = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differ, min(len(one), len(other)))]


def _unmarked(where: str) -> BadInput:
    return BadInput(
        f"this model's chat template has no mark where the assistant's turn {where}; "
        "give rows of 'prompt' and 'completion' instead"
    )


def _marked(texts: list[Turn], tokenizer: Tokenizer) -> Sample:
    """Encoded turn by turn, as a prompt is encoded when the model is asked."""
    ids, trained, done = [], [], ""
    for prompt, answer in texts:
        before = tokenizer.encode_after(done, prompt[len(done) :])
        spoken = tokenizer.encode_after(prompt, answer)
        ends = [i for i, id in enumerate(spoken) if id in tokenizer.eos_ids]
        if not ends:
            raise _unmarked("ends")
        ids += before + spoken
        trained += [False] * len(before) + [i <= ends[-1] for i in range(len(spoken))]
        done = prompt + answer
    return Sample(np.array(ids, np.int32), np.array(trained, bool))
