from hypothesis import given, settings, strategies
from tokenizers import Tokenizer

from divebell.text.synthetic import BEGIN, END, SyntheticVocabulary, byte_characters

VOCABULARY = SyntheticVocabulary(70000, 65000, 65001)


def test_tokens_are_different_and_as_many_as_asked_for():
    for size in (2, 100, 300, 70000, 129280):
        vocabulary = SyntheticVocabulary(size, None, None)
        assert len(set(vocabulary.tokens)) == len(vocabulary.tokens) == size


def test_special_tokens_take_the_ids_of_the_configuration():
    assert VOCABULARY.tokens[65000:65002] == ["<|begin|>", "<|end|>"]
    assert SyntheticVocabulary(300, 400, None).begin == 298


def test_merges_make_tokens_of_the_vocabulary():
    known = set(VOCABULARY.tokens)
    assert all(a in known and b in known and a + b in known for a, b in VOCABULARY.merges)
    assert len(set(byte_characters())) == 256


@settings(deadline=None)
@given(strategies.text().filter(lambda text: BEGIN not in text and END not in text))
def test_every_text_comes_back(text):
    assert saved().decode(saved().encode(text).ids) == text


def saved(_made: list = []) -> Tokenizer:  # noqa: B006  made once
    if not _made:
        import tempfile

        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            VOCABULARY.save(file.name)
            _made.append(Tokenizer.from_file(file.name))
    return _made[0]
