"""The short form of the run that takes hours."""

import json

import pytest
from servers import small_model

import soak
from soak_server import Sample, growth


@pytest.mark.slow
def test_mixed_load_with_restarts_gives_no_wrong_answer(tmp_path):
    folder, told = small_model(tmp_path / "small"), tmp_path / "summary.json"
    options = ["--minutes", "0.75", "--clients", "8", "--ram", "700MB", "--context", "1536", "--limit", "60"]
    code = soak.main([*options, "--model", str(folder), "--json", str(told)])
    summary = json.loads(told.read_text())
    assert (code, summary["failures"]) == (0, [])
    assert sorted(line.split()[1] for line in summary["interruptions"]) == ["SIGKILL", "SIGTERM"]
    assert all(summary[name] for name in ("answered", "compared", "cancelled", "garbage", "valid", "calls"))


def life(*megabytes):
    return [Sample(60.0 + 10 * n, number * 10**6) for n, number in enumerate(megabytes)]


def test_memory_may_grow_in_the_first_minutes_only():
    assert growth(life(*range(100, 700, 100), *[600] * 12)) is None
    assert growth(life(*[600] * 6, *range(600, 900, 20))) == "the server's memory grew from 640 to 840 MB"
    assert growth(life(100, 200, 300)) is None
