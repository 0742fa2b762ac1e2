"""The tokenizer of a model that begins from nothing: trained on its texts, or another model's."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from divebell.errors import BadInput
from divebell.text.builtin import CHATML
from divebell.text.presplit import LLAMA3
from divebell.text.save import save_tokenizer
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.pull import resolve

END = "<|endoftext|>"
MARKS = (END, "<|im_start|>", "<|im_end|>")
SMALLEST = 256 + len(MARKS)
_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def train_tokenizer(texts: Iterable[str], size: int, folder: Path) -> None:
    """Byte-level BPE of at most `size` tokens, with ChatML's marks: the same files for the same texts. BadInput where
    `size` is too small for all bytes."""
    if size < SMALLEST:
        raise BadInput(f"vocab_size is {size}; a byte for each token and {len(MARKS)} marks take {SMALLEST}")
    library = Library(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level])
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(MARKS),
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    library.save(str(folder / "tokenizer.json"))
    _describe(folder)


def borrow_tokenizer(model: str, folder: Path) -> None:
    """Another model's, whichever way it is stored."""
    checkpoint = open_checkpoint(resolve(model))
    if checkpoint.kind == "gguf":
        save_tokenizer(checkpoint, folder)
        return
    for name in _FILES:
        if (checkpoint.path / name).is_file():
            shutil.copyfile(checkpoint.path / name, folder / name)


def _describe(folder: Path) -> None:
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
