"""divebell convert."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from divebell.errors import BadInput, Unsupported

TEXT_LENGTH = 512  # tokens of each piece of a text
CACHE = "bf16"  # that bytes of a token are told of
_ATTENTIONS = ("mla",)


def convert(
    model: str,
    /,
    *,
    out: Path,
    attention: str = "mla",
    cache: float | None = None,
    calibration: Path | None = None,
    text: Path | None = None,
    tokens: int = 8192,
    seed: int = 0,
    threads: int | None = None,
    ram: str | None = None,
    json: bool = False,
) -> None:
    """Turn a dense model (Llama, Mistral, Qwen2) into one with latent attention, an ordinary deepseek_v3 checkpoint.

    Without --cache the result is exact. A smaller cache loses something; `divebell tune full --teacher` heals it.

    Parameters
    ----------
    model
        a catalogue name, a folder, a .gguf file, or a hub id; quantized ones are widened
    out
        a new folder
    attention
        mla
    cache
        a share of the original's cache, such as 0.5
    calibration
        a text, UTF-8, like those the model is for; by default the model writes some itself
    text
        a text, UTF-8, to measure the perplexity on; by default the model writes some itself, other than the above
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
    from divebell.convert.calibration import calibrate
    from divebell.convert.grouped import Source
    from divebell.convert.mla import Conversion
    from divebell.convert.shape import width_of
    from divebell.convert.write import check_out, write
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    check_tokens(tokens)
    if attention not in _ATTENTIONS:
        raise Unsupported("attention", attention, _ATTENTIONS)
    begin, path = perf_counter(), resolve(model)
    source = Source(open_checkpoint(path))
    if cache is not None:
        width_of(source, cache)
    check_out(source, out)
    loading = {"threads": threads, "ram": ram, "context": TEXT_LENGTH}
    with divebell.load(path, **loading) as llm:
        files = enumerate((calibration, text))
        fed, measured = (texts_of(llm, file, tokens, TEXT_LENGTH, seed + i) for i, file in files)
    conversion = Conversion(source, calibrate(source, fed), cache)
    write(conversion, out)
    figures = {
        "path": out,
        "rank": conversion.shape.rank,
        "rope": 2 * conversion.shape.pairs,
        "predicted_loss": conversion.loss,
        **_compared("cache_bytes_per_token", lambda described: described.cache_bytes(CACHE), path, out),
        **_compared("active_parameters", lambda described: described.active_parameters, path, out),
        **_perplexities(path, out, measured, loading),
        "seconds": round(perf_counter() - begin, 1),
    }
    print_json(figures) if json else print_fields(figures.items())


def _compared(name: str, figure: Any, *paths: Path) -> dict[str, int]:
    from divebell import models
    from divebell.weights.checkpoint import open_checkpoint

    before, after = (figure(models.describe(open_checkpoint(path))) for path in paths)
    return {f"{name}_before": before, name: after}


def _perplexities(path: Path, out: Path, texts: list[list[int]], loading: dict[str, Any]) -> dict[str, Any]:
    """Of the second half of each text, with the weights as they are stored."""
    before, after = (_perplexity(each, texts, loading) for each in (path, out))
    return {
        "perplexity_before": round(before.value, 4),
        "perplexity": round(after.value, 4),
        "perplexity_tokens": after.tokens,
    }


def _perplexity(path: Path, texts: Sequence[list[int]], loading: dict[str, Any]) -> Any:
    import divebell
    from divebell.engine.perplexity import SHORTEST, perplexity

    long = [ids for ids in texts if len(ids) >= SHORTEST]
    if not long:
        raise BadInput(f"no text has {SHORTEST} tokens; give a longer one")
    with divebell.load(path, **loading) as llm:
        return [*perplexity(llm.score, iter(long))][-1]
