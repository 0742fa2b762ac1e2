"""The page of results is well formed, holds every figure, and fetches nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from browser import seen
from html_tree import Tree

from divebell.errors import EndpointError
from divebell.evaluate.intervals import interval
from divebell.evaluate.page import page
from divebell.evaluate.published import published
from divebell.evaluate.results import Result, Score
from divebell.evaluate.scoring import Outcome

COST = {"seconds": 12.3456, "prompt_tokens": 123456, "cached_tokens": 7, "completion_tokens": None, "joules": 0.01234}
COST |= {"grams_co2": None, "dollars": 2.5e-6}


def outcome(model: str, right: list[int]) -> Outcome:
    rows = [{"task": "t", "id": id, "sample": 0, "scores": {"acc": value}} for id, value in enumerate(right)]
    scores = [Score("acc", interval(right), True), Score("perplexity", interval([3.0, 4.0]), False)]
    parts = {"mmlu_anatomy": (0.25, 4), "mmlu_virology": (0.5, 6)}
    found = published("deepseek-r1", "mmlu")
    own = Result("mmlu", len(right), 14042, 3, scores, found, COST, parts)
    return Outcome(model, Path("/secret/home/journal.jsonl"), {"mmlu": rows}, [own], 0, [], None)


@pytest.fixture(scope="module")
def text() -> str:
    return page([outcome("first<script>", [1, 0] * 10), outcome("second", [1, 1] * 10)])


def test_it_is_well_formed_and_fetches_nothing(text):
    tree = Tree(text)
    assert not tree.open
    assert not {"script", "img", "iframe", "object", "embed", "form"} & set(tree.tags)
    assert not [name for name, _ in tree.attributes if name in ("src", "srcset", "data", "action")]
    assert [value for name, value in tree.attributes if name == "href"] == ["data:,"]
    assert not re.search(r"@import|url\(", text)


def test_it_suits_phones_and_both_kinds_of_light(text):
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<table>") == text.count('<div class="wide"><table>')  # what is wide scrolls by itself


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_it_on_a_phone(text, dark, tmp_path):
    seen(text, tmp_path, dark).suits_a_phone(dark)


def test_every_figure_is_there(text):
    shown = Tree(text).texts
    for words in ("first<script>", "50.0", "29.9 to 70.1", "Wilson", "20 of 14,042 x 3", "3.5", "mmlu_virology"):
        assert words in shown, words
    for words in ("90.8", "DeepSeek's own: zero-shot, generated answers", "arXiv 2501.12948 table 4", "2025-01-22"):
        assert words in shown, words
    for words in ("12.3", "123,456", "not known", "0.0123", "2.5e-06", "tokens read", "joules", "$", "g CO2"):
        assert words in shown, words
    for words in ("+50.0", "McNemar, exact", "they differ", "second against first<script>"):
        assert words in shown, words
    assert "/secret" not in text


def test_an_interval_is_drawn_from_its_low_to_its_high(text):
    left, width = re.search(r"left:([\d.]+)%;width:([\d.]+)%", text).groups()
    assert (float(left), float(left) + float(width)) == pytest.approx((29.93, 70.07), abs=0.01)
    assert text.count('class="bar"') == 2  # a perplexity is no share


def test_what_ended_a_run_is_told():
    broken = replace(outcome("m", [1, 0]), results=[], problem=EndpointError("http://x <is> gone"))
    told = "".join(Tree(page([broken])).texts)
    assert "The run ended early: http://x <is> gone" in told
    assert "No question is answered." in told
    assert "<is>" not in page([broken])


def test_refused_questions_are_told():
    refused = replace(outcome("first", [1, 0]), refused=[{"refused": "content <filter>"}])
    told = "Questions that the server refused, and that no score counts: 1. The first: content <filter>"
    assert told in Tree(page([refused])).texts
