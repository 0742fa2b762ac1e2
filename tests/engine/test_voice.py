from collections import Counter

import pytest
from servers import small_model

import divebell
from divebell.engine.voice import SLICE, USUAL, is_beyond
from divebell.errors import BadInput


class Lines:
    """A tokenizer with a token for each line."""

    def __init__(self):
        self.cut = Counter()

    def encode(self, text, add_special_tokens=True):
        self.cut["characters"] += len(text)
        return [1] * text.count("\n")


@pytest.mark.parametrize(
    ("length", "beyond", "looked_at"),
    [
        (10, True, SLICE),  # 100,000 lines
        (1000, False, 1_000_000),  # 1,000
    ],
)
def test_a_text_of_long_tokens_is_counted_and_one_of_too_many_no_further_than_it_takes(length, beyond, looked_at):
    lines = Lines()
    assert is_beyond(lines, ("x" * (length - 1) + "\n") * (1_000_000 // length), 2000) is beyond
    assert lines.cut["characters"] == looked_at


def test_a_text_of_usual_length_is_not_counted():
    lines = Lines()
    assert not is_beyond(lines, "\n" * (USUAL * 2000), 2000)
    assert not lines.cut


def test_a_prompt_that_is_far_too_long_is_refused_before_all_of_it_is_cut_up(tmp_path, monkeypatch):
    with divebell.load(small_model(tmp_path / "small"), ram="700MB", context=64) as llm:
        cut, encode = [], llm.tokenizer.encode
        monkeypatch.setattr(llm.tokenizer, "encode", lambda text, *more, **named: cut.append(text) or encode(text))
        for ask in (llm.generate, lambda text: llm.chat([{"role": "user", "content": text}])):
            with pytest.raises(BadInput, match="the prompt has more than 63 tokens and at most 63 fit"):
                ask("sea 7 " * 200_000)
        assert sum(map(len, cut)) <= 2 * SLICE
