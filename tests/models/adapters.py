"""Random adapters of the tiny checkpoints, made and saved by peft."""

from pathlib import Path

import checkpoints
import numpy as np
import peft
import torch


def save(name: str, folder: Path, seed: int = 3, shape: dict | None = None, **settings) -> peft.PeftModel:
    """Of checkpoints.SHAPES[name], at every matrix of the layers unless told otherwise; both halves are random.

    shape: what the configuration has otherwise.
    """
    model = checkpoints.build(name, **(shape or {}))
    settings = {"target_modules": "all-linear", "r": 4, "lora_alpha": 6} | settings
    torch.manual_seed(seed)
    config = peft.LoraConfig(init_lora_weights=False, **settings)
    model = peft.get_peft_model(model, config).eval()
    model.save_pretrained(folder)
    return model


@torch.no_grad()
def logits(model: torch.nn.Module, ids: np.ndarray) -> np.ndarray:
    """float32 (T, vocabulary) of a transformers or peft model."""
    return model(torch.from_numpy(np.asarray(ids, np.int64))[None]).logits[0].numpy()
