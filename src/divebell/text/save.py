"""A GGUF's tokenizer as the files that stand beside safetensors."""

import json
from pathlib import Path
from typing import Any

from divebell.text.chat import load_chat
from divebell.text.stored_template import DEFAULT
from divebell.text.tokenizer import load_tokenizer


def save_tokenizer(checkpoint: Any, folder: Path) -> None:
    """tokenizer.json, tokenizer_config.json, and the chat template if there is one."""
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.save(folder / "tokenizer.json")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **tokenizer.named_tokens}
    _write(folder / "tokenizer_config.json", json.dumps(settings, indent=2, ensure_ascii=False))
    for name, template in load_chat(checkpoint, tokenizer).templates.items():
        file = "chat_template.jinja" if name == DEFAULT else f"additional_chat_templates/{name}.jinja"
        _write(folder / file, template)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
