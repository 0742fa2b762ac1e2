"""divebell compare: tables, JSON and the page."""

import json

import pytest

from divebell.cli import main


@pytest.fixture
def told(capsys):
    def run(*arguments: object) -> str:
        assert main(["compare", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run


def test_the_table(told):
    shown = told()
    for words in ("DeepSeek-R1", "not published", "829 t", "MLA is O(n log n)", "2,788,000 h x 2,290 t / 7,700,000 h"):
        assert words in shown, words


def test_one_model_with_its_sources(told):
    shown = told("deepseek-v3")
    assert "https://arxiv.org/abs/2412.19437" in shown
    assert "2024-12-27" in shown


def test_json_and_the_page(told, tmp_path):
    figures = json.loads(told("--json", "--html", tmp_path / "p.html"))
    assert len(figures["models"]) == 18
    assert figures["models"][3]["cells"]["mmlu"]["source"]["date"] == "2025-01-22"
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")


def test_where_experts_and_latents_pay(told):
    figures = json.loads(told("--cost", "--json"))
    assert next(form["name"] for form in figures["forms"]) == "experts, latent (MLA)"
    assert figures["factor"] == 27
    shown = told("--cost")
    assert "from 16,384 tokens" in shown
    assert "8x-h800 at $16.00 an hour" in shown


def test_an_unknown_model_or_folder_is_told(tmp_path, capsys):
    for arguments, words in (
        (["gpt-9"], "the atlas has no 'gpt-9'"),
        (["--html", str(tmp_path / "no" / "p")], "No such"),
    ):
        assert main(["compare", *arguments]) == 1
        assert words in capsys.readouterr().err
