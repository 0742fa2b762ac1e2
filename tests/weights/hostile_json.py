"""JSON that was right once: values of other types and sizes, keys there twice, depth, and damaged bytes."""

import copy
import json
import random
from collections.abc import Iterator

from hostile import LIMITS, damaged_bytes


class Twin(str):
    """A key that an object may have twice."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


DEEP = "so deep"
HOSTILE_VALUES = [
    *LIMITS,
    *(-1, -(2**63), 2**64, 10**30, 10**500),
    *(0.0, 1.0, 0.5, -0.5, 1e308, float("nan"), float("inf"), True, False, None),
    *("", "F32", "BF16", "I64", "F4", "F8_E4M3", "F8_E5M2", "X1", "\0", "\ud800", "\n\x1b[31m", "x" * 5000, DEEP),
    *("model.safetensors", "../a.safetensors", "/dev/zero", ".safetensors", "llama"),
    *([], {}, [0], [0, 0], [2**63, 2**63], [[1]], ["1"], [1] * 17, [2**31] * 3, {"a": {}}, [0] * 50_000),
]


def damaged_json(rng: random.Random, value: dict) -> bytes:
    tree = copy.deepcopy(value)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        _damage_tree(rng, tree)
    raw = json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    depth = rng.choice([10, 900, 980, 990, 1000, 1010, 100_000])
    raw = raw.replace(f'"{DEEP}"'.encode(), b"[" * depth + b"]" * depth)
    return damaged_bytes(rng, raw) if rng.random() < 0.4 else raw


def _damage_tree(rng: random.Random, tree: dict) -> None:
    places = [*_places(tree)]
    if not places:
        return
    (holder, key), (other, elsewhere) = rng.choice(places), rng.choice(places)
    kind = rng.randrange(7)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = copy.deepcopy(other[elsewhere])
    elif kind == 2 and type(holder[key]) is int:
        holder[key] += rng.choice([-8, -1, 1, 8, holder[key], 2**32])
    elif kind == 3 and isinstance(holder, dict):
        holder[Twin(key)] = rng.choice([holder[key], _hostile(rng)])
    elif kind == 4 and isinstance(holder, dict):
        holder[str(_hostile(rng))[:200]] = holder.pop(key)
    else:
        holder[key] = _hostile(rng)


def _hostile(rng: random.Random) -> object:
    return copy.deepcopy(rng.choice(HOSTILE_VALUES))


def _places(value: object) -> Iterator[tuple[dict | list, str | int]]:
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(inner)
