"""What a command reads to calibrate or to measure: a file in pieces, or what the model writes itself."""

from pathlib import Path
from typing import Any

import numpy as np

from divebell.errors import BadInput

LEAST_TOKENS = 16
OWN_LENGTH = 128  # tokens of each text that the model writes itself


def check_tokens(tokens: int) -> None:
    if tokens < LEAST_TOKENS:
        raise BadInput(f"tokens is {tokens}; it must be {LEAST_TOKENS} or more")


def check_text(file: Path | None) -> None:
    """What can be refused of a file before anything is loaded."""
    from divebell.cli.run import decoded

    if file is not None and not decoded(file.read_bytes(), str(file)).strip():
        raise BadInput(f"{file} has no text; at least {LEAST_TOKENS} tokens are needed")


def texts_of(llm: Any, file: Path | None, tokens: int, length: int, seed: int) -> list[list[int]]:
    """Pieces of a file, `length` tokens each, or what the model says when it begins with a random token."""
    if file is None:
        starts = np.random.default_rng(seed).integers(0, llm.info.description.vocabulary, -(-tokens // OWN_LENGTH))
        written = llm.batch(
            [[int(start)] for start in starts], max_tokens=OWN_LENGTH - 1, temperature=1.0, seed=seed, ignore_eos=True
        )
        return [[int(start), *answer.token_ids] for start, answer in zip(starts, written, strict=True)]
    from divebell.cli.run import decoded

    ids = llm.tokenizer.encode(decoded(file.read_bytes(), str(file)))[:tokens]
    if len(ids) < LEAST_TOKENS:
        raise BadInput(f"{file} has {len(ids)} tokens; at least {LEAST_TOKENS} are needed: give a longer one")
    return [ids[i : i + length] for i in range(0, len(ids), length)]
