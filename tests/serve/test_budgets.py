from pathlib import Path

import pytest

from divebell.errors import BadInput, OverBudget
from divebell.serve import budgets
from divebell.serve.budgets import Wanted, parsed, shared

GIB = 1 << 30


@pytest.fixture(autouse=True)
def plenty(monkeypatch):
    monkeypatch.setattr("divebell.engine.budget.available_memory", lambda: 64 * GIB)


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("smollm2-135m", Wanted("smollm2-135m", "smollm2-135m", None)),
        ("smollm2-135m@2GiB", Wanted("smollm2-135m", "smollm2-135m", 2 * GIB)),
        ("chat=smollm2-135m@1.5GB", Wanted("chat", "smollm2-135m", 1_500_000_000)),
        ("org/name", Wanted("org/name", "org/name", None)),
        ("org/name:file.gguf@8gib", Wanted("org/name:file.gguf", "org/name:file.gguf", 8 * GIB)),
        ("models/some.Q4_0.gguf", Wanted("some.Q4_0", "models/some.Q4_0.gguf", None)),
        ("big=models/some.gguf", Wanted("big", "models/some.gguf", None)),
        ("user@host", Wanted("user@host", "user@host", None)),
    ],
)
def test_a_model_its_name_and_its_budget(argument, wanted):
    assert parsed(argument) == wanted


def test_a_path_that_exists_is_not_taken_apart(tmp_path):
    folder = tmp_path / "a=b"
    folder.mkdir()
    assert parsed(f"{folder}@1GiB") == Wanted("a=b", str(folder), GIB)


def test_what_is_left_is_shared_evenly():
    wanted = shared(["a", "b@4GiB", "c"], 16 * GIB)
    assert [(one.name, one.ram) for one in wanted] == [("a", 6 * GIB), ("b", 4 * GIB), ("c", 6 * GIB)]


def test_all_is_one_model_s_by_default():
    assert shared(["a"], None) == [Wanted("a", "a", budgets.usable_ram(None))]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ([], BadInput, "there is no model to serve"),
        (["a", "b", "a"], BadInput, "two models are called a; give one of them a name of its own"),
        (["a@10GiB", "b@8GiB"], OverBudget, "sum to 18.0 GiB, and 16.0 GiB may be used; give less"),
        (["a@16GiB", "b"], OverBudget, "16.0 GiB may be used by all"),
        (["a@0GiB"], BadInput, "ram is 0; give a number of bytes"),
    ],
)
def test_what_can_t_be_is_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        shared(arguments, 16 * GIB)


def test_an_adapter_its_folder_and_its_model():
    assert budgets.adapter("sql=run/adapter", ["a"]) == ("sql", Path("run/adapter"), "a")
    assert budgets.adapter("sql=run/a@b", ["a"]) == ("sql", Path("run/a@b"), "a")
    assert budgets.adapter("sql=run/adapter@b", ["a", "b"]) == ("sql", Path("run/adapter"), "b")


@pytest.mark.parametrize(
    ("argument", "said"),
    [("run/adapter", "give NAME=FOLDER"), ("sql=run/adapter", "say whose it is, as sql=run/adapter@MODEL, of a, b")],
)
def test_an_adapter_that_can_not_be_told(argument, said):
    with pytest.raises(BadInput, match=said):
        budgets.adapter(argument, ["a", "b"])
