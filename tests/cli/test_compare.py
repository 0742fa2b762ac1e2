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
    for words in (
        "DeepSeek-R1",
        "not published",
        "mixture of experts, MLA",
        "2,048 H800",
        "829 t",
        "MLA is O(n log n)",
        "2,788,000 h x 2,290 t / 7,700,000 h",
    ):
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


def test_the_six_forms_timed_here(told, tmp_path, monkeypatch):
    from divebell.atlas import measured
    from divebell.costs import this_machine
    from divebell.costs.hardware import hardware
    from divebell.costs.plan import Speed

    def on_this(shape, points, machine, own):
        seconds = 1.0 if shape.active < 10e9 else 30.0
        return [Speed(*point, seconds, seconds / 10, "", None, None) for point in points]

    monkeypatch.setattr(measured, "on_this", on_this)
    monkeypatch.setattr(this_machine, "this_hardware", lambda own: hardware("epyc-9654"))
    shown = told("--measure", "--html", tmp_path / "p.html")
    for words in ("1000.0 (100.0)", "125.0 (12.5)", "30.0 (30.0)", "At most 30.0 times was measured", "is reached on"):
        assert words in shown, words
    assert (tmp_path / "p.html").read_text().count("<svg viewBox") == 3 + 6 + 2
    figures = json.loads(told("--measure", "--json"))
    assert figures["greatest"]["measured"] == 30
    assert len(figures["forms"]) == 6
    assert figures["forms"][3]["points"][0] == {
        "context": 1024,
        "batch": 1,
        "seconds": 30.0,
        "floor": 3.0,
        "dollars": None,
        "factor": 30.0,
    }


def test_an_unknown_model_or_folder_is_told(tmp_path, capsys):
    for arguments, words in (
        (["gpt-9"], "the atlas has no 'gpt-9'"),
        (["--html", str(tmp_path / "no" / "p")], "there is no folder"),
    ):
        assert main(["compare", *arguments]) == 1
        assert words in capsys.readouterr().err
