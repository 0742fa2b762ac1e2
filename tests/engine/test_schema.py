import pytest

from divebell.engine.schema import PLAIN, REMARKS, WITH_SCHEMAS, enforceable
from divebell.errors import BadInput

REFUSED = ["not", "if", "contains", "uniqueItems", "propertyNames", "dependentRequired", "unevaluatedItems"]


@pytest.mark.parametrize("keyword", [*REFUSED, "maxlength", "nullable", "x-guidance"])
@pytest.mark.parametrize("inside", ["root", "properties", "items", "anyOf", "$defs", "prefixItems"])
def test_a_keyword_that_can_not_be_enforced_is_refused_wherever_it_is(keyword, inside):
    part = {keyword: True}
    schemas = {
        "root": part,
        "properties": {"properties": {"a": {"type": "array", "items": part}}},
        "items": {"items": part},
        "anyOf": {"anyOf": [{"type": "null"}, part]},
        "$defs": {"$defs": {"a": part}},
        "prefixItems": {"prefixItems": [part]},
    }
    with pytest.raises(BadInput, match=rf"json_schema: {keyword} in #\S* can't be enforced; .*maxLength"):
        enforceable(schemas[inside])


def test_the_place_is_told():
    with pytest.raises(BadInput, match="not in #/properties/a/items/anyOf/1 can't"):
        enforceable({"properties": {"a": {"items": {"anyOf": [True, {"not": {}}]}}}})


def test_names_and_values_are_not_keywords():
    schema = {"properties": {"not": {"const": {"if": 1}}, "x": {"enum": [{"then": 2}], "default": {"else": 3}}}}
    assert enforceable(schema).items() >= schema.items()


def test_everything_else_stays_as_it_is():
    assert enforceable(True)["type"] == "object"
    assert enforceable({"x-order": 3, "title": "a"}).items() >= {"x-order": 3, "title": "a"}.items()
    assert not PLAIN & WITH_SCHEMAS | PLAIN & REMARKS | WITH_SCHEMAS & REMARKS


@pytest.mark.parametrize("least", [2, 7])
def test_the_number_of_properties_counts_as_far_as_their_names_do(least):
    """Names that a schema leaves open may come twice, and two equal names are one property."""
    with pytest.raises(BadInput, match=f"minProperties {least} in #"):
        enforceable({"minProperties": least})
    enforceable({"minProperties": 2, "required": ["a", "b"]})
    enforceable({"minProperties": 1})


def deep() -> dict:
    schema: dict = {}
    for _ in range(100_000):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"const": float("nan")}, "json_schema is not JSON: Out of range float"),
        ({"const": object()}, "json_schema is not JSON: .*object"),
        (deep(), "json_schema is not JSON: .*recursion"),
        ({"items": 3}, "json_schema: #/items is '3'; a schema is an object, true or false"),
        ({"properties": {"a": None}}, "#/properties/a is 'None'"),
    ],
)
def test_what_is_no_schema_is_refused(schema, says):
    with pytest.raises(BadInput, match=says):
        enforceable(schema)
