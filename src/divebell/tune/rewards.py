"""Rules that tell how good an answer is, from 0 to 1: no model judges."""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

_MARKED = re.compile(r"<answer>(.*?)</answer>|\\boxed\{([^{}]*)\}|####[ \t]*([^\n]+)", re.DOTALL)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_REASONED = re.compile(r"\s*<think>(.+?)</think>(.+)", re.DOTALL)


def _answer(text: str, expected: str) -> float:
    """1 where what the text comes to is `expected`; numbers are compared as numbers.

    That is, after any reasoning, the last of <answer>...</answer>, \\boxed{...} or #### ...; without these the last
    number where a number is expected, else the whole text.
    """
    said = text.rpartition("</think>")[2]
    marked = [next(filter(None, parts), "") for parts in _MARKED.findall(said)]
    if marked:
        said = marked[-1]
    elif _number(expected) is not None:
        said = next(reversed(_NUMBER.findall(said)), "")
    return float(_comparable(said) == _comparable(expected))


def _format(text: str, expected: str) -> float:
    """1 where it is reasoning between <think> and </think>, once and at the beginning, and then an answer."""
    parts = _REASONED.fullmatch(text)
    whole = parts is not None and all(part.strip() for part in parts.groups())
    return float(whole and text.count("<think>") == text.count("</think>") == 1)


REWARDS: dict[str, Callable[[str, str], float]] = {"answer": _answer, "format": _format}


def _comparable(text: str) -> Decimal | str:
    number = _number(text)
    return " ".join(text.split()) if number is None else number


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip().removeprefix("$").rstrip(".").replace(",", ""))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
