"""The converted model's folder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from divebell import models
from divebell.convert.grouped import Source
from divebell.convert.mla import Conversion
from divebell.convert.shape import configuration
from divebell.models.parameter import Parameter
from divebell.models.write import check_new_folder, write_folder
from divebell.weights.entry import Entry
from divebell.weights.formats import BF16, F16, F32, Format

_FLOATS = (BF16, F16)


def check_out(source: Source, out: Path) -> None:
    """What can be refused before any work is done. Raises BadInput."""
    check_new_folder(out, 4 * sum(p.count for p in source.parameters.values()) * 3 // 2)


def write(conversion: Conversion, out: Path) -> None:
    """An ordinary deepseek_v3 checkpoint; it appears at `out` when it is complete.

    Attention is in float32; what is taken over is as it was, or in float32 where it was quantized.
    """
    source = conversion.source
    config = configuration(source, conversion.shape)
    module = models.architecture("deepseek_v3")
    parameters = module.parameters(module.Config.from_hf(config, out / "config.json"))
    entries = [Entry(name, p.stored_shape("safetensors"), _format(source, p)) for p, name in _stored(parameters)]
    write_folder(source.checkpoint, out, entries, _pieces(conversion, parameters, entries), config)


def _stored(parameters: list[Parameter]) -> list[tuple[Parameter, str]]:
    return [(parameter, name) for parameter in parameters for name in parameter.stored_names("safetensors")]


def _format(source: Source, parameter: Parameter) -> Format:
    taken = source.stored(parameter.name)
    if taken is None or parameter.kind in ("attention", "norm", "bias"):
        return F32
    return taken.format if taken.format in _FLOATS else F32


def _pieces(conversion: Conversion, parameters: list[Parameter], entries: list[Entry]) -> Iterator[np.ndarray]:
    layer, made = "", {}
    for parameter, entry in zip(parameters, entries, strict=True):
        _, _, own = parameter.name.partition("layers.")
        if own and own.split(".")[0] != layer:
            layer = own.split(".")[0]
            made = conversion.layer(int(layer))
        taken = conversion.source.stored(parameter.name)
        values = made.get(parameter.name)
        if values is None and entry.format is taken.format:
            yield taken.data
        else:
            yield np.ascontiguousarray(taken.f32() if values is None else values).reshape(-1).view(np.uint8)
