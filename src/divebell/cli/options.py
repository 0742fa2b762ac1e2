"""Flags that several commands share."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Loading:
    """How the model is loaded.

    Parameters
    ----------
    weights
        stored (the file's own format), or convert to f32, bf16, q8 or q4
    threads
        by default one for each core
    ram
        memory that weights, cache and workspace may take, such as 16GiB; by default nine tenths of what is available
    context
        tokens that prompt and answer may have together; by default as many as the model knows and the memory allows
    cache
        numbers of the cache: f32, bf16, or for latents q8; by default f32 with f32 weights, else bf16
    kv_dir
        a folder where what was computed of prompts is kept across restarts; by default it is not
    """

    weights: str = "stored"
    threads: int | None = None
    ram: str | None = None
    context: int | None = None
    cache: str | None = None
    kv_dir: Path | None = None

    def load(self, model: str):
        """An LLM; a context manager."""
        import divebell

        return divebell.load(model, **asdict(self))


@Parameter(name="*")
@dataclass(frozen=True)
class Choice:
    """How tokens are chosen: greedily by default; a chat without a temperature takes what is recommended for the model.

    Parameters
    ----------
    max_tokens
        tokens of the answer at most; by default until it ends or the context is full
    temperature
        0 takes the likeliest token
    top_k
        only the k likeliest tokens
    top_p
        only the smallest set of likeliest tokens with this probability
    min_p
        only tokens at least this many times as likely as the likeliest
    repetition_penalty
        above 1 makes tokens of the text so far less likely
    frequency_penalty
        subtracted for each time that a token occurs in the answer
    presence_penalty
        subtracted once for each token that occurs in the answer
    seed
        the same seed gives the same text
    stop
        the answer ends before this text; may be given several times
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: Annotated[list[str] | None, Parameter(negative=())] = None

    def given(self) -> dict[str, object]:
        """Options for `LLM.generate` and its like."""
        return {name: value for name, value in asdict(self).items() if value is not None}
