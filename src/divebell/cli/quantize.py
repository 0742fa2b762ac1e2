"""divebell quantize."""

from pathlib import Path
from time import perf_counter

from divebell.errors import OverBudget

TEXT_LENGTH = 256  # tokens of each piece of a given text


def quantize(
    model: str,
    /,
    *,
    format: str = "q4",
    out: Path,
    calibration: Path | None = None,
    text: Path | None = None,
    tokens: int = 2048,
    seed: int = 0,
    threads: int | None = None,
    ram: str | None = None,
    json: bool = False,
) -> None:
    """Write a model with 4 or 8 bits a weight, and tell how far its predictions are from the source's in float32.

    The error of a weight counts by how much flows through it while the model reads a text.

    Parameters
    ----------
    model
        a catalogue name, a folder, a .gguf file, or a hub id
    format
        q4 (D4: 4.31 bits a weight, with 8.31 for embedding and head) or q8 (D8: 8.31 bits)
    out
        a name that ends in .gguf for a GGUF file, a new folder for a folder
    calibration
        a text, UTF-8, like those the model is for; by default the model writes some itself
    text
        a text, UTF-8, to measure the divergence on; by default the model writes some itself, other than the above
    tokens
        how many of each
    seed
        of what the model writes
    threads
        by default one for each core
    ram
        memory that may be taken, such as 16GiB
    json
        print a JSON object
    """
    import divebell
    from divebell.cli.output import print_fields, print_json
    from divebell.cli.texts import check_tokens, texts_of
    from divebell.engine.importance import importance
    from divebell.models.quantize import check_out, plan
    from divebell.models.quantize import quantize as write
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    check_tokens(tokens)
    path, begin = resolve(model), perf_counter()
    checkpoint = open_checkpoint(path)
    planned = plan(checkpoint, format.lower())
    check_out(planned, out)
    with divebell.load(path, threads=threads, ram=ram, context=TEXT_LENGTH) as llm:
        files = enumerate((calibration, text))
        fed, measured = (texts_of(llm, file, tokens, TEXT_LENGTH, seed + i) for i, file in files)
    write(planned, out, importance(checkpoint, fed).of)
    figures = {
        "path": out,
        "format": format.lower(),
        "bytes_before": planned.before,
        "bytes": planned.after,
        "bits_a_weight": round(8 * planned.after / planned.numbers, 3),
        **_divergence(path, out, measured, {"threads": threads, "ram": ram, "context": TEXT_LENGTH}),
        "seconds": round(perf_counter() - begin, 1),
    }
    print_json(figures) if json else print_fields(figures.items())


def _divergence(source: Path, out: Path, texts: list[list[int]], loading: dict[str, object]) -> dict[str, object]:
    """Nats; nothing where the source's weights in float32 do not fit the memory."""
    import divebell
    from divebell.engine.divergence import divergence

    try:
        exact = divebell.load(source, weights="f32", **loading)
    except OverBudget as problem:
        return {"divergence": None, "not_measured": str(problem)}
    with exact, divebell.load(out, **loading) as other:
        found = divergence(exact, other, texts)
    return {
        "divergence": round(found.mean, 6),
        "divergence_percentile_99": round(found.percentile_99, 6),
        "same_best_token": round(found.same_best, 4),
        "tokens": found.tokens,
    }
