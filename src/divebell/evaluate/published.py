"""Figures that makers published, from published.csv, each with its source, harness and date."""

import re
from dataclasses import dataclass
from functools import cache

from divebell.costs.table import rows

_MAKER = re.compile(r"^(meta|meta-llama|deepseek-ai|mistralai|qwen|unsloth)[-_]+")
_FORMAT = re.compile(
    r"[-._](gguf|safetensors|hf|mlx|awq|gptq|bnb|ud|i1|imatrix|i?q[1-8](_\w+)?|tq[12]_\w+|bf16|fp?(4|8|16|32)|mxfp4|nvfp4|nf4"
    r"|int[48]|w\d+a\d+|[2-8]bit|\d+-of-\d+)$"
)


@dataclass(frozen=True, slots=True)
class Published:
    """value: %. harness: how it was measured, as far as the source tells. date: of the source."""

    model: str
    benchmark: str
    value: float
    harness: str
    source: str
    date: str


def published(model: str, benchmark: str) -> list[Published]:
    """Of the model that `model` names: names, paths and hub ids with spaces between them. A name counts whole, without
    what tells the format of the weights; of several the longest; none where one of them is that of a variant."""
    given = {_letters(_bare(word)) for word in model.split()}
    name = max((one.model for one in _figures() if _letters(one.model) in given), key=len, default="")
    whole = _letters(name)
    if any(word.startswith(whole) and word != whole for word in given):
        return []
    return [one for one in _figures() if one.model == name and one.benchmark == benchmark]


def same_model(given: str, known: str) -> bool:
    """Whether a path or hub id names this model, in whatever format its weights are."""
    return _letters(_bare(given)) == _letters(known)


def _bare(word: str) -> str:
    """The last part of a path or hub id, without a maker before it and formats behind it."""
    name = _MAKER.sub("", word.lower().rstrip("/").rpartition("/")[2])
    while (shorter := _FORMAT.sub("", name)) != name:
        name = shorter
    return name


@cache
def _figures() -> tuple[Published, ...]:
    return tuple(Published(**row | {"value": float(row["value"])}) for row in rows("divebell.evaluate", "published"))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())
