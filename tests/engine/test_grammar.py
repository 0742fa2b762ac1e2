"""Every answer under a grammar is one that it allows, whatever the tokenizer and whatever the logits."""

import json
import re

import jsonschema
import numpy as np
import pytest
import small_tokenizers
from fakes import VOCABULARY, LetterTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell.engine.grammar import Grammars
from divebell.engine.sampler import Sampler
from divebell.engine.sampling import Sampling
from divebell.engine.speculative import Guess
from divebell.errors import BadInput
from divebell.text.tokenizer import load_tokenizer
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.pull import resolve
from random_schemas import random_schema

REGEXES = [
    "abc",
    "[a-f]{3,9}",
    " leading space",
    "(red|green|blue)!?",
    r"\d{4}-\d{2}-\d{2}",
    r"<\|im_end\|> <s> </s>",
    "naïve 天地 😀{1,3}",
    r"a\nb\t?",
    r"""a
b/c"'\w{3}\/""",
]


def byte_level():
    library = small_tokenizers.byte_level_library(special=("<|im_end|>", "<s>"))
    return load_tokenizer(small_tokenizers.gguf(small_tokenizers.gguf_fields(library, "llama-bpe", eos_token_id=0)))


def sentencepiece():
    fields = small_tokenizers.sentencepiece_fields(small_tokenizers.sentencepiece_model())
    return load_tokenizer(small_tokenizers.gguf(fields))


TOKENIZERS = [byte_level, sentencepiece, LetterTokenizer]
# Letters alone spell neither line breaks nor what is not ASCII.
BEYOND_LETTERS = {regex for regex in REGEXES if "\\n" in regex or "\n" in regex or not regex.isascii()}
SPELLABLE = [
    (make, regex)
    for make in TOKENIZERS
    for regex in REGEXES
    if make is not LetterTokenizer or regex not in BEYOND_LETTERS
]


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return request.param()


@pytest.fixture(scope="module")
def grammars(tokenizer):
    """With a few rows of logits that no token has, as padded embeddings bring."""
    padded = tokenizer.vocabulary_size + (0 if isinstance(tokenizer, LetterTokenizer) else 5)
    return Grammars(tokenizer, padded, tokenizer.eos_ids)


@pytest.fixture(scope="module")
def letters():
    return Grammars(LetterTokenizer(), VOCABULARY, LetterTokenizer.eos_ids)


def drawn(grammars: Grammars, seed: int, most: int = 4000, **options) -> list[int]:
    """The answer of a model that knows nothing: each logit is a random number."""
    governor = grammars.governor(Sampling(**options))
    random, rows = np.random.default_rng(seed), grammars._vocabulary
    sampler = Sampler(Sampling(temperature=1.0), seed, [], rows)
    ids = []
    while not governor.ended:
        token = sampler.choose(random.standard_normal(rows, dtype=np.float32) * 2, governor.allowed)
        assert token in governor.allowed
        if token in grammars._eos_ids:
            break
        ids.append(token)
        governor.take(token)
        assert len(ids) < most
    return ids


def spelt(tokenizer, ids: list[int]) -> str:
    return b"".join(map(tokenizer.token_bytes, ids)).decode()


@pytest.mark.parametrize(("tokenizer", "regex"), SPELLABLE, indirect=["tokenizer"])
def test_every_answer_matches_the_regex(tokenizer, grammars, regex):
    for seed in range(12):
        ids = drawn(grammars, seed, regex=regex)
        assert re.fullmatch(regex, spelt(tokenizer, ids), re.ASCII)
        assert not any(map(tokenizer.is_special, ids))


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=12), st.integers(0, 99))
def test_any_text_can_be_forced(text, seed):
    for tokenizer in FORCED:
        grammars = Grammars(tokenizer, tokenizer.vocabulary_size, tokenizer.eos_ids)
        ids = drawn(grammars, seed, json_schema={"const": text})
        assert json.loads(spelt(tokenizer, ids)) == text


FORCED = [byte_level(), sentencepiece()]


def test_schemas_are_followed_by_every_tokenizer(tokenizer, grammars):
    for seed in range(12):
        schema = random_schema(seed)
        if isinstance(tokenizer, LetterTokenizer) and not json.dumps(schema, ensure_ascii=False).isascii():
            continue  # its vocabulary has no such letters
        answer = json.loads(spelt(tokenizer, drawn(grammars, seed, json_schema=schema)))
        check(schema, answer)


def check(schema: dict, answer: object) -> None:
    validator = jsonschema.Draft202012Validator
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(answer)


@pytest.mark.slow
def test_five_hundred_random_schemas_of_five_hundred():
    tokenizer = load_tokenizer(open_checkpoint(resolve("smollm2-135m")))
    grammars = Grammars(tokenizer, 49152, tokenizer.eos_ids)
    for seed in range(500):
        schema = random_schema(seed)
        check(schema, json.loads(spelt(tokenizer, drawn(grammars, seed, json_schema=schema))))


def test_exactly_the_tokens_that_a_regex_allows_are_allowed(letters):
    governor = letters.governor(Sampling(regex="[ab]+c?"))
    assert [chr(i + 32) for i in governor.allowed] == ["a", "b"]
    governor.take(ord("a") - 32)
    assert [chr(i + 32) for i in governor.allowed] == ["a", "b", "c", "\x80"]  # the last one ends the text
    assert not governor.ended
    governor.take(ord("c") - 32)
    assert governor.ended


def test_true_is_any_json_object(letters):
    assert [chr(i + 32) for i in letters.governor(Sampling(json_schema=True)).allowed] == ["{"]


@pytest.mark.parametrize(
    "grammar",
    [
        'start: greeting ", " NAME\ngreeting: "hi" | "bye"\nNAME: /[a-z]{1,4}/',
        'root ::= greeting ", " [a-z]{1,4}\ngreeting ::= "hi" | "bye"\n',
    ],
)
def test_grammars_of_lark_and_of_llama_cpp(letters, grammar):
    for seed in range(10):
        assert re.fullmatch("(hi|bye), [a-z]{1,4}", spelt(LetterTokenizer(), drawn(letters, seed, grammar=grammar)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"regex": "("}, "regex: .*unclosed group"),
        ({"regex": "(?=a)b"}, "regex: .*look-around"),
        ({"grammar": 'start: "a" missing'}, "grammar: .*missing"),
        ({"grammar": 'strt: "a"'}, "grammar: no start rule"),
        ({"grammar": 'root ::= "a'}, "grammar: it is not GBNF"),
        ({"grammar": 'start: start "a"'}, "grammar: no text matches it"),
        ({"grammar": 'start: ""'}, "grammar: only the empty text matches it"),
        ({"grammar": 'start: <|nothing|> "a"'}, "grammar: .*unknown special token"),
        ({"regex": "é"}, "regex: no text matches it"),
        ({"json_schema": {"type": "sting"}}, "json_schema: Invalid type: sting"),
        ({"json_schema": {"type": "string", "format": "poem"}}, "json_schema: Unknown format: poem"),
        ({"json_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}}, "json_schema: no text matches"),
        ({"json_schema": {"$ref": "https://example.org/a.json"}}, "json_schema: .*example.org"),
        ({"json_schema": {"type": "string", "minLength": 5, "maxLength": 3}}, "json_schema: .*minLength"),
        ({"json_schema": {"oneOf": [{"type": "string"}, {"maxLength": 3}]}}, "json_schema: oneOf"),
        ({"json_schema": {"minLength": -1}}, "json_schema: .*minLength"),
        ({"json_schema": {"enum": []}}, "json_schema: "),
    ],
)
def test_what_can_not_be_followed_is_refused_by_name(letters, options, says):
    with pytest.raises(BadInput, match=f"(?s){says}"):
        letters.governor(Sampling(**options))


def test_a_dead_end_is_an_error_and_not_a_free_answer(letters):
    governor = letters.governor(Sampling(grammar='start: "a" bad | "b"\nbad: bad "c"'))
    with pytest.raises(BadInput, match="grammar: no token can follow"):
        governor.take(ord("a") - 32)


def test_the_answer_is_free_until_the_mark(letters):
    governor = letters.governor(Sampling(regex="[0-9]{2}", governed_after="end"))
    for letter in "so enend the e":
        assert not governor.ended
        if letter == "d":
            break
        assert governor.allowed is None
        governor.take(ord(letter) - 32)
    governor.take(ord("d") - 32)
    assert [chr(i + 32) for i in governor.allowed] == list("0123456789")
    governor.take(ord("4") - 32)
    governor.take(ord("2") - 32)
    assert governor.ended


def test_the_token_that_completes_the_mark_brings_nothing_but_white_space():
    tokenizer = WordTokenizer(
        [b"a", b"</", b"think", b">", b">\n\n", b">{", b"</think>", b"</think>1", b"{", b"1", b""]
    )
    grammars = Grammars(tokenizer, 11, {10})
    governor = grammars.governor(Sampling(regex=r"\{", governed_after="</think>"))
    assert 6 in governor.allowed
    assert 7 not in governor.allowed
    governor.take(1)
    governor.take(2)
    assert 4 in governor.allowed
    assert 5 not in governor.allowed
    governor.take(4)
    assert governor.allowed.tolist() == [8]


def test_a_grammar_that_is_waited_for_rules_from_its_beginning_on(letters):
    governor = letters.governor(Sampling(regex=r"\n?call [0-9]", governed_from="call"))
    for letter in "I cacall":
        assert governor.allowed is None
        governor.take(ord(letter) - 32)
    assert [chr(i + 32) for i in governor.allowed] == [" "]
    governor.take(0)
    governor.take(ord("4") - 32)
    assert governor.ended


def test_it_is_waited_for_after_the_reasoning_too(letters):
    governor = letters.governor(Sampling(regex="call", governed_after="z", governed_from="c"))
    for letter in "caz a":
        governor.take(ord(letter) - 32)
        assert governor.allowed is None
    governor.take(ord("c") - 32)
    assert [chr(i + 32) for i in governor.allowed] == ["a"]


def test_marks_of_calls_that_a_grammar_does_not_begin_with_are_barred():
    words = [b"<calls>", b"<call>", b"a", b"1", *[b""] * 7]
    grammars = Grammars(WordTokenizer(words), 11, {10}, ("<calls>", "<call>"), ("<calls>", "<call>"))
    governor = grammars.governor(Sampling(grammar='start: <[0]> "a"', governed_from="<calls>"))
    assert {0, 2, 3} <= set(governor.allowed.tolist())
    assert 1 not in governor.allowed
    governor.take(0)
    assert governor.allowed.tolist() == [2]


def test_a_text_that_the_grammar_does_not_begin_with_can_t_be_waited_for(letters):
    with pytest.raises(BadInput, match="governed_from is 'x', which the regex does not begin with"):
        letters.governor(Sampling(regex="a", governed_from="x"))


class WordTokenizer:
    bos_id = None

    def __init__(self, words: list[bytes]):
        self._words = words

    def token_bytes(self, token):
        return self._words[token]

    def token_id(self, text):
        return self._words.index(text.encode()) if text.encode() in self._words else None

    def is_special(self, token):
        return token == 10

    def encode(self, text, add_special_tokens=True):
        return [self._words.index(letter.encode()) for letter in text if letter.encode() in self._words]


def test_what_the_grammar_forces_is_guessed_and_what_it_forbids_is_not(letters):
    governor = letters.governor(Sampling(regex="(red|green): [0-9]{2}"))
    unsure = [Guess(ord(letter) - 32, 0.5) for letter in "red: 4x"]
    assert governor.narrowed(unsure, 9) == unsure[:6]
    governor.take(ord("g") - 32)
    assert spelt(LetterTokenizer(), [guess.token for guess in governor.narrowed(unsure, 9)]) == "reen: "
    assert len(governor.narrowed(unsure, 3)) == 3
    assert {guess.probability for guess in governor.narrowed([], 3)} == {1.0}
    assert governor.narrowed([], 0) == []


def test_before_the_mark_guesses_are_left_as_they_are(letters):
    governor = letters.governor(Sampling(regex="[0-9]", governed_after="z"))
    assert governor.narrowed([Guess(3, 0.5)], 9) == [Guess(3, 0.5)]
    governor.take(ord("z") - 32)
    assert governor.narrowed([Guess(3, 0.5)], 9) == []


def test_compiled_grammars_are_kept_and_not_shared(letters):
    one, two = (letters.governor(Sampling(regex="[ab]c")) for _ in range(2))
    one.take(ord("a") - 32)
    assert [chr(i + 32) for i in two.allowed] == ["a", "b"]
    assert letters._compiled.cache_info().hits >= 1


def test_marks_are_no_text_to_a_grammar_and_have_names():
    """A control token that its file does not call special, as DeepSeek's are."""
    library = small_tokenizers.byte_level_library(special=("<|end|>",))
    library.add_tokens(["｜DSML｜"])
    fields = small_tokenizers.gguf_fields(library, "gpt-2")
    tokenizer = load_tokenizer(small_tokenizers.gguf(fields))
    mark, end = tokenizer.token_id("｜DSML｜"), tokenizer.token_id("<|end|>")
    grammars = Grammars(tokenizer, tokenizer.vocabulary_size, {end}, marks=["｜DSML｜", "<not a token>"])
    governor = grammars.governor(Sampling.of({"grammar": rf'start: text <[{mark}]> "x"{chr(10)}text: /(?s:.*)<\//'}))
    assert mark not in governor.allowed
    for token in tokenizer.encode("a </b></"):
        governor.take(token)
    assert mark in governor.allowed
    governor.take(mark)
    assert tokenizer.token_id("x") in governor.allowed
    assert len(governor.allowed) == 1
