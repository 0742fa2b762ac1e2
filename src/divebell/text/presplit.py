"""How text is cut into words before byte-pair merging, by the name that GGUF files give it in `tokenizer.ggml.pre`.

Each entry is what the model's own tokenizer.json says; the names are llama.cpp's (src/llama-vocab.cpp). A pattern is
applied to what the one before it left over, matches and the text between them both being kept.
"""

from dataclasses import dataclass

from divebell.errors import Unsupported

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPACES_AND_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{SPACES_AND_SIGNS}"
QWEN2 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{SPACES_AND_SIGNS}"

UPPER, LOWER, NOT_CHINESE = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}", r"[^\p{Han}]"


def cased_words(upper: str, lower: str, after: str = "") -> str:
    """Words that end where a capital follows a small letter, with one sign or space in front."""
    sign = r"[^\r\n\p{L}\p{N}]?"
    return f"{sign}[{upper}]*[{lower}]+{after}|{sign}[{upper}]+[{lower}]*{after}"


TEKKEN = cased_words(UPPER, LOWER) + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KIMI_WORDS = cased_words(f"{UPPER}&&{NOT_CHINESE}", f"{LOWER}&&{NOT_CHINESE}", f"{CONTRACTIONS}?")
KIMI = rf"[\p{{Han}}]+|{KIMI_WORDS}|\p{{N}}{{1,3}}|{SPACES_AND_SIGNS}"

CHINESE_AND_MORE = r"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+"
DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CHINESE_AND_MORE, r"\p{N}")
DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
)

# The letters with upper and lower case, as an older Unicode knew them: a plain \p{Lu}\p{Ll} would join Georgian or
# mathematical letters into words that the model never saw.
CASED_LETTERS = """
41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376-377 37B-37D 37F 386 388-38A 38C 38E-3A1 3A3-3F5
3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15
1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC
1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D
212F-2134 2139 213C-213F 2145-2149 214E 2183-2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2-2CF3 A640-A66D A680-A69B
A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB
10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943
"""


def letter_class(ranges: str) -> str:
    return "".join("-".join(rf"\x{{{code}}}" for code in item.split("-")) for item in ranges.split())


DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"\s?[{letter_class(CASED_LETTERS)}]+",
    r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+",
    r"\s+$",
    CHINESE_AND_MORE,
    r"\p{N}",
)
DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")


@dataclass(frozen=True, slots=True)
class Presplit:
    """patterns: regular expressions, in order; whole_words: a word that is a token is taken without merging;
    adds_bos: whether a text begins with the begin token unless the file says otherwise; nfc: Unicode form C first."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    adds_bos: bool = False
    nfc: bool = False


_LLAMA3 = Presplit((LLAMA3,), whole_words=True, adds_bos=True)
_QWEN2 = Presplit((QWEN2,), nfc=True)
_GPT2 = Presplit((GPT2,))

PRESPLITS = {
    "default": Presplit(DEFAULT),
    "deepseek-coder": Presplit(DEEPSEEK_CODER),
    "deepseek-llm": Presplit(DEEPSEEK_LLM),
    "deepseek-r1-qwen": _QWEN2,
    "deepseek-v3": Presplit(DEEPSEEK_V3),
    "gpt-2": _GPT2,
    "kimi-k2": Presplit((KIMI,), whole_words=True),
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": _QWEN2,
    "smollm": Presplit((r"\p{N}", GPT2)),
    "tekken": Presplit((TEKKEN,), whole_words=True, adds_bos=True),
}


def presplit(name: str, path: object = None) -> Presplit:
    """The way of cutting that `tokenizer.ggml.pre` names. Raises Unsupported with the list of those that are known."""
    if name not in PRESPLITS:
        raise Unsupported("tokenizer.ggml.pre", name, known=list(PRESPLITS), path=path)
    return PRESPLITS[name]
