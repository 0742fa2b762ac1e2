"""The tokenizer of a safetensors folder: tokenizer.json, with what the JSON files beside it say about special tokens.

Source: transformers 5, `TokenizersBackend` (tokenization_utils_tokenizers.py), whose ids these must equal. Whether a
begin token is put in front is what tokenizer.json's post-processor says; `add_bos_token` beside it has no say.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Library

from divebell.errors import BadFile, Unsupported
from divebell.text.tokenizer import Tokenizer, end_ids

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def read_json(path: Path) -> dict:
    """A JSON object, or {} when there is no such file. Raises BadFile."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as problem:
        raise BadFile(path, "JSON", str(problem)) from None
    if not isinstance(found, dict):
        raise BadFile(path, "JSON", f"expected an object, found {type(found).__name__}")
    return found


def read_tokenizer(checkpoint) -> Tokenizer:
    """Raises BadFile naming the file and field, Unsupported for a tokenizer that is neither byte-level nor
    SentencePiece BPE."""
    folder = Path(checkpoint.path)
    settings = read_json(folder / "tokenizer_config.json")
    library = read_library(folder / "tokenizer.json")
    named = named_tokens(folder, settings)
    add_tokens(library, settings, named)
    byte_level, drop_space = decoding(library, folder / "tokenizer.json")
    begin, end = (library.token_to_id(named[name]) if name in named else None for name in ("bos_token", "eos_token"))
    return Tokenizer(
        library,
        bos_id=begin,
        eos_ids=end_ids(library, [end, *stated_ends(folder)]),
        named_tokens=named,
        byte_level=byte_level,
        drop_space=drop_space,
    )


def read_library(path: Path) -> Library:
    if not path.is_file():
        raise BadFile(path, "tokenizer", "no such file: copy the model's tokenizer.json into its folder")
    try:
        library = Library.from_file(str(path))
    except Exception as problem:  # the library raises Exception itself
        raise BadFile(path, "tokenizer", str(problem)) from None
    library.no_truncation()
    library.no_padding()
    return library


def named_tokens(folder: Path, settings: dict) -> dict[str, str]:
    """Special tokens by role, from tokenizer_config.json and, where that is silent, special_tokens_map.json."""
    stated = read_json(folder / "special_tokens_map.json") | {k: v for k, v in settings.items() if v is not None}
    return {name: token_text(stated[name]) for name in NAMED if token_text(stated.get(name)) is not None}


def token_text(token) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def add_tokens(library: Library, settings: dict, named: dict[str, str]) -> None:
    """Tokens that only tokenizer_config.json knows of."""
    known = {token.content for token in library.get_added_tokens_decoder().values()}
    declared = settings.get("added_tokens_decoder")
    declared = declared if isinstance(declared, dict) else {}
    for token in sorted(filter(str.isdigit, declared), key=int):
        added = added_token(declared[token])
        if added is not None and added.content not in known:
            library.add_special_tokens([added]) if added.special else library.add_tokens([added])
    missing = [AddedToken(text, special=True) for text in dict.fromkeys(named.values()) if text not in known]
    library.add_special_tokens(missing)


def added_token(token) -> AddedToken | None:
    text = token_text(token)
    if not text or not isinstance(token, dict):
        return None
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(text, **{flag: token[flag] for flag in flags if isinstance(token.get(flag), bool)})


def decoding(library: Library, path: Path) -> tuple[bool, bool]:
    """(whether tokens spell bytes in GPT-2's letters, whether one space at the start is not the text's own)."""
    state = json.loads(library.decoder.__getstate__()) if library.decoder else {"type": "no decoder"}
    steps = [step["type"] for step in state.get("decoders", [state])]
    if not isinstance(library.model, models.BPE) or not {"ByteLevel", "ByteFallback"} & set(steps):
        found = f"{type(library.model).__name__} with {', '.join(steps)}"
        raise Unsupported("tokenizer", found, known=["BPE with ByteLevel", "BPE with ByteFallback"], path=path)
    return "ByteLevel" in steps, "Strip" in steps


def stated_ends(folder: Path) -> list[int]:
    """`eos_token_id` of generation_config.json and config.json: a number or several."""
    stated = []
    for name in ("generation_config.json", "config.json"):
        value = read_json(folder / name).get("eos_token_id")
        stated += value if isinstance(value, list) else [value]
    return [id for id in stated if isinstance(id, int) and not isinstance(id, bool)]
