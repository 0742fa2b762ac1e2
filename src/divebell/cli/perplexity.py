"""divebell perplexity."""

import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import divebell
from divebell.cli.output import print_json
from divebell.cli.run import decoded
from divebell.config import plural
from divebell.engine.perplexity import SHORTEST, Perplexity, chunks
from divebell.engine.perplexity import perplexity as after_each
from divebell.errors import BadInput


def perplexity(
    model: str,
    file: Path,
    /,
    *,
    context: int = 512,
    tokens: int | None = None,
    weights: str = "stored",
    threads: int | None = None,
    ram: str | None = None,
    json: bool = False,
) -> None:
    """Score a model on a text, by the protocol of llama.cpp's tool of the same name; lower is better.

    The text is read in chunks, each on its own, and the second half of each chunk is scored.

    Parameters
    ----------
    model
        a catalogue name, a folder, a .gguf file, or a hub id
    file
        a text, UTF-8
    context
        tokens of a chunk
    tokens
        only so many tokens from the start of the text
    weights
        stored (the file's own format), or convert to f32, bf16, q8 or q4
    threads
        by default one for each core
    ram
        memory that weights, cache and workspace may take, such as 16GiB
    json
        print a JSON object
    """
    _check(context, tokens)
    text = decoded(file.read_bytes(), str(file)).removesuffix("\n")  # llama.cpp leaves the last line's end out too
    with divebell.load(model, weights=weights, threads=threads, ram=ram, context=context) as llm:
        ids = llm.tokenizer.encode(text)[:tokens]
        pieces = list(chunks(ids, context, _begin(llm.tokenizer)))
        start = perf_counter()
        result = _last(after_each(llm.score, iter(pieces)), len(pieces))
    _print(result, {"chunks": len(pieces), "context": context, "seconds": perf_counter() - start}, json)


def _check(context: int, tokens: int | None) -> None:
    """What needs no model to be seen."""
    for name, value in (("context", context), ("tokens", tokens)):
        if value is not None and value < SHORTEST:
            raise BadInput(f"{name} is {value}; it must be {SHORTEST} or more, or there is nothing to score")
    if tokens is not None and tokens < context:
        raise BadInput(f"tokens is {tokens}; it must be at least the context of {context}, or give a smaller --context")


def _begin(tokenizer) -> int | None:
    """The token that the tokenizer puts before every text."""
    first = tokenizer.encode("")[:1]
    return first[0] if first and first[0] == tokenizer.bos_id else None


def _last(results: Iterator[Perplexity], count: int) -> Perplexity:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading", total=count)
        for result in results:
            progress.update(task, advance=1, description=f"perplexity {result.value:.3f}")
    return result


def _print(result: Perplexity, more: dict[str, object], json: bool) -> None:
    figures = {"perplexity": result.value, "uncertainty": result.uncertainty, "tokens": result.tokens} | more
    if json:
        print_json(figures)
    else:
        print(f"perplexity {result.value:.4f} ± {result.uncertainty:.4f}")
        scored, of = plural(result.tokens, "token", ","), plural(more["chunks"], "chunk")
        print(f"{scored} scored in {of} of {more['context']}, {more['seconds']:.1f} s")
