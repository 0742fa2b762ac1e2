"""Chat templates and vocabularies that were released by the models' makers, known by their SHA-256 (known.toml)."""

import hashlib
import json
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

_PADDING = re.compile(r"\[PAD\d+\]")


def known_name(kind: str, sha256: str) -> str | None:
    """What has this SHA-256. kind: "template" (of the Jinja source), "vocabulary" (as `vocabulary_sha256` makes it)."""
    return next((one["name"] for one in _table()[kind] if one["sha256"] == sha256), None)


def vocabulary_sha256(tokenizer: Any) -> str:
    """Of the ordinary tokens by id and the merges in their order: the same for a GGUF and a tokenizer.json of a model.

    Control tokens, and what GGUF files fill the vocabulary up with, are left out.
    """
    tokens, merges = tokenizer.byte_pairs()
    kept = [(id, text) for id, text in tokens if not _PADDING.fullmatch(text)]
    return hashlib.sha256(json.dumps([kept, merges], ensure_ascii=False).encode()).hexdigest()


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((files("divebell.audit") / "known.toml").read_text(encoding="utf-8"))
