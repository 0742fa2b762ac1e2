"""A form that was filled in wrong, told in one sentence."""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from divebell.serve.refusal import Refusal


def complaint(error: RequestValidationError) -> Refusal:
    """About the field that is at fault; where a union makes several of one fault, about the one that came closest."""
    errors = [each for each in error.errors() if each["loc"][:1] == ("body",)]
    if not errors:
        return Refusal(400, "; ".join(each["msg"] for each in error.errors()))
    closest = max(errors, key=lambda each: (len(_path(each, error.body)), not each["type"].endswith("_type")))
    path = _shown(_path(closest, error.body))
    if not path or closest["loc"] == ("body",):
        return Refusal(400, "the body must be a JSON object, sent with Content-Type: application/json")
    details, code = closest.get("ctx", {}).get("details"), _CODES.get(closest["type"])
    return Refusal(400, f"{path}: {_sentence(closest)}", param=path, code=code, details=details)


_CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}
_SENTENCES = {
    "extra_forbidden": "this field is not known here; leave it out",
    "missing": "this field is needed",
    "none_required": "this field is not supported; leave it out",
}


def _sentence(error: Mapping[str, Any]) -> str:
    return _SENTENCES.get(error["type"]) or f"{error['msg'].removeprefix('Value error, ')} (it is {_value(error)})"


def _value(error: Mapping[str, Any]) -> str:
    return f"{error['input']!r:.80}"


def _path(error: Mapping[str, Any], body: Any) -> list[str | int]:
    """The error's place in the body, without pydantic's names for the members of a union."""
    path: list[str | int] = []
    for step in error["loc"][1:-1]:
        if _has(body, step):
            body = body[step]
            path.append(step)
    last = error["loc"][-1]
    return [*path, last] if _has(body, last) or error["type"] == "missing" else path


def _has(body: Any, step: str | int) -> bool:
    if isinstance(body, list):
        return isinstance(step, int) and step < len(body)
    return isinstance(body, Mapping) and step in body


def _shown(path: list[str | int]) -> str:
    """messages[0].content"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
