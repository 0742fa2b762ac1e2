"""Which JSON schemas can be enforced: a schema with any other keyword is refused, for ignoring one would be a lie.

Source: JSON Schema draft 2020-12; llguidance, docs/json_schema.md, for what its grammars express.
"""

import json
from collections.abc import Iterator, Mapping

from divebell.errors import BadInput

NUMBERS = {"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"}
STRINGS = {"format", "maxLength", "minLength", "pattern"}
COUNTS = {"maxItems", "maxProperties", "minItems", "minProperties", "required"}
PLAIN = {"$ref", "const", "enum", "type"} | NUMBERS | STRINGS | COUNTS
KEYED = {"$defs", "definitions", "patternProperties", "properties"}
WITH_SCHEMAS = {"additionalItems", "additionalProperties", "allOf", "anyOf", "items", "oneOf", "prefixItems"} | KEYED
# These say something about a value, but forbid none. `discriminator` is OpenAPI's, beside a oneOf.
NAMES = {"$anchor", "$id", "$schema", "discriminator", "id"}
NOTES = {"$comment", "contentEncoding", "contentMediaType", "default", "deprecated", "description", "examples", "title"}
REMARKS = {"readOnly", "writeOnly"} | NAMES | NOTES
ANY_OBJECT = {"type": "object"}
# One space, or a new line and its indentation: with no bound, a model may write white space for ever.
WHITE_SPACE = r" |\n[ \t]{0,40}"


def enforceable(schema: Mapping[str, object] | bool) -> dict[str, object]:
    """The schema as llguidance takes it; True is any object. Raises BadInput naming the keyword and where it is."""
    schema = ANY_OBJECT if schema is True else schema
    try:
        schema = json.loads(json.dumps(schema, allow_nan=False))
        _check(schema)
    except (TypeError, ValueError, RecursionError) as problem:
        if isinstance(problem, BadInput):
            raise
        raise BadInput(f"json_schema is not JSON: {problem}") from None
    return schema | {"x-guidance": {"whitespace_pattern": WHITE_SPACE}}


def _check(schema: dict[str, object]) -> None:
    waiting: list[tuple[str, object]] = [("#", schema)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, dict):
            _check_keywords(place, part)
            waiting += _parts(place, part)
        elif not isinstance(part, bool):
            raise BadInput(f"json_schema: {place} is {str(part)[:80]!r}; a schema is an object, true or false")


def _check_keywords(place: str, schema: dict[str, object]) -> None:
    for keyword in schema:
        extension = keyword.startswith("x-") and keyword != "x-guidance"
        if not (extension or keyword in PLAIN or keyword in WITH_SCHEMAS or keyword in REMARKS):
            known = ", ".join(sorted(PLAIN | WITH_SCHEMAS))
            raise BadInput(
                f"json_schema: {keyword} in {place} can't be enforced; leave it out. Keywords that can: {known}"
            )
    least = schema.get("minProperties", 0)
    required = schema.get("required", [])
    if isinstance(least, int) and isinstance(required, list) and least > max(1, len(required)):
        raise BadInput(
            f"json_schema: minProperties {least} in {place} can't be enforced beyond 1 and the number of required "
            "properties; require them by name"
        )


def _parts(place: str, schema: dict[str, object]) -> Iterator[tuple[str, object]]:
    for keyword in WITH_SCHEMAS & schema.keys():
        inside, parts = f"{place}/{keyword}", schema[keyword]
        if isinstance(parts, list):
            yield from ((f"{inside}/{index}", part) for index, part in enumerate(parts))
        elif keyword in KEYED and isinstance(parts, dict):
            yield from ((f"{inside}/{key}", part) for key, part in parts.items())
        else:
            yield inside, parts
