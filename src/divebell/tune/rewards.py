"""Rules that tell how good an answer is, from 0 to 1: no model judges."""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

_MARKED = re.compile(r"<answer>(?P<tagged>.*?)</answer>|\\boxed\{|(?:####[ \t]*)+(?P<last>[^\n]+)", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_NUMBER = re.compile(r"(?:(?<![\w)])-)?\d[\d,]*(?:\.\d+)?")
_WORD = r"[^\W\d_]{2,}\b"  # one letter alone may be a variable
_UNIT = rf"\\(?:text|mathrm)\{{[^{{}}]*\}}(?:\^\{{?\d\}}?)?|\\?[%$°]|{_WORD}|\\(?![a-zA-Z%$°])|[\s.,!]"
_MEASURE = re.compile(rf"\s*(?:{_WORD}[\s:]+)*\\?[$€£]?\s*(-?\d[\d,]*(?:\.\d+)?)(?:{_UNIT})*")
_REASONED = re.compile(r"\s*<think>(.+?)</think>(.+)", re.DOTALL)


def _answer(text: str, expected: str) -> float:
    """1 where what the text comes to is `expected`; numbers are compared as numbers.

    That is, after any reasoning, the last of <answer>...</answer>, \\boxed{...} or #### ..., and where a number is
    expected the one in it; without these the last number where a number is expected, else the whole text.
    """
    said = text.rpartition("</think>")[2]
    numeric, marked = _number(expected) is not None, _marked(said)
    if marked is not None:
        boxed = _marked(marked)  # a tag may have a box in it
        said = marked if boxed is None else boxed
        said = _only_number(said) if numeric else said
    elif numeric:
        said = next(reversed(_NUMBER.findall(said)), "")
    return float(_comparable(said) == _comparable(expected))


def _marked(text: str) -> str | None:
    found, closed = None, _closed_braces(text)
    for mark in _MARKED.finditer(text):
        if mark.lastgroup:
            found = mark[mark.lastgroup]
        elif mark.end() in closed:
            found = text[mark.end() : closed[mark.end()]]
    return found


def _closed_braces(text: str) -> dict[int, int]:
    """Where what is between braces begins, and where it ends."""
    begun, closed = [], {}
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            begun.append(brace.end())
        elif brace[0] == "}" and begun:
            closed[begun.pop()] = brace.start()
    return closed


def _only_number(marked: str) -> str:
    """Beside words and a unit, or after an equals sign; anything else, as a formula, is left as it is."""
    said = marked.rpartition("=")[2]
    measure = _MEASURE.fullmatch(said)
    return measure[1] if measure else said


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
