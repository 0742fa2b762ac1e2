"""The page is well formed, holds every figure, and fetches nothing."""

import re

import pytest
from browser import seen
from html_tree import Tree

from divebell.atlas.cells import atlas, chosen
from divebell.atlas.page import page, quality_points


@pytest.fixture(scope="module")
def text():
    return page(atlas())


def test_it_is_well_formed_and_fetches_nothing(text):
    tree = Tree(text)
    assert not tree.open
    assert not {"script", "img", "iframe", "object", "embed"} & set(tree.tags)
    fetched = [value for name, value in tree.attributes if name in ("src", "srcset", "data", "action")]
    assert not fetched
    assert not re.search(r"@import|url\(", text)
    links = [value for name, value in tree.attributes if name == "href"]
    assert all(link.startswith(("#", "https://", "data:,")) for link in links)


def test_it_suits_phones_and_both_kinds_of_light(text):
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_it_on_a_phone(text, dark, tmp_path):
    seen(text, tmp_path, dark).suits_a_phone(dark)


def test_every_reference_has_its_source(text):
    wanted = set(re.findall(r'href="#(source-\d+)"', text))
    there = set(re.findall(r'id="(source-\d+)"', text))
    assert wanted == there
    assert len(there) > 15


def test_charts_and_figures(text):
    assert text.count("<svg viewBox") == 3 + 6
    assert text.count('class="mark"') == len(quality_points(atlas())) == 12
    assert text.count("<polyline") == 6
    for shown in ("671 B", "not published", "829 t", "GPT-4 60.00 over R1 2.19", "from 16,384 tokens"):
        assert shown in text, shown


def test_models_without_prices_and_carbon():
    assert not Tree(page(chosen(("gemini-2.0-flash", "deepseek-v2-lite")))).open
