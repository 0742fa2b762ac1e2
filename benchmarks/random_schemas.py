"""Random JSON schemas of the kinds that can be enforced. No string in them is unbounded, so that answers end."""

import string
from collections.abc import Callable
from random import Random

WORDS = ["red", "green", "blue", 'say "hi"', "a\\b", "naïve", "日本", "", "two words", "tab\there"]
PATTERNS = [r"^[a-z]{2,8}$", r"^\d{3}-\d{4}$", r"^(ab|cd){1,3}$", r"^[A-Z][a-z]{0,5}( [A-Z][a-z]{0,5})?$", r"^.{1,6}$"]
FORMATS = ["date", "uuid", "ipv4"]


def random_schema(seed: int) -> dict[str, object]:
    """An object at the root, up to four levels deep, the last of which has only plain values."""
    random = Random(seed)
    schema = _object(random, 3)
    if random.random() < 0.3:
        schema["$defs"] = {"node": _node(random), "leaf": _leaf(random)}
        schema["properties"] |= {"tree": {"$ref": "#/$defs/node"}, "leaf": {"$ref": "#/$defs/leaf"}}
        schema["required"] = [*schema.get("required", []), "tree", "leaf"]
        schema.pop("maxProperties", None)
        schema.pop("patternProperties", None)
    return schema


def _any(random: Random, depth: int) -> dict[str, object]:
    kinds: list[Callable[[Random, int], dict]] = [_object, _array, _tuple, _any_of, _one_of, _all_of]
    return _leaf(random) if not depth or random.random() < 0.5 else random.choice(kinds)(random, depth - 1)


def _leaf(random: Random) -> dict[str, object]:
    return random.choice([_text, _pattern, _format, _enum, _const, _integer, _multiple, _number, _flag])(random)


def _text(random: Random) -> dict[str, object]:
    least = random.randint(0, 5)
    return {"type": "string", "minLength": least, "maxLength": least + random.randint(0, 20)}


def _pattern(random: Random) -> dict[str, object]:
    return {"type": "string", "pattern": random.choice(PATTERNS)}


def _format(random: Random) -> dict[str, object]:
    return {"type": "string", "format": random.choice(FORMATS)}


def _enum(random: Random) -> dict[str, object]:
    return {"enum": [*random.sample(WORDS, random.randint(1, 4)), *random.sample([None, True, 3, 2.5, [1]], 2)]}


def _const(random: Random) -> dict[str, object]:
    return {"const": random.choice([*WORDS, 0, -7, 1.25, None, False, {"a": [1, "b"]}])}


def _integer(random: Random) -> dict[str, object]:
    least = random.randint(-1000, 1000)
    bounds = {
        random.choice(["minimum", "exclusiveMinimum"]): least,
        random.choice(["maximum", "exclusiveMaximum"]): least + random.randint(2, 5000),
    }
    return {"type": "integer"} | dict(random.sample(sorted(bounds.items()), random.randint(0, 2)))


def _multiple(random: Random) -> dict[str, object]:
    return {"type": "integer", "multipleOf": random.randint(2, 12), "minimum": 0, "maximum": 10_000}


def _number(random: Random) -> dict[str, object]:
    least = random.uniform(-50, 50)
    return {"type": "number", "minimum": round(least, 2), "maximum": round(least + random.uniform(0.5, 99), 2)}


def _flag(random: Random) -> dict[str, object]:
    return {"type": random.choice(["boolean", "null", ["boolean", "null"]])}


def _object(random: Random, depth: int) -> dict[str, object]:
    names = [_name(random) for _ in range(random.randint(1, 5))]
    schema = {
        "type": "object",
        "properties": {name: _any(random, depth) for name in names},
        "additionalProperties": False,
    }
    if random.random() < 0.8:
        schema["required"] = sorted(name for name in schema["properties"] if random.random() < 0.7)
    if random.random() < 0.15:
        schema["patternProperties"] = {"^x_[a-z]{1,3}$": _leaf(random)}
        schema |= {"required": sorted(schema["properties"]), "maxProperties": len(schema["properties"]) + 2}
    return schema


def _name(random: Random) -> str:
    return random.choice(["id", "name", "größe", "a b", 'q"'] + ["".join(random.sample(string.ascii_letters, 6))] * 5)


def _array(random: Random, depth: int) -> dict[str, object]:
    least = random.randint(0, 2)
    return {
        "type": "array",
        "items": _any(random, depth),
        "minItems": least,
        "maxItems": least + random.randint(0, 3),
    }


def _tuple(random: Random, depth: int) -> dict[str, object]:
    first = [_any(random, depth) for _ in range(random.randint(1, 3))]
    return {"type": "array", "prefixItems": first, "items": False, "minItems": random.randint(0, len(first))}


def _any_of(random: Random, depth: int) -> dict[str, object]:
    return {"anyOf": [_any(random, depth) for _ in range(random.randint(1, 3))]}


def _one_of(random: Random, depth: int) -> dict[str, object]:
    """Told apart by a constant, as pydantic writes a union with a discriminator."""
    parts = [_object(random, depth) for _ in range(2)]
    for name, part in zip(("circle", "square"), parts, strict=True):
        part["properties"] = {"kind": {"const": name}} | part["properties"]
        part["required"] = ["kind", *(key for key in part.get("required", []) if key != "kind")]
    return {"oneOf": parts}


def _all_of(random: Random, depth: int) -> dict[str, object]:
    least = random.randint(0, 9)
    return {"allOf": [{"type": "integer", "minimum": least}, {"maximum": least + random.randint(0, 90)}]}


def _node(random: Random) -> dict[str, object]:
    """A tree that refers to itself."""
    children = {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1}
    return {
        "type": "object",
        "properties": {"value": _leaf(random), "children": children},
        "required": ["value"],
        "additionalProperties": False,
    }
