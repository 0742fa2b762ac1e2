"""A GGUF's tokenizer as the files that stand beside safetensors."""

import json
from pathlib import Path
from typing import Any

from divebell.text.chat import load_chat
from divebell.text.stored_template import DEFAULT, MORE_TEMPLATES
from divebell.text.tokenizer import load_tokenizer


def save_tokenizer(checkpoint: Any, folder: Path) -> None:
    """tokenizer.json, tokenizer_config.json, the chat template if there is one, and what ends a text."""
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.save(folder / "tokenizer.json")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **tokenizer.named_tokens}
    _write(folder / "tokenizer_config.json", json.dumps(settings, indent=2, ensure_ascii=False))
    ends = {"bos_token_id": tokenizer.bos_id, "eos_token_id": sorted(tokenizer.eos_ids)}
    _write(folder / "generation_config.json", json.dumps(ends, indent=2))
    for name, template in load_chat(checkpoint, tokenizer).templates.items():
        file = "chat_template.jinja" if name == DEFAULT else f"{MORE_TEMPLATES}/{name}.jinja"
        _write(folder / file, template)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
