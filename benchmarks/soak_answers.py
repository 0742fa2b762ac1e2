"""Answers of either protocol, whole or from a stream, in one form that can be compared."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

FINISHES = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


class Cut(Exception):
    """A stream ended with an error, or before its last event."""


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Of a stream of events. Not as str.splitlines does it: a text may hold separators that are none here."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode()


class Told:
    """texts: of each answer, as far as they have come. prompt, cached: tokens, once they are told. began: whether the
    server has said that it answers."""

    def __init__(self, count: int = 1):
        self.texts = [""] * count
        self.prompt = self.cached = 0
        self.complete = self.began = False
        self._finishes: list[str | None] = [None] * count
        self._calls: dict[int, list[str]] = {}

    def take_line(self, line: str) -> None:
        """One of a stream of server-sent events. Raises Cut for an error."""
        if line == "data: [DONE]":
            self.complete = True
        elif line.startswith("data: "):
            body = json.loads(line[len("data: ") :])
            if "error" in body:
                raise Cut(body["error"]["message"])
            self.take(body)

    def take(self, body: Mapping[str, Any]) -> None:
        """A whole answer, a chunk, or an event."""
        if "choices" in body:
            for choice in body["choices"]:
                self._choice(choice)
            self._count_openai(body.get("usage"))
        else:
            self._event(body)

    @property
    def result(self) -> dict[str, Any]:
        """What is the same however it was asked for. A call that was cut short is no call."""
        calls = [self._calls[index] for index in sorted(self._calls)]
        whole = "length" not in self._finishes
        return {
            "texts": self.texts,
            "finishes": self._finishes,
            "calls": [[name, json.loads(arguments)] for name, arguments in calls] if whole else None,
        }

    def _choice(self, choice: Mapping[str, Any]) -> None:
        index, part = choice["index"], choice.get("message") or choice.get("delta") or {}
        self.texts[index] += part.get("content") or choice.get("text") or ""
        self._finishes[index] = choice["finish_reason"] or self._finishes[index]
        for number, call in enumerate(part.get("tool_calls") or ()):
            self._call(call.get("index", number), call["function"].get("name") or "", call["function"]["arguments"])

    def _call(self, index: int, name: str, arguments: str) -> None:
        known = self._calls.setdefault(index, ["", ""])
        known[0] += name
        known[1] += arguments

    def _count_openai(self, usage: Mapping[str, Any] | None) -> None:
        if usage:
            self.prompt, self.cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]

    def _event(self, body: Mapping[str, Any]) -> None:
        match body:
            case {"type": "message", "content": blocks, "stop_reason": reason, "usage": usage}:
                for index, block in enumerate(blocks):
                    self._block(index, block, whole=True)
                self._end(reason, usage)
            case {"type": "content_block_start", "index": index, "content_block": block}:
                self._block(index, block, whole=False)
            case {"type": "content_block_delta", "delta": {"text": text}}:
                self.texts[0] += text
            case {"type": "content_block_delta", "index": index, "delta": {"partial_json": text}}:
                self._call(index, "", text)
            case {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}:
                self._end(reason, usage)
            case {"type": "message_stop"}:
                self.complete = True

    def _block(self, index: int, block: Mapping[str, Any], whole: bool) -> None:
        if block["type"] == "text":
            self.texts[0] += block["text"]
        elif block["type"] == "tool_use":
            self._call(index, block["name"], json.dumps(block["input"]) if whole else "")

    def _end(self, reason: str, usage: Mapping[str, int]) -> None:
        self._finishes[0] = FINISHES[reason]
        self.cached = usage["cache_read_input_tokens"]
        self.prompt = usage["input_tokens"] + self.cached
