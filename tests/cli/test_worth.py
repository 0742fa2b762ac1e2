"""divebell worth: from the ledger, and from a plan."""

import json
import sqlite3
from pathlib import Path

import pytest

from divebell.cli import main
from divebell.costs import ledger

V2_LITE = str(Path(__file__).parents[2] / "benchmarks" / "configs" / "deepseek-v2-lite.json")
DAY = ("--prompt-tokens", "2e7", "--cached-tokens", "1.5e7", "--answer-tokens", "1e6")
ROW = {"kind": "answer", "time": 1.7e9, "method": "a meter", "prompt_tokens": 100, "cached_tokens": 40}
ROW |= {"completion_tokens": 10, "shared_seconds": 2.0, "joules": 50.0, "idle_joules": 20.0}


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DIVEBELL_COSTS", str(tmp_path / "costs.toml"))


def _judged(capsys, *arguments: str) -> dict:
    assert main(["worth", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_ledgers_day_is_taken_and_can_be_made_larger(capsys):
    ledger.append(ledger.place(), [ROW, ROW])
    found = _judged(capsys, "--price", "gpt-4o")
    assert found["load"] == {"prompt": 200.0, "cached": 80.0, "answered": 20.0}
    assert found["assumed"] == ["dollars_per_kwh", "dollars"]
    larger = _judged(capsys, "--price", "gpt-4o", "--prompt-tokens", "2000", "--answer-tokens", "200")
    assert larger["load"]["cached"] == pytest.approx(800.0)
    assert larger["dollars"]["rent"] == pytest.approx(10 * found["dollars"]["rent"])


def test_metered_idle_power_turns_the_verdict_round_and_what_is_missing_is_named(capsys, tmp_path):
    (tmp_path / "costs.toml").write_text("[hardware]\ndollars = 100\n")
    answer = ROW | {"prompt_tokens": 10_000, "cached_tokens": 0, "completion_tokens": 10_000, "idle_joules": 0.0}
    ledger.append(ledger.place(), [answer] * 10)
    found = _judged(capsys, "--price", "deepseek-v3")
    assert (found["verdict"], found["assumed"]) == ("own", ["dollars_per_kwh", "idle_watts"])
    ledger.append(ledger.place(), [{"kind": "idle", "time": 1.7e9, "joules": 50 * 86400.0}])
    found = _judged(capsys, "--price", "deepseek-v3")
    assert (found["verdict"], found["assumed"]) == ("rent", ["dollars_per_kwh"])
    assert found["lines"][1]["dollars"] == pytest.approx(1.2 * 0.2)


def test_a_price_of_the_past_and_one_with_a_limit_are_said(capsys):
    ledger.append(ledger.place(), [ROW])
    assert _judged(capsys, "--price", "deepseek-r1")["price_ended"] is True
    assert _judged(capsys, "--price", "gpt-4")["price_ended"] is False
    assert main(["worth", "--price", "deepseek-r1"]) == 0
    assert "deepseek-r1 was on offer at this price until 2025-09-05" in capsys.readouterr().out
    assert main(["worth", "--price", "deepseek-v4.1-flash"]) == 0
    assert "off-peak; twice as much 01-04" in capsys.readouterr().out


def test_a_damaged_ledger_is_said(capsys):
    ledger.append(ledger.place(), [ROW, ROW])
    with sqlite3.connect(ledger.place()) as base:
        base.execute("UPDATE receipts SET body = '{}' WHERE id = 2")
    assert _judged(capsys)["damage"] == ["row 2 was changed, or its hash was"]
    assert main(["worth"]) == 0
    assert "the ledger is damaged, so the day may not be true: row 2 was changed" in capsys.readouterr().out


def test_a_machine_without_a_price_is_not_free(capsys):
    ledger.append(ledger.place(), [ROW])
    assert main(["worth", "--price", "gpt-4", "--prompt-tokens", "1e6", "--answer-tokens", "1e6"]) == 0
    out = capsys.readouterr().out
    for words in ("if the machine costs less than $", "left out: the machine's price", "tokens a day, the machine's"):
        assert words in out, words


def test_a_bought_machine_wears_and_takes_power(capsys):
    assert main(["worth", "--model", V2_LITE, "--hardware", "epyc-9654", *DAY]) == 0
    out = capsys.readouterr().out
    assert out.startswith("rent: ")
    for words in ("wear", "idle power", "deepseek-v4-flash (DeepSeek, ", "the tariff: no", "dollars_per_kwh (see "):
        assert words in out, words


def test_a_hired_machine_costs_its_hire(capsys):
    found = _judged(capsys, "--model", V2_LITE, "--hardware", "8x-h800", *DAY)
    wear, idle, work, _ = found["lines"]
    assert (wear["sum"], wear["dollars"]) == ("24 h x $16", 384.0)
    assert idle["dollars"] == work["dollars"] == 0
    assert found["dollars"]["own"] == 384.0
    hire = next(change for change in found["changes"] if change.startswith("the hire"))
    assert f"${found['dollars']['rent'] / 24:,.3g} an hour" in hire
    assert not [change for change in found["changes"] if "tariff" in change]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "the ledger has no answers yet"),
        (("--hardware", "8x-h800"), "give its --model too"),
        (("--cached-tokens", "5"), "give its --model too"),
        (("--model", V2_LITE), "--prompt-tokens is missing"),
        (("--model", V2_LITE, "--hardware", "8x-h20", *DAY), "the price of 8x-h20 is not in the catalogue"),
        (("--model", V2_LITE, "--hardware", "epyc-9654", *DAY, "--batch", "0"), "--batch is 0"),
        (("--model", V2_LITE, "--hardware", "epyc-9654", *DAY[:-1], "nan"), "is no load"),
        (("--model", V2_LITE, "--hardware", "epyc-9654", *DAY[:-1], "inf"), "is no load"),
        (
            ("--model", V2_LITE, "--hardware", "epyc-9654", *DAY, "--batch", "1000000"),
            "TiB with workspace and the cache of 1,000,000 x 4,096 tokens, of 1.4 TiB; take a lower --batch",
        ),
        (("--price", "abacus"), "there is no price of 'abacus'"),
    ],
)
def test_what_can_not_be_judged_is_said(arguments, says, capsys):
    assert main(["worth", *arguments]) == 1
    assert says in capsys.readouterr().err


def test_with_its_price_and_power_a_machine_of_the_catalogue_can_be_judged(capsys, tmp_path):
    (tmp_path / "costs.toml").write_text("[hardware]\ndollars = 73050\n")
    found = _judged(capsys, "--model", V2_LITE, "--hardware", "8x-h20", *DAY)
    assert found["lines"][0]["dollars"] == pytest.approx(40.0)
    assert main(["worth", "--model", V2_LITE, "--hardware", "8x-ascend-910c", *DAY]) == 1
    assert "the power of 8x-ascend-910c is not published" in capsys.readouterr().err


def test_a_negative_tariff_is_refused(capsys, tmp_path):
    (tmp_path / "costs.toml").write_text("[electricity]\ndollars_per_kwh = -0.3\n")
    assert main(["worth"]) == 1
    assert "electricity.dollars_per_kwh: is -0.3; it must be a number, at least 0" in capsys.readouterr().err
