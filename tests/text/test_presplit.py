import unicodedata

import pytest
from tokenizers import Regex, pre_tokenizers

from divebell.errors import Unsupported
from divebell.text.presplit import CASED_LETTERS, PRESPLITS, letter_class, presplit

CUTS = [
    ("llama-bpe", "I'LL pay 12345 €!\n\n x", ["I", "'LL", " pay", " ", "123", "45", " €!\n\n", " x"]),
    ("qwen2", "a 123\r\n  b", ["a", " ", "1", "2", "3", "\r\n", " ", " b"]),
    ("smollm", "it's x12 3.5", ["it", "'s", " x", "1", "2", " ", "3", ".", "5"]),
    ("gpt-2", "it's x12  3.5", ["it", "'s", " x", "12", " ", " 3", ".", "5"]),
    ("deepseek-v3", "x1234天地abc .py\n", ["x", "123", "4", "天地", "abc", " .", "py", "\n"]),
    ("deepseek-v3", "f(x)=_y にほん", ["f", "(x", ")=_", "y", " ", "にほん"]),
    ("deepseek-coder", "x = f(12)\n天地", ["x", " =", " f", "(", "1", "2", ")", "\n", "天地"]),
    ("deepseek-llm", "ok a12!\n天地 𝐀 ", ["ok", " a", "1", "2", "!", "\n", "天地", " 𝐀", " "]),
    ("tekken", "fooBar 12", ["foo", "Bar", " ", "1", "2"]),
    ("kimi-k2", "你好abc'LL World 1234!\n\n x", ["你好", "abc'LL", " World", " ", "123", "4", "!\n\n", " x"]),
    ("default", "a+b 1234", ["a", "+", "b", " ", "123", "4"]),
]


def cut(name, text):
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in presplit(name).patterns]
    return [piece for piece, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


@pytest.mark.parametrize(("name", "text", "pieces"), CUTS)
def test_cuts(name, text, pieces):
    assert cut(name, text) == pieces


@pytest.mark.parametrize("name", PRESPLITS)
def test_nothing_is_lost(name):
    text = "a'LL 12\r\n  天地 ½ é́ 😀\u3000\x00 _x=(y)\t"
    assert "".join(cut(name, text)) == text


def test_cased_letters_are_cased():
    import re

    pattern = re.sub(r"\\x\{(\w+)\}", lambda code: re.escape(chr(int(code[1], 16))), letter_class(CASED_LETTERS))
    letters = re.findall(f"[{pattern}]", "".join(map(chr, [*range(0xD800), *range(0xE000, 0x1F000)])))
    assert {unicodedata.category(letter) for letter in letters} <= {"Lu", "Ll", "Lt"} | {"Cn"}
    assert len(letters) > 2000


def test_unknown_names_are_refused_with_the_list():
    with pytest.raises(Unsupported, match="'nope' is not supported; known: deepseek-coder, deepseek-llm, "):
        presplit("nope")
