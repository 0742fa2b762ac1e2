"""Texts to be filled in: the prompt that a model was trained on for a middle, given what stands before and after it."""

from collections.abc import Callable

from divebell.errors import BadInput

# In front of what comes before, of what comes after, and of what is wanted, in the order prefix, suffix, middle of
# "Efficient Training of Language Models to Fill in the Middle" (arXiv 2207.14255, section 3).
MARKS = (
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder, V2, V3
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5, Qwen2.5-Coder
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
)
# A model that was trained on whole repositories goes on with the next file.
ENDS = ("<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<|cursor|>", "<file_sep>", "<fim_pad>", "<repo_name>")


def infill_prompt(before: str, after: str, token_id: Callable[[str], int | None]) -> str:
    """token_id: the id of a token by its spelling, or None. Raises BadInput where the vocabulary has no marks."""
    for prefix, suffix, middle in MARKS:
        if None not in map(token_id, (prefix, suffix, middle)):
            return f"{prefix}{before}{suffix}{after}{middle}"
    raise BadInput(
        "suffix is given, but this model has no tokens for filling in a middle: leave it out, or take a model that was "
        "trained to, such as qwen2.5-coder-1.5b"
    )


def infill_ends(token_id: Callable[[str], int | None]) -> tuple[int, ...]:
    """Tokens besides the end of text that a middle ends with."""
    return tuple(id for end in ENDS if (id := token_id(end)) is not None)
