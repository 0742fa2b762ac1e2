"""The converted model's folder."""

from pathlib import Path

import ml_dtypes
import numpy as np

from divebell import models
from divebell.convert.experts import Mixtures
from divebell.convert.grouped import Source
from divebell.convert.mla import Conversion
from divebell.convert.shape import configuration
from divebell.models.parameter import Parameter
from divebell.models.write import check_new_folder, write_folder
from divebell.weights.entry import Entry
from divebell.weights.formats import BF16, F16, F32, Format

_FLOATS = {F32: np.float32, BF16: ml_dtypes.bfloat16, F16: np.float16}


def check_out(source: Source, out: Path) -> None:
    """What can be refused before any work is done. Raises BadInput."""
    check_new_folder(out, 4 * sum(p.count for p in source.parameters.values()) * 3 // 2)


def write(conversion: Conversion, out: Path, mixtures: Mixtures | None = None) -> None:
    """An ordinary deepseek_v3 checkpoint; it appears at `out` when it is complete.

    Attention and routers are in float32; what is taken over is as it was, or in float32 where it was quantized.
    """
    source = conversion.source
    config = configuration(source, conversion.shape) | (mixtures.configuration() if mixtures else {})
    module = models.architecture("deepseek_v3")
    parameters = module.parameters(module.Config.from_hf(config, out / "config.json"))
    stored = [(p, name, number) for p in parameters for number, name in enumerate(p.stored_names("safetensors"))]
    entries = [Entry(name, p.stored_shape("safetensors"), _format(source, p)) for p, name, _ in stored]
    made = _Made(conversion, mixtures)
    pieces = (made.piece(p, number, entry) for (p, _, number), entry in zip(stored, entries, strict=True))
    write_folder(source.checkpoint, out, entries, pieces, config)


def _format(source: Source, parameter: Parameter) -> Format:
    block, _, part = parameter.name.rpartition(".")
    of_experts = parameter.kind in ("experts", "shared_experts")
    taken = source.stored(f"{block.rpartition('.')[0]}.mlp.{part}" if of_experts else parameter.name)
    if taken is None or parameter.kind in ("attention", "norm", "bias"):
        return F32
    return taken.format if taken.format in _FLOATS else F32


class _Made:
    """The tensors of one layer at a time."""

    def __init__(self, conversion: Conversion, mixtures: Mixtures | None):
        self._makers, self._source = [conversion, *([mixtures] if mixtures else [])], conversion.source
        self._layer, self._values = "", {}

    def piece(self, parameter: Parameter, number: int, entry: Entry) -> np.ndarray:
        """Bytes of a parameter's tensor of that number."""
        _, _, own = parameter.name.partition("layers.")
        if own and own.split(".")[0] != self._layer:
            self._layer = own.split(".")[0]
            self._values = {}
            for maker in self._makers:
                self._values |= maker.layer(int(self._layer))
        values, taken = self._values.get(parameter.name), self._source.stored(parameter.name)
        if values is None and entry.format is taken.format:
            return taken.data
        values = taken.f32() if values is None else values[number] if parameter.is_stack else values
        return np.ascontiguousarray(values, _FLOATS[entry.format]).reshape(-1).view(np.uint8)
