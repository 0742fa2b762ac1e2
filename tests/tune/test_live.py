"""What the person at hand sees of a run."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from divebell.tune import live
from divebell.tune.record import METRICS

ROW = {"tokens": 10, "seconds": 1.0}
ROWS = [ROW | {"step": step, "kl": 0.5, "loss": 2.0 - step} for step in range(2)]
ROWS[1]["held_out"] = 1.5


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Of two steps, of which the last is evaluated; all are recorded."""
    (tmp_path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    monkeypatch.setattr(live, "gmac_per_s", lambda dtype: 1.0)
    plan, objective = SimpleNamespace(multiply_adds=1e6), SimpleNamespace(shown=("kl", "loss"))
    return SimpleNamespace(plan=plan, objective=objective, steps=2, result="adapter", train=lambda out: iter(ROWS))


def test_what_was_gone_on_with_is_told_from_its_beginning(run, tmp_path):
    run.train = lambda out: iter(ROWS[1:])
    figures = live.watched(run, tmp_path)
    assert figures["loss"] == [2.0, 1.0]
    assert figures["tokens_per_s"] == 10.0


def test_a_log_that_has_no_bar_tells_of_evaluations(run, tmp_path, capsys):
    figures = live.watched(run, tmp_path)
    assert figures["loss"] == [2.0, 1.0]
    lines = capsys.readouterr().err.splitlines()
    assert sum("step 2 of 2  kl 0.5000 loss 1.0000" in line and "held out 1.5000" in line for line in lines) == 1
    assert not any("step 1 of 2" in line for line in lines)


def test_who_interrupts_it_is_told_how_it_goes_on(run):
    def interrupted(out):
        yield ROWS[0]
        raise KeyboardInterrupt

    run.train = interrupted
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from the last state"):
        live.watched(run, Path("out"))
