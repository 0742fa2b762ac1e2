"""`divebell synth`: a checkpoint of random weights, so that a model can be timed without a download."""

import json
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from cyclopts import Parameter

from divebell.errors import BadFile, BadInput


def synth(
    config: Path,
    /,
    *,
    out: Path,
    format: str = "q4_0",
    layers: int | None = None,
    set: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    seed: int = 0,
    json: bool = False,
) -> None:
    """Write a checkpoint of random weights at a config.json's shape.

    Parameters
    ----------
    config
        a config.json of a supported architecture
    out
        a name that ends in .gguf, or a folder for safetensors
    format
        for a .gguf: f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs or
        mxfp4, mixed as llama.cpp's quantizer mixes them; for a folder: f32, f16, bf16 or fp8
    layers
        only so many layers
    set
        KEY=VALUE: another value for a field of the config, for a smaller shape; may be given several times
    seed
        the same seed gives the same file
    json
        print a JSON object
    """
    from divebell.cli.output import print_fields, print_json
    from divebell.models.synth import plan
    from divebell.models.synth import synth as write

    values = _changed(_read(config), layers, set)
    planned = plan(values, format.lower(), out.suffix != ".gguf", config)
    begin = perf_counter()
    write(planned, out, seed)
    seconds = perf_counter() - begin
    figures = {
        "path": out,
        "architecture": values["model_type"],
        "format": format.lower(),
        "tensors": len(planned.randoms),
        "parameters": sum(r.entry.count for r in planned.randoms if not r.entry.name.endswith("_scale_inv")),
        "bytes": planned.nbytes,
        "seconds": round(seconds, 2),
        "mb_per_s": round(planned.nbytes / seconds / 1e6),
    }
    print_json(figures) if json else print_fields(figures.items())


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadFile(path, "JSON", str(error)) from None
    if not isinstance(values, dict):
        raise BadFile(path, "JSON", f"expected an object, found {type(values).__name__}")
    return values


def _changed(values: dict[str, Any], layers: int | None, changes: tuple[str, ...]) -> dict[str, Any]:
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise BadInput(f"--set is {change!r}; give KEY=VALUE, such as hidden_size=512")
        values[key] = _value(text)
    if layers is not None:
        values["num_hidden_layers"] = layers
        if isinstance(values.get("layer_types"), list):
            values["layer_types"] = values["layer_types"][:layers]
    return values


def _value(text: str) -> Any:
    """A JSON value, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
