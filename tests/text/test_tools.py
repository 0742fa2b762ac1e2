import pytest

from divebell.errors import BadInput
from divebell.text.tools import tools_of


@pytest.mark.parametrize("name", ["my tool", 'a"b', "f(x)", "a\nb", "a|b", "f,g", "<f>", "é\x00"])
def test_a_name_that_no_call_could_be_known_by_is_refused(name):
    with pytest.raises(BadInput) as caught:
        tools_of([{"type": "function", "function": {"name": "fine"}}, {"name": name}])
    assert str(caught.value).startswith(f"tools[1].function.name is {name!r}, ")


@pytest.mark.parametrize("name", ["get_weather", "mcp__files__read-file", "a.b/c:d", "прогноз", "天気"])
def test_other_names_are_taken(name):
    assert tools_of([{"name": name}])[0].name == name
