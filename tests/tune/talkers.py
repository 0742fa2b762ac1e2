"""A tiny model that can talk: a checkpoint with a byte-level tokenizer and a chat template beside it."""

import json
from pathlib import Path

import checkpoints
from small_tokenizers import byte_level_library

MARKS = ("<|im_start|>", "<|im_end|>")


def talker(folder: Path, name: str = "llama", template: str | None = None, **changes: object) -> Path:
    """checkpoints.SHAPES[name] with a vocabulary of its own; template: None for ChatML, which its tokens point to."""
    library = byte_level_library(special=MARKS)
    checkpoints.save(name, folder, vocab_size=library.get_vocab_size(), **changes)
    library.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": MARKS[1]} | ({"chat_template": template} if template else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def rows(path: Path, count: int = 24) -> Path:
    """Prompts and completions that count."""
    lines = [{"prompt": f"after {i} comes", "completion": f" {i + 1}, then {i + 2}"} for i in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def preferences(path: Path, count: int = 24) -> Path:
    """Of two answers, the one that counts upwards is preferred."""
    lines = [{"prompt": f"after {i} comes", "chosen": f" {i + 1}", "rejected": f" less than {i}"} for i in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def questions(path: Path, count: int = 24) -> Path:
    """What comes after a number."""
    lines = [{"prompt": f"after {i} comes", "answer": i + 1} for i in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
