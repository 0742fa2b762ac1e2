import pytest

from divebell import config
from divebell.config import format_bytes, parse_bytes, plural
from divebell.engine.budget import MOST_CONTEXTS, Budget, usable_ram
from divebell.engine.cache import PAGE
from divebell.errors import BadInput, OverBudget

MB = 1 << 20
WORKSPACE = {"program": 4 * MB, "step": 6 * MB}


@pytest.mark.parametrize(
    ("size", "count"),
    [("16GiB", 16 << 30), ("800MB", 800_000_000), (" 1.5 gb ", 1_500_000_000), ("64k", 64_000), ("10", 10), (7, 7)],
)
def test_sizes_as_people_write_them(size, count):
    assert parse_bytes(size) == count


@pytest.mark.parametrize("size", ["", "GiB", "-1GB", "1e9", "12 parsecs", "9" * 400, 0, -5, True, 1.5, None, [1]])
def test_other_sizes_are_refused(size):
    with pytest.raises(BadInput, match="ram is"):
        parse_bytes(size)


def test_sizes_as_we_write_them():
    assert [format_bytes(n) for n in (12, 2048, 98_362_432, 8 << 30)] == ["12 B", "2.0 KiB", "93.8 MiB", "8.0 GiB"]


def test_counts_as_we_write_them():
    assert [plural(n, "token") for n in (0, 1, 2)] == ["0 tokens", "1 token", "2 tokens"]
    assert plural(1020, "token", ",") == "1,020 tokens"


def test_ram_is_never_more_than_the_machine_has(monkeypatch):
    monkeypatch.setattr("divebell.engine.budget.available_memory", lambda: 1000)
    assert usable_ram(None) == 900
    assert usable_ram("1GB") == 1000
    assert usable_ram(500) == 500


def test_the_container_may_have_less_than_the_machine(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert config._cgroup_available(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert config._cgroup_available(tmp_path) == float("inf")
    assert config._cgroup_available(tmp_path / "none") == float("inf")


def test_the_context_is_what_fits_and_no_more_than_the_model_knows():
    budget = Budget(ram=100 * MB, weights=50 * MB, page=MB, workspace=WORKSPACE)
    assert budget.plan(None, longest=10_000) == (40 * PAGE, 40)
    assert budget.plan(None, longest=100) == (100, min(40, 2 * MOST_CONTEXTS))
    assert budget.plan(300, longest=10_000) == (300, 40)


def test_what_does_not_fit_is_refused_with_the_sum():
    budget = Budget(ram=100 * MB, weights=50 * MB, page=MB, workspace=WORKSPACE)
    with pytest.raises(OverBudget) as error:
        budget.plan(41 * PAGE, longest=10_000)
    assert "weights 50.0 MiB + cache of 2624 tokens 41.0 MiB + workspace 10.0 MiB (" in str(error.value)
    assert "(program 4.0 MiB, step 6.0 MiB) = 101.0 MiB" in str(error.value)
    assert "100.0 MiB may be used" in str(error.value)
    with pytest.raises(OverBudget):
        Budget(ram=55 * MB, weights=50 * MB, page=MB, workspace=WORKSPACE).plan(None, longest=10)


@pytest.mark.parametrize(("ram", "advice"), [(100, "take a smaller context or weights"), (60, "take weights of fewer")])
def test_only_what_can_help_is_advised(ram, advice):
    budget = Budget(ram=ram * MB, weights=50 * MB, page=MB, workspace=WORKSPACE)
    with pytest.raises(OverBudget, match=advice):
        budget.plan(41 * PAGE, longest=10_000)


@pytest.mark.parametrize("context", [0, 1, -1, 10_001, 1.5, "8k", True])
def test_a_context_that_the_model_can_not_have_is_refused(context):
    with pytest.raises(BadInput, match=rf"context is {context!r}; it must be 2 \(a token and its answer\) to 10000"):
        Budget(ram=100 * MB, weights=0, page=1, workspace={}).plan(context, longest=10_000)
