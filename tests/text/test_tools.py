import json

import pytest

from divebell.errors import BadInput
from divebell.text.tools import arguments_mapping, tools_of


@pytest.mark.parametrize("name", ["my tool", 'a"b', "f(x)", "a\nb", "a|b", "f,g", "<f>", "é\x00"])
def test_a_name_that_no_call_could_be_known_by_is_refused(name):
    with pytest.raises(BadInput) as caught:
        tools_of([{"type": "function", "function": {"name": "fine"}}, {"name": name}])
    assert str(caught.value).startswith(f"tools[1].function.name is {name!r}, ")


@pytest.mark.parametrize("name", ["get_weather", "mcp__files__read-file", "a.b/c:d", "прогноз", "天気"])
def test_other_names_are_taken(name):
    assert tools_of([{"name": name}])[0].name == name


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ('{"a": "x\\ud83d", "\\udc00": 1}', {"a": "x\ufffd", "\ufffd": 1}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
        ('{"a": 1e999}', {"arguments": '{"a": 1e999}'}),
        ('{"', {"arguments": '{"'}),
    ],
)
def test_arguments_are_a_mapping_that_json_can_hold(text, mapping):
    assert arguments_mapping(text) == mapping
    assert json.loads(json.dumps(mapping, allow_nan=False).encode()) == mapping
