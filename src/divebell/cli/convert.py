"""divebell convert."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    experts: int | None = None,
    calibration: Path | None = None,
    text: Path | None = None,
    heal: tuple[Path, ...] = (),
    tokens: int = 8192,
    seed: int = 0,
    threads: int | None = None,
    ram: str | None = None,
    json: bool = False,
) -> None:
    """Turn a dense model (Llama, Mistral, Qwen2) into one with latent attention, an ordinary deepseek_v3 checkpoint.

    Without --cache and --experts the result is exact. What a smaller cache or fewer neurons lose, --heal makes good in
    part; the same command goes on with that after a kill.

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
    experts
        pieces of one size that the neurons of each MLP are divided into: a quarter are shared, the others are routed
        experts, and half of all are active
    calibration
        a text, UTF-8, like those the model is for; by default the model writes some itself
    text
        a text, UTF-8, to measure the perplexity on; by default the model writes some itself, other than the above
    heal
        texts, as `divebell tune` takes them, that the result learns from the original on; may be given several times
    tokens
        how many of each, calibration and text
    seed
        of what the model writes
    threads
        by default one for each core
    ram
        memory that may be taken, such as 16GiB
    json
        print a JSON object
    """
    from divebell.cli.heal import Healing
    from divebell.cli.output import print_fields, print_json
    from divebell.cli.texts import check_text, check_tokens
    from divebell.convert.experts import division
    from divebell.convert.grouped import Source
    from divebell.convert.shape import width_of
    from divebell.convert.write import check_out
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    check_tokens(tokens)
    for file in (calibration, text):
        check_text(file)
    if seed < 0:
        raise BadInput(f"seed is {seed}; it must be at least 0")
    if attention not in _ATTENTIONS:
        raise Unsupported("attention", attention, _ATTENTIONS)
    begin, path = perf_counter(), resolve(model)
    source = Source(open_checkpoint(path))
    if cache is not None:
        width_of(source, cache)
    if experts is not None:
        division(source.config.width, experts)
    check_out(source, out)
    asked = Asked(cache, experts, calibration, text, tokens, seed)
    loading = {"threads": threads, "ram": ram, "context": TEXT_LENGTH}
    if heal:
        told = asked.described() | {"model": str(path), "heal": list(map(str, heal))}
        healing = Healing(path, out, heal, told, threads, ram)
        figures = healing.conversion(lambda folder: _converted(source, folder, asked, loading))
        near = _measured(path, healing.layer_by_layer(), asked, loading)["perplexity"]
        print(f"perplexity {near:.1f} after {figures['perplexity']:.1f}, layer by layer", file=sys.stderr)
        figures |= healing.heal() | {"perplexity_layer_by_layer": near}
        figures |= {"perplexity_converted": figures["perplexity"], **_measured(path, out, asked, loading)}
    else:
        figures = _converted(source, out, asked, loading)
    figures = {"path": out} | figures | {"seconds": round(perf_counter() - begin, 1)}
    print_json(figures) if json else print_fields(figures.items())


@dataclass(frozen=True)
class Asked:
    """What makes one conversion of a model another than the next."""

    cache: float | None
    experts: int | None
    calibration: Path | None
    text: Path | None
    tokens: int
    seed: int

    def described(self) -> dict[str, Any]:
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def _converted(source: Any, out: Path, asked: Asked, loading: dict[str, Any]) -> dict[str, Any]:
    """Writes the model; what it is, and how well it does beside the original."""
    from divebell.convert.calibration import calibrate
    from divebell.convert.experts import Mixtures
    from divebell.convert.mla import Conversion
    from divebell.convert.write import write

    path = source.checkpoint.path
    measured = _texts(path, asked.text, asked, asked.seed + 1, loading)
    fed = _texts(path, asked.calibration, asked, asked.seed, loading)
    conversion = Conversion(source, calibrate(source, fed), asked.cache)
    mixtures = Mixtures(source, fed, asked.experts) if asked.experts else None
    write(conversion, out, mixtures)
    return {
        "rank": conversion.shape.rank,
        "rope": 2 * conversion.shape.pairs,
        "predicted_loss": conversion.loss,
        **(_divided(mixtures.division) if mixtures else {}),
        **_compared("cache_bytes_per_token", lambda described: described.cache_bytes(CACHE), path, out),
        **_compared("active_parameters", lambda described: described.active_parameters, path, out),
        **_perplexities(path, out, measured, loading),
    }


def _divided(division: Any) -> dict[str, Any]:
    return {
        "shared_experts": division.shared,
        "routed_experts": division.routed,
        "chosen_experts": division.chosen,
        "active_mlp_share": division.active,
    }


def _texts(path: Path, file: Path | None, asked: Asked, seed: int, loading: dict[str, Any]) -> list[list[int]]:
    import divebell
    from divebell.cli.texts import texts_of

    with divebell.load(path, **loading) as llm:
        return texts_of(llm, file, asked.tokens, TEXT_LENGTH, seed)


def _measured(path: Path, out: Path, asked: Asked, loading: dict[str, Any]) -> dict[str, Any]:
    return _perplexities(path, out, _texts(path, asked.text, asked, asked.seed + 1, loading), loading)


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
