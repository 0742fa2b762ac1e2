"""The person's settings: what is wrong is named; what is missing is assumed."""

import pytest

from divebell.costs import carbon, settings
from divebell.errors import BadFile


def _load(tmp_path, text):
    path = tmp_path / "costs.toml"
    path.write_text(text)
    return settings.load(path)


def test_a_missing_file_is_all_assumptions(tmp_path):
    found = settings.load(tmp_path / "none.toml")
    assert found.place == "WORLD"
    assert {"dollars_per_kwh", "place", "dollars", "watts"} <= set(found.assumed)


def test_given_figures_are_taken(tmp_path):
    found = _load(tmp_path, '[electricity]\ndollars_per_kwh = 0.36\nplace = "DEU"\n[hardware]\nwatts = 90\n')
    assert found.dollars_per_joule == pytest.approx(1e-7)
    assert "dollars_per_kwh" not in found.assumed
    grid = carbon.grid(found)
    assert (grid.place, grid.year) == ("Germany", 2023)
    assert grid.grams(3.6e6) == pytest.approx(381, abs=1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[electricity]\ndollars_per_kwh = -0.3", r"electricity.dollars_per_kwh: is -0.3; .* at least 0"),
        ("[electricity]\ndollars_per_kwh = nan", "dollars_per_kwh"),
        ('[electricity]\nplace = "XYZ"', "electricity.place.*DEU"),
        ("[hardware]\nyears = 0", "hardware.years"),
        ("[hardware]\nwat = 3", "hardware.wat.*watts"),
        ("[hard]\nwatts = 3", "hard.*known: electricity"),
        ('[compare]\nprices = ["gpt-9"]', "compare.prices.*gpt-4o"),
        ("[electricity", "TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, named):
    with pytest.raises(BadFile, match=named):
        _load(tmp_path, text)
