"""A checkpoint that is in no file yet: random weights at the shape of a config.json, with a tokenizer."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import numpy as np

from divebell import models
from divebell.errors import BadInput
from divebell.models import mtp as one_more
from divebell.models.parameter import Parameter
from divebell.text.tokenizer import load_tokenizer
from divebell.tune.settings import Settings
from divebell.tune.vocabulary import borrow_tokenizer, train_tokenizer
from divebell.weights.checkpoint import Checkpoint
from divebell.weights.formats import F32
from divebell.weights.strict_json import read_object
from divebell.weights.tensor import Tensor

SPREAD = 0.02  # of weights, where initializer_range says nothing, as in transformers


class Blank(Checkpoint):
    """path: a folder with the tokenizer's files alone, which goes when this goes.

    Normal numbers of the deviation `initializer_range`, norms one and biases zero, the same for the same seed.
    texts: what the tokenizer is trained on, unless settings.tokenizer or settings.teacher is the model that it is taken
    from. It has an MTP layer if the config has one, unless settings.mtp is 0.
    Raises BadFile, Unsupported or Mismatch naming the config's field, BadInput for a vocabulary that is too small.
    """

    def __init__(self, config: Path, texts: Iterable[str], settings: Settings):
        values = {key: value for key, value in read_object(config, "config").items() if not key.startswith("_")}
        self._folder = TemporaryDirectory(prefix="divebell-")
        folder = Path(self._folder.name)
        super().__init__(folder, "safetensors", [], _described(values, settings.mtp > 0), {})
        module, shape = models.architecture(self.architecture, config), models.configuration(self)
        self.config |= _stated(shape)
        if lender := settings.tokenizer or settings.teacher:
            borrow_tokenizer(lender, folder)
        else:
            train_tokenizer(texts, shape.vocab_size, folder)
        self._take_ends(config)
        listed = module.parameters(shape)
        listed += one_more.parameters(module, shape) if getattr(shape, "draft_layers", 0) else []
        self.tensors = {tensor.name: tensor for p in listed for tensor in _random(p, self._spread(), settings.seed)}

    def _take_ends(self, config: Path) -> None:
        """What the tokenizer says of the ends of a text."""
        tokenizer = load_tokenizer(self)
        if tokenizer.vocabulary_size > self.config["vocab_size"]:
            raise BadInput(
                f"{config}: vocab_size is {self.config['vocab_size']:,}, and the tokenizer has "
                f"{tokenizer.vocabulary_size:,} tokens; give at least as many"
            )
        self.config |= {"bos_token_id": tokenizer.bos_id, "eos_token_id": sorted(tokenizer.eos_ids)}

    def _spread(self) -> float:
        return float(self.config.get("initializer_range") or SPREAD)


def _described(values: dict[str, Any], mtp: bool) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if key not in ("quantization_config", "auto_map")}
    return one_more.described(kept, mtp) | {"torch_dtype": "bfloat16", "bos_token_id": None, "eos_token_id": None}


def _stated(shape: Any) -> dict[str, Any]:
    """What a config may leave out, and other programs then take something else for: transformers, V3's own numbers."""
    if not hasattr(shape, "latent"):
        return {}
    stated = {"q_lora_rank": shape.latent.q_rank, "max_position_embeddings": shape.max_positions}
    if shape.experts is None:
        return stated | {"first_k_dense_replace": shape.layers}
    router = shape.experts.router
    return stated | {
        "first_k_dense_replace": shape.dense_layers,
        "n_shared_experts": shape.experts.shared,
        "n_group": router.groups,
        "topk_group": router.kept_groups,
        "norm_topk_prob": router.renormalise,
        "routed_scaling_factor": router.scale,
    }


def _random(parameter: Parameter, spread: float, seed: int) -> list[Tensor]:
    shape = parameter.stored_shape("safetensors")
    return [
        Tensor(name, F32, shape, _numbers(parameter, name, shape, spread, seed))
        for name in parameter.stored_names("safetensors")
    ]


def _numbers(parameter: Parameter, name: str, shape: tuple[int, ...], spread: float, seed: int) -> np.ndarray:
    if parameter.kind in ("norm", "bias"):
        numbers = np.full(shape, float(parameter.kind == "norm"), np.float32)
    else:
        generator = np.random.default_rng([seed, crc32(name.encode())])
        numbers = generator.standard_normal(shape, np.float32) * np.float32(spread)
    return numbers.reshape(-1).view(np.uint8)
