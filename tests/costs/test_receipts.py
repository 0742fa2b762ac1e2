"""Bills: their arithmetic, and that every answer has one, whatever becomes of the ledger."""

from types import SimpleNamespace

import pytest

import divebell
from divebell.costs import ledger, receipts
from divebell.costs.energy import Source
from divebell.costs.settings import YEAR, Settings
from divebell.engine.books import Meter, Spent
from divebell.errors import BadFile

OWN = Settings(dollars_per_kwh=0.36, place="DEU", dollars=1500.0, years=5.0, prices=("deepseek-v4-flash",))


def _keeper(rows, source=None, booked=0.0):
    source = source or Source("a meter", 0.1, lambda: 0.0, idle_watts=20.0)
    model = SimpleNamespace(facts={"model": "m", "files": {"m": "0" * 64}, "format": "stored"})
    writer = SimpleNamespace(add=rows.append, flush=lambda: None, booked=lambda since, until: booked * (until - since))
    meter = Meter(iter([0.0, 50.0]).__next__, iter([0.0, 4.0]).__next__)
    return receipts.Bookkeeper(OWN, source, meter, model, writer)


def _sequence():
    times = SimpleNamespace(asked=0.0)
    return SimpleNamespace(given=3, reused=1, ids=[0] * 5, spent=Spent(2.0, 100.0), times=times)


def test_a_bill_adds_up():
    bill = _keeper([]).bill(_sequence())
    assert (bill["joules"], bill["idle_joules"]) == (100.0, 40.0)
    assert bill["marginal_dollars"] == pytest.approx(60 * 0.36 / 3.6e6)
    assert bill["all_in_dollars"] == pytest.approx(100 * 0.36 / 3.6e6 + 1500 / (5 * YEAR) * 2)
    assert bill["grams_co2"] == pytest.approx(100 / 3.6e6 * 381, rel=1e-3)
    assert bill["grid"] == "Germany, 2023"
    assert bill["api_lists"] == {"deepseek-v4-flash": "api-docs.deepseek.com/quick_start/pricing, 2026-07-01"}
    assert bill["api_dollars"] == {"deepseek-v4-flash": pytest.approx((1 * 0.0028 + 2 * 0.14 + 2 * 0.28) / 1e6)}


def test_idle_time_is_a_row_of_its_own():
    rows = []
    keeper = _keeper(rows)
    keeper.ended(_sequence())
    keeper.idle()
    assert [row["kind"] for row in rows] == ["answer", "idle"]
    sums = receipts.total(rows)
    assert (sums["answers"], sums["answer_joules"], sums["idle_joules"]) == (1, 100.0, 50.0)
    assert sums["prompt_tokens"] == 3


@pytest.mark.parametrize(("alone", "joules"), [(False, 12.5), (True, 50 - 0.75 * 4 * 10)], ids=["metered", "estimate"])
def test_idle_power_that_another_process_has_booked_is_not_booked_again(alone, joules):
    rows = []
    keeper = _keeper(rows, Source("a meter", 0.1, lambda: 0.0, idle_watts=10.0, alone=alone), booked=0.75)
    keeper.meter.since -= 100
    keeper.idle()
    assert rows[0]["joules"] == pytest.approx(joules)
    assert rows[0]["shared_seconds"] == pytest.approx(1.0)


def test_the_machines_sums_are_those_of_answers_and_of_idle_time():
    rows = []
    keeper = _keeper(rows)
    keeper.ended(_sequence())
    keeper.idle()
    sums = receipts.total(rows)
    assert (sums["answer_shared_seconds"], sums["idle_shared_seconds"]) == (2.0, 4.0)
    assert sums["answer_grams_co2"] == 2 * sums["idle_grams_co2"] == rows[0]["grams_co2"]
    assert sums["answer_all_in_dollars"] == rows[0]["all_in_dollars"]
    whole = 150 * 0.36 / 3.6e6 + 1500 / (5 * YEAR) * 6
    assert sums["answer_all_in_dollars"] + sums["idle_all_in_dollars"] == pytest.approx(whole)


def test_every_answer_has_a_bill_and_a_row(tiny, tmp_path, monkeypatch):
    writer = ledger.Writer(tmp_path / "receipts.sqlite")
    monkeypatch.setattr(ledger, "WRITER", writer)
    with divebell.load(tiny("llama"), threads=1) as llm:
        answers = llm.batch([[1, 2, 3], [4, 5]], max_tokens=4, ignore_eos=True)
    rows = ledger.receipts(tmp_path / "receipts.sqlite")
    assert [row["kind"] for row in rows] == ["answer", "answer", "idle"]
    joules = [answer.receipt.bill["joules"] for answer in answers]
    assert sorted(joules) == sorted(row["joules"] for row in rows[:2])
    assert rows[0]["completion_tokens"] == 4
    assert all(len(hash) == 64 for hash in rows[0]["files"].values())
    assert ledger.damage(tmp_path / "receipts.sqlite") == []


def test_a_ledger_that_can_not_be_written_costs_no_answer(tiny, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(ledger, "WRITER", ledger.Writer(tmp_path / "file" / "receipts.sqlite"))
    with divebell.load(tiny("llama"), threads=1) as llm:
        answer = llm.generate([1, 2, 3], max_tokens=2)
    assert answer.receipt.bill["method"]
    assert "not written down" in caplog.text


def test_wrong_settings_are_told_when_a_model_is_loaded(tiny, tmp_path, monkeypatch):
    path = tmp_path / "costs.toml"
    path.write_text("[electricity]\ndollars_per_kwh = -1")
    monkeypatch.setenv("DIVEBELL_COSTS", str(path))
    with pytest.raises(BadFile, match="dollars_per_kwh"):
        divebell.load(tiny("llama"), threads=1)
