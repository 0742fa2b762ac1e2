"""What the clients of a soak ask for, in the words of either protocol."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from random_schemas import random_schema

MODEL = "soak"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = {"name": "weather", "description": "The forecast.", "parameters": PARAMETERS}
SYSTEMS = ("You answer in one sentence.", "You are a patient teacher of history.", "")
SUBJECTS = ("the sea", "a clock", "bread", "the moon", "an old bridge", "rain", "numbers", "a violin", "salt", "maps")
QUESTIONS = (
    "What is {}?",
    "Tell me about {}.",
    "Why do people like {}?",
    "Compare {} with {}.",
    "List three uses of {}.",
    "And {}?",
)
Messages = tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A conversation (messages) or a text to go on with (prompt). seed: None for a greedy answer. count: of answers.

    Whatever its protocol and whether it streams, the answer depends on these fields alone.
    """

    max_tokens: int
    messages: Messages = ()
    prompt: str | None = None
    seed: int | None = None
    count: int = 1
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    tool: bool = False

    @property
    def key(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those that have all the fields."""
        both = self.prompt is None and self.seed is None and self.count == 1
        return ("openai", "anthropic") if both else ("openai",)

    def request(self, protocol: str, stream: bool) -> tuple[str, dict[str, Any]]:
        """(path, body)"""
        path, body = self._anthropic() if protocol == "anthropic" else self._openai(stream)
        return path, body | {"model": MODEL, "max_tokens": self.max_tokens, "stream": stream}

    def _openai(self, stream: bool) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"temperature": 0} if self.seed is None else {"temperature": 1, "seed": self.seed}
        body |= {"n": self.count} | ({"stop": list(self.stop)} if self.stop else {})
        if stream:
            body["stream_options"] = {"include_usage": True}
        if self.prompt is not None:
            return "/v1/completions", body | {"prompt": self.prompt}
        if self.schema:
            described = {"name": "form", "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": described}
        if self.tool:
            tools = [{"type": "function", "function": TOOL}]
            body |= {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}
        return "/v1/chat/completions", body | {"messages": list(self.messages)}

    def _anthropic(self) -> tuple[str, dict[str, Any]]:
        said = [dict(message) for message in self.messages]
        body: dict[str, Any] = {"temperature": 0, "messages": [each for each in said if each["role"] != "system"]}
        if said[0]["role"] == "system":
            body["system"] = said[0]["content"]
        if self.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": self.schema}}
        if self.tool:
            tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": PARAMETERS}
            body |= {"tools": [tool], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
        return "/v1/messages", body


def question(random: Random) -> str:
    return random.choice(QUESTIONS).format(*random.sample(SUBJECTS, 2))


def opening(random: Random) -> Messages:
    system = random.choice(SYSTEMS)
    first = ({"role": "system", "content": system},) if system else ()
    return (*first, {"role": "user", "content": question(random)})


def seed_of(random: Random) -> int | None:
    """Mostly none. Few different ones, so that they come again."""
    return random.randint(1, 3) if random.random() < 0.3 else None


def continuation(random: Random) -> Ask:
    prompt = " ".join(question(random) for _ in range(random.randint(1, 4)))
    return Ask(
        max_tokens=random.choice((8, 16, 48)),
        prompt=prompt,
        seed=seed_of(random),
        count=random.choice((1, 1, 1, 3)),
        stop=random.choice(((), (), (".", "\n\n"))),
    )


def form(random: Random) -> Ask:
    schema = random_schema(random.randint(1, 200))
    return Ask(max_tokens=400, messages=opening(random), schema=schema, seed=seed_of(random))


def tool_call(random: Random) -> Ask:
    return Ask(max_tokens=120, messages=opening(random), tool=True)


class Conversation:
    """Grows with each answer, and sometimes goes back to an earlier one and on from there.

    context: tokens that the server allows. A token is at least a byte, which gives a bound where none was counted.
    """

    def __init__(self, random: Random, context: int):
        self._random, self._context = random, context
        self._begin()

    def ask(self) -> Ask:
        tokens = self._random.choice((8, 16, 32, 64))
        if self._bytes + tokens > self._context:
            self._begin()
        return Ask(max_tokens=tokens, messages=self.messages)

    def answered(self, text: str) -> None:
        """Takes an answer in, and puts the next question."""
        if not text.strip():
            return self._begin()
        self.messages = (*self.messages, {"role": "assistant", "content": text})
        if self._random.random() < 0.25:
            self._branch()
        self.messages = (*self.messages, {"role": "user", "content": question(self._random)})

    @property
    def _bytes(self) -> int:
        return sum(len(message["content"].encode()) + 32 for message in self.messages)

    def _begin(self) -> None:
        self.messages = opening(self._random)

    def _branch(self) -> None:
        ends = [n for n, message in enumerate(self.messages, 1) if message["role"] == "assistant"]
        self.messages = self.messages[: self._random.choice(ends)]
