"""An answer as items of /v1/responses, which grow while it comes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from divebell.text.events import CallArguments, CallEnd, CallStart, Content, Event, Reasoning
from divebell.text.tools import is_object

Told = list[dict[str, Any]]  # events of a stream, without their numbers


class Output:
    """items: so far. One is open at a time; a text or a thought is its only part. calls: see `Tools.calls`."""

    def __init__(self, calls: Mapping[str, tuple[str | None, str]] = MappingProxyType({})):
        self.items: list[dict[str, Any]] = []
        self._calls = calls
        self._open = False

    def of(self, event: Event, cut: bool = False) -> Told:
        """What an event of the answer adds. cut: it is of the end of an answer that was cut off."""
        match event:
            case Reasoning(text) if text:
                return [*self._within("reasoning", _reasoning), self._grow("reasoning_text", text)]
            case Content(text):
                return [*self._within("message", _message), self._grow("output_text", text)]
            case CallStart(_, name, id):
                return [*self.close(), *self._begin(_call(*self._calls.get(name, (None, name)), id))]
            case CallArguments(_, text):
                self.items[-1]["arguments"] += text
                return [self._told("function_call_arguments.delta", delta=text)]
            case CallEnd():
                return self.close("incomplete" if cut and not is_object(self.items[-1]["arguments"]) else "completed")
        return []

    def close(self, status: str = "completed") -> Told:
        """Ends the item that is open."""
        if not self._open:
            return []
        self._open = False
        item = self.items[-1]
        item["status"] = status
        if item["type"] == "function_call":
            ended = [self._told("function_call_arguments.done", name=item["name"], arguments=item["arguments"])]
        else:
            ended = self._part_ended(item["content"][0])
        return [*ended, {"type": "response.output_item.done", "output_index": self._index, "item": _copy(item)}]

    @property
    def _index(self) -> int:
        return len(self.items) - 1

    def _within(self, kind: str, make) -> Told:
        """Makes sure that an item of this kind is open."""
        if self._open and self.items[-1]["type"] == kind:
            return []
        closed, (item, part) = self.close(), make()
        begun = self._begin(item)
        item["content"].append(part)
        return [*closed, *begun, self._told("content_part.added", content_index=0, part=dict(part))]

    def _begin(self, item: dict[str, Any]) -> Told:
        self.items.append(item)
        self._open = True
        return [{"type": "response.output_item.added", "output_index": self._index, "item": _copy(item)}]

    def _grow(self, kind: str, text: str) -> dict[str, Any]:
        self.items[-1]["content"][0]["text"] += text
        more = {"logprobs": []} if kind == "output_text" else {}
        return self._told(f"{kind}.delta", content_index=0, delta=text, **more)

    def _part_ended(self, part: dict[str, Any]) -> Told:
        more = {"logprobs": []} if part["type"] == "output_text" else {}
        return [
            self._told(f"{part['type']}.done", content_index=0, text=part["text"], **more),
            self._told("content_part.done", content_index=0, part=dict(part)),
        ]

    def _told(self, kind: str, **fields) -> dict[str, Any]:
        place = {"item_id": self.items[-1]["id"], "output_index": self._index}
        return {"type": f"response.{kind}", **place, **fields}


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    return item | ({"content": [dict(part) for part in item["content"]]} if "content" in item else {})


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"


def _reasoning() -> tuple[dict[str, Any], dict[str, Any]]:
    item = {"type": "reasoning", "id": _id("rs"), "summary": [], "content": [], "status": "in_progress"}
    return item, {"type": "reasoning_text", "text": ""}


def _message() -> tuple[dict[str, Any], dict[str, Any]]:
    item = {"type": "message", "id": _id("msg"), "role": "assistant", "content": [], "status": "in_progress"}
    return item, {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def _call(namespace: str | None, name: str, id: str | None) -> dict[str, Any]:
    called = {"call_id": id, "name": name, "arguments": "", "status": "in_progress"}
    within = {"namespace": namespace} if namespace else {}
    return {"type": "function_call", "id": _id("fc")} | called | within
