"""Adapters as peft saves them: adapter_config.json beside adapter_model.safetensors (peft's documentation)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from divebell.weights.entry import Entry
from divebell.weights.formats import F32
from divebell.weights.write_safetensors import write_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write_adapter(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Into `folder`, which exists. tensors: float32, by peft's names. The weights appear last, complete."""
    (folder / CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")
    entries = [Entry(name, values.shape, F32) for name, values in tensors.items()]
    data = (np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8) for values in tensors.values())
    write_file(folder / WEIGHTS, entries, data)
