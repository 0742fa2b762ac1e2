"""Every cell of the atlas has a source and a date; what is derived follows from cells, and shows how."""

from datetime import date

import pytest

from divebell.atlas.cells import FIELDS, WORDS, atlas, chosen, claims
from divebell.atlas.derived import derived
from divebell.errors import BadInput

MODELS = {model.name: model for model in atlas()}
CELLS = [(model.name, field, cell) for model in atlas() for field, cell in model.cells.items()]


def sourced(source) -> bool:
    return (
        bool(source.title)
        and (not source.url or source.url.startswith("https://"))
        and bool(date.fromisoformat(source.date))
    )


def test_no_cell_is_without_source_and_date():
    unsourced = [(name, field) for name, field, cell in CELLS if not sourced(cell.source)]
    assert not unsourced
    assert len(CELLS) == 18 * len(FIELDS)
    assert all(sourced(claim.source) for claim in claims())


def test_a_price_of_a_makers_own_list_or_of_a_named_one_has_its_address():
    priced = [(name, cell) for name, field, cell in CELLS if field.startswith("price_") and cell.value is not None]
    without = {name for name, cell in priced if not cell.source.url}
    assert without == {"gemini-1.5-pro", "gemini-1.5-flash"} & {name for name, _ in priced}  # Google's page is not kept
    urls = {cell.source.url for name, cell in priced if name == "deepseek-r1"}
    assert urls == {"https://api-docs.deepseek.com/quick_start/pricing"}


def test_values_are_of_their_kind_and_in_range():
    for name, field, cell in CELLS:
        if cell.value is not None:
            assert isinstance(cell.value, str if field in WORDS else float), (name, field)
        if field in ("mmlu", "code", "multilingual") and cell.value is not None:
            assert 0 < cell.value < 100, (name, field)
    for model in atlas():
        active, total = model.cells["active"].value, model.cells["parameters"].value
        assert active is None or active <= total


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        ("deepseek-r1", "parameters", 671e9),
        ("deepseek-r1", "context", 128_000),
        ("deepseek-r1", "training_tokens", 14.8e12),
        ("deepseek-r1", "mmlu", 90.8),
        ("deepseek-v3", "gpu_hours", 2.788e6),
        ("deepseek-v3", "carbon", None),
        ("deepseek-r1", "price_output", 2.19),
        ("gpt-4", "parameters", None),
        ("llama-3.1-405b", "carbon", 8930),
    ],
)
def test_what_the_article_got_wrong_is_right_here(model, field, value):
    assert MODELS[model].cells[field].value == value


def test_the_articles_values_are_beside_the_true_ones():
    told = {claim.subject: (claim.claimed, claim.true) for claim in claims()}
    assert told["parameters of R1"][0] == "1.8T"
    assert told["MMLU"][0] == "85.4"
    assert told["training carbon"] == ("512 t", "not published")
    assert told["attention"][0] == "MLA is O(n log n)"
    assert all(claimed != true for claimed, true in told.values())


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        ("deepseek-v2", "gpu_hours", 172_800 * 8.1),
        ("deepseek-v3", "carbon", 2_788_000 * 2290 / 7_700_000),
        ("deepseek-r1", "gpu_hours", 2_788_000 + 147_000),
    ],
)
def test_derived_cells(model, field, value):
    cell = derived(MODELS[model])[field]
    assert cell.value == pytest.approx(value)
    assert cell.formula
    assert sourced(cell.source)


def test_nothing_is_derived_where_it_was_published():
    for model in atlas():
        assert all(model.cells[field].value is None for field in derived(model))


def test_an_unknown_model_is_named():
    with pytest.raises(BadInput, match="the atlas has no 'gpt-9'; known: deepseek-v2-lite, "):
        chosen(("gpt-9",))
